-- Run first in the transaction that installs, upgrades or drops: for that transaction all settings
-- on which the statements depend have the values for which they are written, whatever the role, the
-- database or the server sets. The transaction itself begins with "isolation level read committed",
-- which cannot be set here any more. How long it waits for others, and for calls that use the
-- tables.
set local lock_timeout = '60s';
set local statement_timeout = 0;
set local idle_in_transaction_session_timeout = 0;
do $$
begin
  if current_setting('server_version_num')::int >= 170000 then
    perform set_config('transaction_timeout', '0', true);
  end if;
end $$;
set local client_min_messages = warning;
set local standard_conforming_strings = on;
set local array_nulls = on;
set local transform_null_equals = off;
set local quote_all_identifiers = off;
set local exit_on_error = off;
set local DateStyle = 'ISO, MDY';
set local IntervalStyle = postgres;
set local plpgsql.extra_errors = 'none';
