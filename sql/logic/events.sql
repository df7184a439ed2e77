-- Protocol buffers in SQL: a writer for the events that SQL itself makes, for parents of its own
-- accord and for the SQL API (sql_api.sql), and a reader for the views. The numbers of fields are
-- those of the protocol.

-- __PbVarint: a number as a base-128 varint; negative ones take ten bytes, as the format wants.
create or replace function __PbVarint(p_value bigint) returns bytea
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_rest bigint := p_value;
  v_out bytea := '';
  v_low int;
begin
  loop
    v_low := (v_rest & 127)::int;
    -- An arithmetic shift keeps the sign; the mask makes it the logical one of an unsigned number.
    v_rest := (v_rest >> 7) & 144115188075855871;
    if v_rest = 0 then
      return v_out || set_byte(E'\\x00'::bytea, 0, v_low);
    end if;
    v_out := v_out || set_byte(E'\\x00'::bytea, 0, v_low | 128);
  end loop;
end $$;

-- __PbNumber: a varint field. __PbBytes: a field of bytes, of a string or of a message.
create or replace function __PbNumber(p_field int, p_value bigint) returns bytea
language plpgsql immutable strict parallel safe set search_path from current as $$
begin
  return __PbVarint(p_field::bigint << 3) || __PbVarint(p_value);
end $$;

create or replace function __PbBytes(p_field int, p_value bytea) returns bytea
language plpgsql immutable strict parallel safe set search_path from current as $$
begin
  return __PbVarint((p_field::bigint << 3) | 2) || __PbVarint(length(p_value)) || p_value;
end $$;

-- __PbText: a string field; as proto3 has it, an empty one (here also a null) takes no bytes.
-- __PbStringValue: a StringValue field; null is unset, '' is set and empty.
create or replace function __PbText(p_field int, p_value text) returns bytea
language plpgsql immutable parallel safe set search_path from current as $$
begin
  return case when coalesce(p_value, '') = '' then ''::bytea
              else __PbBytes(p_field, convert_to(p_value, 'UTF8')) end;
end $$;

create or replace function __PbStringValue(p_field int, p_value text) returns bytea
language plpgsql immutable parallel safe set search_path from current as $$
begin
  return case when p_value is null then ''::bytea else __PbBytes(p_field, __PbText(1, p_value)) end;
end $$;

-- __PbTimestamp: the contents of a Timestamp message. Its fraction counts forward, also before
-- 1970.
create or replace function __PbTimestamp(p_time timestamptz) returns bytea
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_micros bigint := __Micros(p_time);
  v_fraction bigint := (v_micros % 1000000 + 1000000) % 1000000;
begin
  return case when v_micros = v_fraction then ''::bytea
              else __PbNumber(1, (v_micros - v_fraction) / 1000000) end
    || case when v_fraction = 0 then ''::bytea else __PbNumber(2, v_fraction * 1000) end;
end $$;

-- __PbTraceContext: the contents of a TraceContext of what SQL users write: the traceparent and, in
-- a second line, the tracestate if there is one.
create or replace function __PbTraceContext(p_text text) returns bytea
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_line_end int := strpos(p_text, e'\n');
begin
  if v_line_end = 0 then
    return __PbText(1, p_text);
  end if;
  return __PbText(1, left(p_text, v_line_end - 1))
    || __PbStringValue(3, substr(p_text, v_line_end + 1));
end $$;

-- __HistoryEvent: a serialized HistoryEvent without an id of its own (-1); p_type is the number of
-- the field that p_body belongs into.
create or replace function __HistoryEvent(p_now timestamptz, p_type int, p_body bytea) returns bytea
language plpgsql immutable strict parallel safe set search_path from current as $$
begin
  return __PbNumber(1, -1) || __PbBytes(2, __PbTimestamp(p_now)) || __PbBytes(p_type, p_body);
end $$;

-- __ChildFailedEvent: SubOrchestrationInstanceFailed (11), as a parent gets it when SQL ends or
-- replaces its child.
create or replace function __ChildFailedEvent(p_now timestamptz, p_task_id int, p_error_type text,
                                              p_message bytea) returns bytea
language plpgsql immutable set search_path from current as $$
begin
  return __HistoryEvent(p_now, 11,
    case when p_task_id = 0 then ''::bytea else __PbNumber(1, p_task_id) end
      || __PbBytes(2, __PbText(1, p_error_type) || __PbBytes(2, p_message)));
end $$;

-- __ExecutionStartedEvent: ExecutionStarted (3) of a client, field by field as the daemon makes it
-- (server/orchestration/requests.cc; a test compares). p_trace_context is a serialized
-- TraceContext.
create or replace function __ExecutionStartedEvent(p_now timestamptz, p_name text, p_version text,
                                                   p_input text, p_instance_id text,
                                                   p_execution_id text, p_start timestamptz,
                                                   p_trace_context bytea, p_tags jsonb)
returns bytea language plpgsql immutable parallel safe set search_path from current as $$
begin
  return __HistoryEvent(p_now, 3,
    __PbText(1, p_name) || __PbStringValue(2, p_version) || __PbStringValue(3, p_input)
      || __PbBytes(4, __PbText(1, p_instance_id) || __PbStringValue(2, p_execution_id))
      || coalesce(__PbBytes(6, __PbTimestamp(p_start)), '')
      || coalesce(__PbBytes(7, p_trace_context), '')
      || coalesce((select string_agg(__PbBytes(9, __PbText(1, t.key) || __PbText(2, t.value)), ''
                                     order by t.key collate "C")
                   from jsonb_each_text(p_tags) t), ''));
end $$;

-- __EntitySignaledEvent: EntityOperationSignaled (23) of a client, as the daemon makes it
-- (server/orchestration/entity_messages.cc; a test compares). p_at: the scheduled time; null is
-- none.
create or replace function __EntitySignaledEvent(p_now timestamptz, p_request_id text,
                                                 p_operation text, p_at timestamptz, p_input text)
returns bytea language plpgsql immutable parallel safe set search_path from current as $$
begin
  return __HistoryEvent(p_now, 23,
    __PbText(1, p_request_id) || __PbText(2, p_operation)
      || coalesce(__PbBytes(3, __PbTimestamp(p_at)), '') || __PbStringValue(4, p_input));
end $$;

-- __PbFields: the fields of a serialized message in order: number (varint, or the bits of a fixed
-- one) or bytes, by wire type. Stops quietly at bytes that are no message: views show what there
-- is.
create or replace function __PbFields(p_data bytea)
returns table (field int, number bigint, bytes bytea)
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_at int := 0;
  v_end int := length(p_data);
  v_key bigint := null;
  v_value bigint;
  v_shift int;
  v_byte int;
begin
  while v_at < v_end loop
    v_value := 0;
    v_shift := 0;
    loop
      exit when v_at >= v_end or v_shift > 63;
      v_byte := get_byte(p_data, v_at);
      v_at := v_at + 1;
      v_value := v_value | ((v_byte & 127)::bigint << v_shift);
      v_shift := v_shift + 7;
      exit when v_byte < 128;
    end loop;
    if v_key is null then
      v_key := v_value;
      field := (v_key >> 3)::int;
      number := null;
      bytes := null;
      if v_key & 7 in (1, 5) then  -- fixed 64 and 32: not used by the protocol's events
        v_at := v_at + case v_key & 7 when 1 then 8 else 4 end;
        v_key := null;
      elsif v_key & 7 not in (0, 2) or field < 1 then
        return;
      end if;
    elsif v_key & 7 = 0 then
      number := v_value;
      v_key := null;
      return next;
    else
      if v_value < 0 or v_value > v_end - v_at then
        return;
      end if;
      bytes := substr(p_data, v_at + 1, v_value::int);
      v_at := v_at + v_value::int;
      v_key := null;
      return next;
    end if;
  end loop;
end $$;

-- __PbField: the bytes of the last field of this number; null if there is none.
create or replace function __PbField(p_data bytea, p_field int) returns bytea
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_bytes bytea;
begin
  select f.bytes into v_bytes from __PbFields(p_data) with ordinality f
    where f.field = p_field and f.bytes is not null order by f.ordinality desc limit 1;
  return v_bytes;
end $$;

-- __PbNumberField: the number of a varint field; 0 if there is none, as proto3 means it.
create or replace function __PbNumberField(p_data bytea, p_field int) returns bigint
language plpgsql immutable strict parallel safe set search_path from current as $$
begin
  return coalesce((select f.number from __PbFields(p_data) f
                   where f.field = p_field and f.number is not null limit 1), 0);
end $$;

-- __PbWrapped: the bytes of a StringValue field; null if it is unset, '' if it is set and empty.
create or replace function __PbWrapped(p_data bytea, p_field int) returns bytea
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_wrapper bytea := __PbField(p_data, p_field);
begin
  return case when v_wrapper is not null then coalesce(__PbField(v_wrapper, 1), '') end;
end $$;

-- __PbTime: a Timestamp message, to the microsecond (rounded down).
create or replace function __PbTime(p_data bytea) returns timestamptz
language plpgsql immutable strict parallel safe set search_path from current as $$
begin
  return 'epoch'::timestamptz + __PbNumberField(p_data, 1) * interval '1 second'
    + __PbNumberField(p_data, 2) / 1000 * interval '1 microsecond';
end $$;

-- __AsText: bytes for the views: the text itself, or escaped where it holds NUL or no valid UTF-8.
create or replace function __AsText(p_data bytea) returns text
language plpgsql immutable strict parallel safe set search_path from current as $$
begin
  return convert_from(p_data, 'UTF8');
exception when character_not_in_repertoire or untranslatable_character then
  return encode(p_data, 'escape');
end $$;

-- __EventTypeName: the name of a field of HistoryEvent; an unknown one is its number.
create or replace function __EventTypeName(p_type int) returns text
language sql immutable parallel safe
return coalesce((array[null, null, 'ExecutionStarted', 'ExecutionCompleted', 'ExecutionTerminated',
  'TaskScheduled', 'TaskCompleted', 'TaskFailed', 'SubOrchestrationInstanceCreated',
  'SubOrchestrationInstanceCompleted', 'SubOrchestrationInstanceFailed', 'TimerCreated',
  'TimerFired', 'OrchestratorStarted', 'OrchestratorCompleted', 'EventSent', 'EventRaised',
  'GenericEvent', 'HistoryState', 'ContinueAsNew', 'ExecutionSuspended', 'ExecutionResumed',
  'EntityOperationSignaled', 'EntityOperationCalled', 'EntityOperationCompleted',
  'EntityOperationFailed', 'EntityLockRequested', 'EntityLockGranted', 'EntityUnlockSent',
  'ExecutionRewound'])[p_type], p_type::text);

-- __StatusName: a runtime status as text.
create or replace function __StatusName(p_status int) returns text
language sql immutable parallel safe
return coalesce((array['Running', 'Completed', 'ContinuedAsNew', 'Failed', 'Canceled', 'Terminated',
                       'Pending', 'Suspended'])[p_status + 1], p_status::text);

-- __DecodeEvents: the events of one chunk of history (each with the tag 0x1A and its length before
-- it), one row each. event_index counts from 0. Which field means what, per kind of event:
-- proto/README.md 6.
create or replace function __DecodeEvents(p_chunk bytea)
returns table (event_index int, event_type text, task_id int, occurred timestamptz, name text,
               runtime_status text, visible_time timestamptz, trace_context text, payload text,
               reason text, version text)
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_event bytea;
  v_event_id int;
  v_type int;
  v_body bytea;
  v_name_field int;
  v_payload_field int;
  v_failure bytea;
begin
  event_index := -1;
  for v_event in select f.bytes from __PbFields(p_chunk) f where f.field = 3 loop
    event_index := event_index + 1;
    -- A negative number is a varint of 64 bits.
    v_event_id := __PbNumberField(v_event, 1);
    occurred := __PbTime(__PbField(v_event, 2));
    select f.field, f.bytes into v_type, v_body
      from __PbFields(v_event) f where f.field > 2 and f.bytes is not null limit 1;
    event_type := __EventTypeName(v_type);
    v_name_field := case when v_type in (3, 6, 17) then 1
                         when v_type in (9, 16, 23, 24) then 2 when v_type = 30 then 5 end;
    name := __AsText(__PbField(v_body, v_name_field));
    v_payload_field := case when v_type in (5, 18, 20, 21, 22) then 1
                            when v_type in (4, 7, 10, 17, 25) then 2
                            when v_type in (3, 6, 16) then 3 when v_type in (9, 23, 24) then 4 end;
    payload := __AsText(__PbWrapped(v_body, v_payload_field));
    task_id := case when v_type in (7, 8, 10, 11) then __PbNumberField(v_body, 1)
                    when v_type = 13 then __PbNumberField(v_body, 2)
                    when v_event_id >= 0 then v_event_id end;
    runtime_status := case when v_type = 4 then __StatusName(__PbNumberField(v_body, 1)::int) end;
    visible_time := case when v_type in (12, 13) then __PbTime(__PbField(v_body, 1))
                         when v_type = 3 then __PbTime(__PbField(v_body, 6)) end;
    v_failure := __PbField(v_body, case when v_type = 4 then 3
                                        when v_type in (8, 11, 26) then 2 end);
    reason := case when v_failure is not null
                   then concat_ws(': ', __AsText(__PbField(v_failure, 1)),
                                  __AsText(__PbField(v_failure, 2)))
                   when v_type in (5, 21, 22, 30) then __AsText(__PbWrapped(v_body, 1)) end;
    version := __AsText(__PbWrapped(v_body, case when v_type in (3, 6) then 2
                                                 when v_type = 9 then 3
                                                 when v_type = 30 then 6 end));
    trace_context := __AsText(__PbField(__PbField(v_body, case when v_type = 3 then 7
                                                               when v_type = 6 then 4
                                                               when v_type = 9 then 5 end), 1));
    return next;
  end loop;
end $$;
