-- Installs or upgrades everything by psql alone:
--   psql -v ON_ERROR_STOP=1 [-v schema=NAME] -f sql/install.sql
-- One transaction under the same advisory lock that the daemon's migrator takes.
\set ON_ERROR_STOP on
\if :{?schema}
\else
  \set schema dt
\endif
begin isolation level read committed;
\ir transaction-settings.sql
-- Nothing is looked up where others may put functions and operators.
set local search_path = pg_catalog, pg_temp;
select pg_advisory_xact_lock(hashtextextended('durabletask-postgres', 0)
                             # hashtextextended(:'schema', 0)) \g /dev/null
create schema if not exists :"schema";
set local search_path = :"schema", pg_temp;
\ir check-schema.sql

select to_regclass('Versions') is null as fresh \gset
\if :fresh
  \ir schema/1.0.0.sql
\endif

\ir logic/activities.sql
\ir logic/alone.sql
\ir logic/checkpoint.sql
\ir logic/clock.sql
\ir logic/entities.sql
\ir logic/entity_queries.sql
\ir logic/events.sql
\ir logic/fence.sql
\ir logic/hub_deletions.sql
\ir logic/inline_tasks.sql
\ir logic/instance_waits.sql
\ir logic/instances.sql
\ir logic/management.sql
\ir logic/orchestrations.sql
\ir logic/payloads.sql
\ir logic/purge.sql
\ir logic/queries.sql
\ir logic/retention.sql
\ir logic/rewind.sql
\ir logic/samples.sql
\ir logic/scale.sql
\ir logic/settings.sql
\ir logic/sql_api.sql
\ir logic/sql_api_entities.sql
\ir logic/sql_api_purge.sql
\ir logic/terminations.sql
\ir logic/views.sql
\ir logic/waiting.sql
\ir logic/workers.sql
\ir logic/zz_descriptions.sql
\ir permissions.sql

insert into Versions (semantic_version, min_daemon_version) values ('1.0.0', '1.0.0')
  on conflict do nothing;
-- The daemon's `schema up` notes here whose functions are installed; these may be others.
comment on table Versions is null;
commit;
