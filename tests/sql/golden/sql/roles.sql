-- Who may do what: the whole of it, and what happens to those who try more.
\set SHOW_CONTEXT never
\pset null '(null)'

-- The functions of SQL users; "_" stands for all whose names begin so, as far as they read or write
-- tables.
select p.proname, p.prosecdef as own_rights, pg_get_userbyid(p.proowner) as owner,
       has_function_privilege('public', p.oid, 'execute') as public,
       has_function_privilege('dt_reader', p.oid, 'execute') as reader,
       has_function_privilege('dt_runtime', p.oid, 'execute') as runtime,
       has_function_privilege('dt_admin', p.oid, 'execute') as admin,
       has_function_privilege('dt_daemon', p.oid, 'execute') as daemon
from pg_proc p
where p.pronamespace = 'dt'::regnamespace and (p.proname !~ '^_' or p.prosecdef)
order by 1;
-- Of the others SQL users may call those that the views need, which read no table.
select p.proname, has_function_privilege('dt_reader', p.oid, 'execute') as reader,
       has_function_privilege('dt_runtime', p.oid, 'execute') as runtime,
       has_function_privilege('dt_admin', p.oid, 'execute') as admin, p.provolatile
from pg_proc p
where p.pronamespace = 'dt'::regnamespace and p.proname ~ '^_' and not p.prosecdef
  and (has_function_privilege('dt_reader', p.oid, 'execute')
       or has_function_privilege('dt_runtime', p.oid, 'execute')
       or has_function_privilege('dt_admin', p.oid, 'execute'))
order by 1;
-- All of them that have rights of their own have a search_path of their own that ends with pg_temp.
select p.proname from pg_proc p
where p.pronamespace = 'dt'::regnamespace and p.prosecdef
  and not coalesce('search_path=dt, pg_temp' = any (p.proconfig), false);

-- Tables and views: s select, i insert, u update, d delete.
select c.relname, c.relkind, pg_get_userbyid(c.relowner) as owner, r.reader, r.runtime, r.admin,
       r.daemon, r.owner as owner_role
from pg_class c
cross join lateral (
  select string_agg(left(p.name, 1), '')
           filter (where has_table_privilege('dt_reader', c.oid, p.name)) as reader,
         string_agg(left(p.name, 1), '')
           filter (where has_table_privilege('dt_runtime', c.oid, p.name)) as runtime,
         string_agg(left(p.name, 1), '')
           filter (where has_table_privilege('dt_admin', c.oid, p.name)) as admin,
         string_agg(left(p.name, 1), '')
           filter (where has_table_privilege('dt_daemon', c.oid, p.name)) as daemon,
         string_agg(left(p.name, 1), '')
           filter (where has_table_privilege('dt_owner', c.oid, p.name)) as owner
  from unnest('{select, insert, update, delete, truncate}'::text[]) p(name)) r
where c.relnamespace = 'dt'::regnamespace and c.relkind in ('r', 'v')
order by c.relkind, c.relname;
select r.rolname, r.rolcanlogin, r.rolsuper, r.rolcreaterole,
       has_schema_privilege(r.oid, 'dt', 'usage') as usage,
       has_schema_privilege(r.oid, 'dt', 'create') as create
from pg_roles r where r.rolname like 'dt\_%' order by 1;

-- A login without a role.
\c - stranger
select * from dt.vInstances;
select dt.CurrentTaskHub();
select * from dt.CreateInstance('Work');

-- A reader looks.
\c - viewer
select dt.CurrentTaskHub(), dt.GetScaleMetric(), dt.GetScaleRecommendation(1, 1);
select count(*) from dt.vInstances;
select count(*) from dt.vHistory;
select count(*) from dt.GetInstanceHistory('x');
select count(*) from dt.QuerySingleOrchestration('x');
select count(*) from dt._GetVersions();
select * from dt.CreateInstance('Work');
select dt.RaiseEvent('go', 'x');
select dt.SuspendInstance('x');
select dt.ResumeInstance('x');
select dt.TerminateInstance('x');
select dt.PurgeInstanceStateByID('{x}');
select dt.PurgeInstanceStateByTime(now());
call dt.PurgeInstanceState(now());
select dt.SetGlobalSetting('TaskHubMode', '0');
select dt.BindTaskHub('viewer', 'bank');

-- An application starts and signals, and does not purge or administrate.
\c - app
select InstanceID from dt.CreateInstance('Work', InstanceID => 'x');
select dt.RaiseEvent('go', 'x'), dt.SuspendInstance('x'), dt.ResumeInstance('x'),
       dt.TerminateInstance('x');
select dt.PurgeInstanceStateByID('{x}');
select dt.PurgeInstanceStateByTime(now());
call dt.PurgeInstanceState(now());
select dt.SetGlobalSetting('TaskHubMode', '0');
select dt.BindTaskHub('app', 'bank');
select dt.UnbindTaskHub('app');
select * from dt.GetTaskHubBindings();

-- An administrator of a hub purges, and does not start.
\c - manager
select * from dt.CreateInstance('Work');
select dt.RaiseEvent('go', 'x');
select dt.TerminateInstance('x');
select dt.PurgeInstanceStateByID('{x}');

-- Nobody of them makes or changes anything in the schema.
create table dt.mine (id int);
create function dt.mine() returns int language sql as 'select 1';
drop function dt.CurrentTaskHub();
alter function dt.CurrentTaskHub() set search_path = public;
create or replace view dt.vInstances as select 1 as one;
-- The words of this one are others in each version.
\set VERBOSITY sqlstate
grant dt_owner to manager;
\set VERBOSITY default
set role dt_owner;
