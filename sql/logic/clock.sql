-- The clock. Every verb asks it once; tests shift it for their session.

-- _Now: the database's clock, moved by the setting dt.clock_shift (an interval) of the session.
create or replace function _Now() returns timestamptz language sql volatile
return case when coalesce(current_setting('dt.clock_shift', true), '') = '' then clock_timestamp()
            else clock_timestamp() + current_setting('dt.clock_shift', true)::interval end;

-- _Time: integer microseconds since 1970, as they travel in the JSON envelope, to a time.
create or replace function _Time(p_micros bigint) returns timestamptz
language sql immutable strict parallel safe
return 'epoch'::timestamptz + p_micros * interval '1 microsecond';
