-- Drops everything that install.sql made, by name:
--   psql -v ON_ERROR_STOP=1 [-v schema=NAME] -f sql/drop-schema.sql
-- The schema itself is dropped without CASCADE: objects that users keep there stop it.
\set ON_ERROR_STOP on
\if :{?schema}
\else
  \set schema dt
\endif
begin isolation level read committed;
\ir transaction-settings.sql
set local search_path = :"schema", pg_temp;
\ir drop-objects.sql
drop schema :"schema";
commit;
