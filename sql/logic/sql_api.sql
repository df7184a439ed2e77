-- The SQL API: what SQL users call to start and steer orchestrations. Thin forms of the daemon's
-- verbs, for one instance of the caller's own hub, inside the caller's own transaction. What they
-- write becomes work when that transaction commits; until then they hold the locks of the instances
-- that they wrote to.
--
-- All run with the rights of the role <schema>_owner. current_user is that role in here, and
-- session_user the login that calls. Arguments have the names that callers write; in the bodies
-- they are qualified with the name of their function.
--
-- SQLSTATE DT001 there is no such instance, DT002 it exists or is in another state, 22023 an
-- argument is not allowed, 25001 the transaction has another isolation level than read committed.

-- __OwnHub: the id of the caller's hub. If it is not there, it is created, or else the answer is
-- null.
-- Locks: none, or the name of the new hub until the caller's commit. Repeat: yes.
create or replace function __OwnHub(p_create boolean) returns int
language plpgsql set search_path from current as $$
begin
  return _ResolveHub(CurrentTaskHub(), p_create);
end $$;

-- __OwnHubToFill: the id of the caller's hub, which is created if it is not there. A transaction
-- whose snapshot is old would not see that the hub is deleted meanwhile; a lock of its row sees it,
-- and raises
-- 40001. Others find out without one (__LockHubs). Repeat: yes.
create or replace function __OwnHubToFill() returns int
language plpgsql set search_path from current as $$
declare
  v_hub int := __OwnHub(true);
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    perform 1 from TaskHubs h where h.hub_id = v_hub for key share;
  end if;
  return v_hub;
end $$;

-- __HintDaemons: with the setting NotifyOnCommit, tells the daemons at commit that the hub has
-- work, on the channel on which they tell each other (storage/postgres/listener.cc). Repeat: yes; a
-- transaction notifies once for each hub.
create or replace function __HintDaemons(p_hub int) returns void
language plpgsql set search_path from current as $$
begin
  if exists (select from GlobalSettings s where s.name = 'NotifyOnCommit' and s.value = '1') then
    -- "HUB SENDER": no daemon has the number 0.
    perform pg_notify(__HintChannel(current_schema()), p_hub || ' 0');
  end if;
end $$;

-- __HintChannel: the channel of a schema: its name, or the FNV-1a hash of one that is too long for
-- a channel.
create or replace function __HintChannel(p_schema text) returns text
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_bytes bytea := convert_to(p_schema, 'UTF8');
  v_hash numeric := 14695981039346656037;
  v_low int;
begin
  if length(v_bytes) <= 63 - length('durabletask/') then
    return 'durabletask/' || p_schema;
  end if;
  for v_at in 0 .. length(v_bytes) - 1 loop
    v_low := mod(v_hash, 256);
    v_hash := mod((v_hash - v_low + (v_low # get_byte(v_bytes, v_at))) * 1099511628211,
                  18446744073709551616);
  end loop;
  return 'durabletask#' || lpad(to_hex(div(v_hash, 4294967296)::bigint), 8, '0')
    || lpad(to_hex(mod(v_hash, 4294967296)::bigint), 8, '0');
end $$;

-- __CheckInstanceId, __CheckText, __CheckPayload, __CheckTime, __CheckTags: check an argument
-- against the limits that the daemon has by default (deploy/SETTINGS.md, limits.*). Each raises
-- 22023 with the name of the argument, what it holds and the limit. An id is that of an
-- orchestration: entities have functions of their own (sql_api_entities.sql).

create or replace function __CheckInstanceId(p_id text) returns void
language plpgsql immutable set search_path from current as $$
begin
  if coalesce(p_id, '') = '' then
    raise exception 'InstanceID is %', case when p_id is null then 'null' else 'empty' end
      using errcode = '22023';
  elsif length(p_id) > 512 then
    raise exception 'the length of InstanceID is % characters, the limit is 512', length(p_id)
      using errcode = '22023';
  elsif left(p_id, 1) = '@' then
    raise exception 'InstanceID begins with @, which is kept for entities' using errcode = '22023',
      hint = 'Name an orchestration; SignalEntity sends an operation to an entity, and GetEntity '
        'and vEntities show it.';
  end if;
end $$;

create or replace function __CheckText(p_field text, p_text text, p_bytes_max int) returns void
language plpgsql immutable set search_path from current as $$
begin
  if octet_length(p_text) > p_bytes_max then
    raise exception 'the length of % is % bytes, the limit is %', p_field, octet_length(p_text),
      p_bytes_max using errcode = '22023';
  end if;
end $$;

create or replace function __CheckPayload(p_field text, p_text text) returns void
language plpgsql immutable set search_path from current as $$
begin
  perform __CheckText(p_field, p_text, 67108864);
end $$;

create or replace function __CheckTime(p_field text, p_time timestamptz) returns void
language plpgsql stable set search_path from current as $$
begin
  if p_time < '0001-01-01 00:00:00+00' or p_time >= '10000-01-01 00:00:00+00' then
    raise exception '% is %; the years 1 to 9999 are allowed', p_field, p_time
      using errcode = '22023';
  end if;
end $$;

create or replace function __CheckTags(p_tags jsonb) returns void
language plpgsql immutable set search_path from current as $$
declare
  v_tag record;
  v_bytes bigint := 0;
begin
  if jsonb_typeof(p_tags) <> 'object' then
    raise exception 'Tags are a JSON %, not an object of strings', jsonb_typeof(p_tags)
      using errcode = '22023';
  end if;
  for v_tag in select t.key, t.value from jsonb_each(p_tags) t loop
    if jsonb_typeof(v_tag.value) <> 'string' then
      raise exception 'the tag "%" is a JSON %, not a string', v_tag.key,
        jsonb_typeof(v_tag.value) using errcode = '22023';
    end if;
    v_bytes := v_bytes + octet_length(v_tag.key) + octet_length(v_tag.value #>> '{}');
  end loop;
  if v_bytes > 65536 then
    raise exception 'Tags have % bytes of keys and values together, the limit is 65536', v_bytes
      using errcode = '22023';
  end if;
end $$;

-- __StatusSet: a list of names of statuses, in any case and with commas between, as a StatusSet
-- (storage/records.h).
create or replace function __StatusSet(p_names text) returns int
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_set int := 0;
  v_name text;
  v_status int;
begin
  foreach v_name in array string_to_array(p_names, ',') loop
    select s.status into v_status from generate_series(0, 7) s(status)
      where lower(__StatusName(s.status)) = lower(btrim(v_name));
    if v_status is null then
      raise exception 'DedupeStatuses names the unknown status "%"', btrim(v_name)
        using errcode = '22023',
        hint = (select 'Known are ' || string_agg(__StatusName(s.status), ', ') || '.'
                from generate_series(0, 7) s(status));
    end if;
    v_set := v_set | (1 << v_status);
  end loop;
  return v_set;
end $$;

-- __RequireReadCommitted: refuses what deletes the inbox of a live instance in a transaction whose
-- snapshot is older than its locks: messages that it cannot see would be left behind for ever.
create or replace function __RequireReadCommitted(p_what text) returns void
language plpgsql stable set search_path from current as $$
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception '% needs a transaction of the isolation level read committed, this one is %',
      p_what, current_setting('transaction_isolation') using errcode = '25001',
      hint = 'Begin the transaction with "begin isolation level read committed".';
  end if;
end $$;

-- CreateInstance: starts an orchestration in the caller's hub, which is created if this is its
-- first one, and returns the ids of the instance and of this execution. Without an InstanceID it
-- gets a random one.
--   ExecutionID     a UUID or 32 hexadecimal digits, to make the call repeatable: if the instance
--                   has it already, nothing is done and the same ids are returned
--   StartTime       the orchestration starts then; null or in the past: at once
--   DedupeStatuses  an instance with this InstanceID and one of these statuses stays, and the call
--                   fails with DT002; with another status it is replaced. null is the default
--   TraceContext    a traceparent and, in a second line, a tracestate
--   Tags            a JSON object of strings
-- Locks: the existing instance's hot row and its parent's, its row of Instances, the new id.
-- Somebody who uses the same id meanwhile waits for the caller's commit. Repeat: by ExecutionID.
create or replace function CreateInstance(
  Name text, Version text default null, inout InstanceID text default null,
  inout ExecutionID text default null, InputText text default null,
  StartTime timestamptz default null, DedupeStatuses text default 'Pending,Running,Suspended',
  TraceContext text default null, Tags jsonb default null)
language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
declare
  c_live constant int := (1 << 0) | (1 << 6) | (1 << 7);
  c_terminated constant int := 1 << 5;
  v_name constant text := CreateInstance.Name;
  v_version constant text := CreateInstance.Version;
  v_id constant text := coalesce(CreateInstance.InstanceID,
                                 replace(gen_random_uuid()::text, '-', ''));
  v_execution_id constant text := coalesce(lower(replace(CreateInstance.ExecutionID, '-', '')),
                                           replace(gen_random_uuid()::text, '-', ''));
  v_input constant text := CreateInstance.InputText;
  v_trace_context constant bytea := __PbTraceContext(CreateInstance.TraceContext);
  v_tags constant jsonb := nullif(CreateInstance.Tags, '{}');
  v_dedupe constant int := coalesce(__StatusSet(CreateInstance.DedupeStatuses), c_live);
  v_now constant timestamptz := _Now();
  v_start constant timestamptz := case when CreateInstance.StartTime > v_now
                                       then CreateInstance.StartTime end;
  v_hub int;
  v_row record;
begin
  perform __CheckStart(v_name, v_version, v_id, v_execution_id, v_input, CreateInstance.StartTime,
                       CreateInstance.TraceContext, v_tags);
  if v_dedupe & c_live <> c_live then
    if v_dedupe & c_terminated <> 0 then
      raise exception 'DedupeStatuses "%" keep a terminated instance, but not every live one',
        CreateInstance.DedupeStatuses using errcode = '22023',
        hint = 'A live instance is terminated before it is replaced: '
          || 'leave Terminated out, or name Pending, Running and Suspended.';
    end if;
    perform __RequireReadCommitted('CreateInstance that may replace a live instance');
  end if;

  loop
    v_hub := __OwnHubToFill();
    select c.outcome, c.status into strict v_row
    from _CreateInstances(
      v_hub,
      jsonb_build_object('items', jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
        'id', v_id, 'execution_id', v_execution_id, 'name', v_name,
        'version', case when v_version is not null then 1 end,
        'input', case when v_input is not null then 2 end,
        'trace_context', case when v_trace_context is not null then 3 end,
        'start', __Micros(v_start), 'replaceable', 255 & ~v_dedupe,
        'generation', 0, 'type', 3, 'event', 4)
        || jsonb_build_object('tags', v_tags)))),
      array[convert_to(v_version, 'UTF8'), convert_to(v_input, 'UTF8'), v_trace_context,
            __ExecutionStartedEvent(v_now, v_name, v_version, v_input, v_id, v_execution_id,
                                    v_start, v_trace_context, v_tags)]) c
    where c.item = 1;
    -- 4: the hub was deleted since it was looked up, and is created anew.
    exit when v_row.outcome <> 4;
  end loop;
  if v_row.outcome = 3 then
    raise exception 'orchestration instance already exists: "%" is %', v_id,
      __StatusName(v_row.status) using errcode = 'DT002',
      hint = 'Use another InstanceID, wait for its end, or name fewer DedupeStatuses to replace '
        'it.';
  end if;
  perform __HintDaemons(v_hub);
  CreateInstance.InstanceID := v_id;
  CreateInstance.ExecutionID := v_execution_id;
end $$;

-- __CheckStart: the limits of what an orchestration is started with.
create or replace function __CheckStart(p_name text, p_version text, p_id text, p_execution_id text,
                                        p_input text, p_start timestamptz, p_trace_context text,
                                        p_tags jsonb) returns void
language plpgsql stable set search_path from current as $$
begin
  if coalesce(p_name, '') = '' then
    raise exception 'Name is %', case when p_name is null then 'null' else 'empty' end
      using errcode = '22023';
  end if;
  perform __CheckText('Name', p_name, 1024);
  perform __CheckText('Version', p_version, 256);
  perform __CheckInstanceId(p_id);
  if p_execution_id !~ '^[0-9a-f]{32}$' then
    raise exception 'ExecutionID is no UUID and not 32 hexadecimal digits'
      using errcode = '22023';
  end if;
  perform __CheckPayload('InputText', p_input);
  perform __CheckTime('StartTime', p_start);
  perform __CheckText('TraceContext', p_trace_context, 1024);
  perform __CheckTags(p_tags);
end $$;

-- __SendOwn: puts a message into the inbox of an instance of the caller's hub. False if the
-- instance has ended, and then nothing is stored; DT001 if there is none.
-- Locks: the hot row. Repeat: sends the message again.
create or replace function __SendOwn(p_id text, p_type int, p_body bytea, p_at timestamptz)
returns boolean language plpgsql set search_path from current as $$
declare
  v_hub int := __OwnHub(false);
  v_outcome int;
begin
  select d.outcome into v_outcome
  from _AddOrchestrationEvents(
    v_hub,
    jsonb_build_object('items', jsonb_build_array(jsonb_build_object(
      'id', p_id, 'at', __Micros(p_at), 'type', p_type, 'event', 1))),
    array[__HistoryEvent(_Now(), p_type, p_body)]) d
  where d.item = 1;
  return __Sent(v_hub, p_id, v_outcome);
end $$;

-- __Sent: what an outcome of _AddOrchestrationEvents or _TerminateInstances means in the SQL API.
create or replace function __Sent(p_hub int, p_id text, p_outcome int) returns boolean
language plpgsql set search_path from current as $$
begin
  if p_outcome = 1 then
    raise exception 'no orchestration instance "%" in task hub "%"', p_id, CurrentTaskHub()
      using errcode = 'DT001';
  elsif p_outcome = 2 then
    return false;
  end if;
  perform __HintDaemons(p_hub);
  return true;
end $$;

-- RaiseEvent: raises an event for an instance of the caller's hub: true, or false if the instance
-- has ended, which then does not get it. An orchestration that waits for the event, or will, goes
-- on with PayloadText, at the earliest at DeliveryTime. DT001 if there is no such instance.
-- Locks: the instance's hot row, until the caller's commit. Repeat: raises the event again.
create or replace function RaiseEvent(Name text, InstanceID text, PayloadText text default null,
                                      DeliveryTime timestamptz default null)
returns boolean language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
begin
  if RaiseEvent.Name is null then
    raise exception 'Name is null' using errcode = '22023';
  end if;
  perform __CheckText('Name', RaiseEvent.Name, 1024);
  perform __CheckInstanceId(RaiseEvent.InstanceID);
  perform __CheckPayload('PayloadText', RaiseEvent.PayloadText);
  perform __CheckTime('DeliveryTime', RaiseEvent.DeliveryTime);
  return __SendOwn(RaiseEvent.InstanceID, 17,
                   __PbText(1, RaiseEvent.Name) || __PbStringValue(2, RaiseEvent.PayloadText),
                   RaiseEvent.DeliveryTime);
end $$;

-- SuspendInstance, ResumeInstance: an instance of the caller's hub gets the order to pause, or to
-- go on: true, or false if it has ended. It follows with its next turn; activities and timers run
-- on, and events wait. DT001 if there is no such instance.
-- Locks: the instance's hot row, until the caller's commit. Repeat: yes.
create or replace function SuspendInstance(InstanceID text, Reason text default null)
returns boolean language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
begin
  perform __CheckInstanceId(SuspendInstance.InstanceID);
  perform __CheckPayload('Reason', SuspendInstance.Reason);
  return __SendOwn(SuspendInstance.InstanceID, 21, __PbStringValue(1, SuspendInstance.Reason),
                   null);
end $$;

create or replace function ResumeInstance(InstanceID text, Reason text default null)
returns boolean language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
begin
  perform __CheckInstanceId(ResumeInstance.InstanceID);
  perform __CheckPayload('Reason', ResumeInstance.Reason);
  return __SendOwn(ResumeInstance.InstanceID, 22, __PbStringValue(1, ResumeInstance.Reason), null);
end $$;

-- TerminateInstance: terminates an instance of the caller's hub: true, or false if it has ended
-- already. One that never ran a turn and is not held by a daemon is TERMINATED at once, with Reason
-- as its output; any other one with its next turn. Activities in flight run on, and their results
-- are dropped. With Recursive its children that have not ended are terminated, too. DT001 if there
-- is no such instance.
-- Locks: the hot rows of the instance and its parent, the row of Instances, until the caller's
-- commit.
-- Repeat: yes.
create or replace function TerminateInstance(InstanceID text, Reason text default null,
                                             Recursive boolean default false)
returns boolean language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
declare
  v_hub int := __OwnHub(false);
  v_outcome int;
begin
  perform __CheckInstanceId(TerminateInstance.InstanceID);
  perform __CheckPayload('Reason', TerminateInstance.Reason);
  perform __RequireReadCommitted('TerminateInstance');
  select t.outcome into v_outcome
  from _TerminateInstances(
    v_hub,
    jsonb_build_object('items', jsonb_build_array(jsonb_build_object(
      'id', TerminateInstance.InstanceID,
      'reason', case when TerminateInstance.Reason is not null then 1 end,
      'type', 5, 'event', 2))),
    array[convert_to(TerminateInstance.Reason, 'UTF8'),
          __HistoryEvent(_Now(), 5,
                         __PbStringValue(1, TerminateInstance.Reason)
                           || case when TerminateInstance.Recursive then __PbNumber(2, 1)
                                   else ''::bytea end)]) t
  where t.item = 1;
  if v_outcome in (0, 4) then
    perform __LogAction('TerminateInstance', CurrentTaskHub(),
                        format('instance "%s"', TerminateInstance.InstanceID));
  end if;
  return __Sent(v_hub, TerminateInstance.InstanceID, v_outcome);
end $$;
