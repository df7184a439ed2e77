-- The clock. Every verb asks it once; tests shift it for their session.

-- __ClockShift: how far the setting dt.clock_shift of the session moves the clock: only for who
-- owns the schema, so that nobody else writes times that are not true.
create or replace function __ClockShift() returns interval
language plpgsql stable set search_path from current as $$
begin
  if pg_has_role(session_user, (select n.nspowner from pg_namespace n
                                where n.nspname = current_schema()), 'usage') then
    return current_setting('dt.clock_shift')::interval;
  end if;
  return '0';
end $$;

-- _Now: the database's clock, moved by the setting dt.clock_shift (an interval) of the session.
create or replace function _Now() returns timestamptz language sql volatile
return case when coalesce(current_setting('dt.clock_shift', true), '') = '' then clock_timestamp()
            else clock_timestamp() + __ClockShift() end;

-- __Time: integer microseconds since 1970, as they travel in the JSON envelope, to a time.
create or replace function __Time(p_micros bigint) returns timestamptz
language sql immutable strict parallel safe
return 'epoch'::timestamptz + p_micros * interval '1 microsecond';

-- __Micros: the way back.
create or replace function __Micros(p_time timestamptz) returns bigint
language sql immutable strict parallel safe
return (extract(epoch from p_time - 'epoch'::timestamptz) * 1000000)::bigint;

-- __Earlier, __Later: a time moved by an interval. What lies beyond all times is infinity:
-- intervals reach much further than times do, and one that somebody chose for one hub must not fail
-- a call that is for all.
create or replace function __Earlier(p_time timestamptz, p_by interval) returns timestamptz
language plpgsql stable strict parallel safe set search_path from current as $$
begin
  return p_time - p_by;
exception when datetime_field_overflow or interval_field_overflow then
  return '-infinity';
end $$;

create or replace function __Later(p_time timestamptz, p_by interval) returns timestamptz
language plpgsql stable strict parallel safe set search_path from current as $$
begin
  return p_time + p_by;
exception when datetime_field_overflow or interval_field_overflow then
  return 'infinity';
end $$;
