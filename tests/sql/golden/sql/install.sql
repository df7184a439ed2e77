-- Installation by logins with more and less rights, and what a drop leaves.
\set SHOW_CONTEXT never
create role maker login createrole;
create role plain login;
select format('grant create on database %I to maker, plain', current_database()) \gexec

-- A login that may make roles, and is no superuser: it gives the views and functions of SQL users
-- away to a role of their own, and can install again.
\c - maker
\set schema made
\set ECHO none
\i ../../../sql/install.sql
\i ../../../sql/install.sql
\set ON_ERROR_STOP off
\set ECHO all
\set schema dt
select pg_get_userbyid(p.proowner) as owner, count(*) from pg_proc p
where p.pronamespace = 'made'::regnamespace and p.prosecdef group by 1 order by 1;
select c.relname, pg_get_userbyid(c.relowner) as owner from pg_class c
where c.relnamespace = 'made'::regnamespace and c.relkind = 'v' order by 1;
select has_schema_privilege('made_owner', 'made', 'create') as owner_may_create;
select InstanceID from made.CreateInstance('Work', InstanceID => 'one');
select InstanceID, TaskHub from made.vInstances;
select made.BindTaskHub('maker', 'elsewhere');
select made.CurrentTaskHub();
select made.PurgeInstanceStateByTime(now());

-- A login without: a warning names the roles, and the functions are its own and work.
\c - plain
\set schema plain
\set ECHO none
\i ../../../sql/install.sql
\set ON_ERROR_STOP off
\set ECHO all
select pg_get_userbyid(p.proowner) as owner, count(*) from pg_proc p
where p.pronamespace = 'plain'::regnamespace and p.prosecdef group by 1;
select InstanceID from plain.CreateInstance('Work', InstanceID => 'one');
select InstanceID, TaskHub from plain.vInstances;
select plain.RaiseEvent('go', 'one'), plain.TerminateInstance('one'),
       plain.PurgeInstanceStateByID('{one}');
select plain.SetGlobalSetting('NotifyOnCommit', '0');
\c - stranger
select plain.CurrentTaskHub();
-- An administrator makes the roles, as the warning says; the next installation uses them.
\c - postgres
create role plain_owner nologin;
create role plain_reader nologin;
\c - plain
\set schema plain
\set ECHO none
\i ../../../sql/install.sql
\set ON_ERROR_STOP off
\set ECHO all
\c - postgres
create role plain_daemon nologin;
create role plain_runtime nologin;
create role plain_admin nologin;
grant plain_owner to plain;
\c - plain
\set schema plain
\set ECHO none
\i ../../../sql/install.sql
\set ON_ERROR_STOP off
\set ECHO all
select pg_get_userbyid(p.proowner) as owner, count(*) from pg_proc p
where p.pronamespace = 'plain'::regnamespace and p.prosecdef group by 1;
select InstanceID from plain.CreateInstance('Work', InstanceID => 'two');

-- psql describes each function, table and view (\df+, \dt+, \dv+); the table of versions has a note
-- of the daemon.
select p.proname from pg_proc p
where p.pronamespace = 'plain'::regnamespace and obj_description(p.oid, 'pg_proc') is null
order by 1;
select c.relname from pg_class c
where c.relnamespace = 'plain'::regnamespace and c.relkind in ('r', 'v')
  and obj_description(c.oid, 'pg_class') is null order by 1;

-- A drop takes the roles along, unless something else needs them or somebody else made them.
\set ECHO none
\i ../../../sql/drop-schema.sql
\set ON_ERROR_STOP off
\set ECHO all
\c - maker
\set schema made
\set ECHO none
\i ../../../sql/drop-schema.sql
\set ON_ERROR_STOP off
\set ECHO all
\c - postgres
select rolname from pg_roles where rolname ~ '^(made|plain)' order by 1;
select nspname from pg_namespace where nspname in ('made', 'plain');
drop role plain_owner, plain_reader, plain_runtime, plain_daemon, plain_admin;
-- The roles of the schema "dt" belong to other databases, too, and stay.
\set schema dt
\set ECHO none
\i ../../../sql/drop-schema.sql
\set ON_ERROR_STOP off
\set ECHO all
select rolname from pg_roles where rolname like 'dt\_%' order by 1;
drop owned by maker, plain;
drop role maker, plain;
