-- Protocol buffers in SQL: a writer for the two events that SQL itself sends to a parent, and a
-- reader for the views. Both know the wire format only; the numbers are those of HistoryEvent.

-- _PbVarint: a number as a base-128 varint; negative ones take ten bytes, as the format wants.
create or replace function _PbVarint(p_value bigint) returns bytea
language plpgsql immutable strict parallel safe as $$
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
      return v_out || set_byte('\x00'::bytea, 0, v_low);
    end if;
    v_out := v_out || set_byte('\x00'::bytea, 0, v_low | 128);
  end loop;
end $$;

-- _PbNumber: a varint field. _PbBytes: a field of bytes, of a string or of a message.
create or replace function _PbNumber(p_field int, p_value bigint) returns bytea
language plpgsql immutable strict parallel safe set search_path from current as $$
begin
  return _PbVarint(p_field::bigint << 3) || _PbVarint(p_value);
end $$;

create or replace function _PbBytes(p_field int, p_value bytea) returns bytea
language plpgsql immutable strict parallel safe set search_path from current as $$
begin
  return _PbVarint((p_field::bigint << 3) | 2) || _PbVarint(length(p_value)) || p_value;
end $$;

-- _ChildFailedEvent: a serialized HistoryEvent with SubOrchestrationInstanceFailed (field 11), as a
-- parent gets it when SQL ends or replaces its child.
create or replace function _ChildFailedEvent(p_now timestamptz, p_task_id int, p_error_type text,
                                             p_message bytea) returns bytea
language plpgsql immutable set search_path from current as $$
declare
  v_micros bigint := (extract(epoch from p_now) * 1000000)::bigint;
begin
  return _PbNumber(1, -1)
    || _PbBytes(2, _PbNumber(1, v_micros / 1000000) || _PbNumber(2, v_micros % 1000000 * 1000))
    || _PbBytes(11, case when p_task_id = 0 then ''::bytea else _PbNumber(1, p_task_id) end
       || _PbBytes(2, _PbBytes(1, convert_to(p_error_type, 'UTF8')) || _PbBytes(2, p_message)));
end $$;
