-- Two hubs in one database, "shop" and "bank", each with logins of its own. Those of "shop" attack
-- "bank": everything is refused or empty, and "bank" is afterwards as it was.
\set SHOW_CONTEXT never
\pset null '(null)'
\c - bank_app
select InstanceID
from dt.CreateInstance('Vault', InstanceID => 'secret', InputText => 'the code is 1234',
                                         Tags => '{"owner": "bank"}');
select InstanceID from dt.CreateInstance('Vault', InstanceID => 'ended');
select dt.TerminateInstance('ended', 'the code was 4321');
-- "shop" has something, too: without it a plan could end before it reads a row of "bank".
\c - app
select InstanceID from dt.CreateInstance('Shelf', InstanceID => 'own', InputText => 'nothing');
\c - postgres
insert into dt.History (instance_key, turn, committed_time, first_event, event_count, events)
select i.instance_key, 1, now(), 0, 1,
       dt.__PbBytes(3, dt.__HistoryEvent(now(), 17, dt.__PbText(1, 'code')
                                         || dt.__PbStringValue(2, '1234')))
from dt.Instances i where i.instance_id in ('secret', 'own') order by 1;
analyze;
-- What "bank" is: compared at the end.
create view bank_now as
select (select jsonb_agg(to_jsonb(i) order by i.instance_key) from dt.Instances i
        join dt.TaskHubs h using (hub_id)
        where h.name = 'bank') as instances,
       (select jsonb_agg(to_jsonb(r) order by r.instance_key) from dt.ReadyInstances r
        join dt.TaskHubs h using (hub_id)
        where h.name = 'bank') as ready,
       (select jsonb_agg(to_jsonb(e) order by e.seq) from dt.NewEvents e
        join dt.Instances i using (instance_key) join dt.TaskHubs h using (hub_id)
        where h.name = 'bank') as messages,
       (select jsonb_agg(to_jsonb(c)) from dt.History c
        join dt.Instances i using (instance_key) join dt.TaskHubs h using (hub_id)
        where h.name = 'bank') as history,
       (select jsonb_agg(to_jsonb(t) order by t.role_name) from dt.TaskHubBindings t) as bindings;
create table before_attack as select * from bank_now;

-- The one who is attacked sees it all.
\c - bank_viewer
select InstanceID, InputText, OutputText from dt.vInstances order by InstanceID;
select InstanceID, Name, Payload from dt.vHistory;

-- ---------------------------------------------------------------------------------------------
-- A reader of "shop".
\c - viewer
create temp table loot (line text);
select TaskHub, InstanceID, InputText from dt.vInstances;
select TaskHub, InstanceID from dt.vInstances where TaskHub = 'bank';
select TaskHub, InstanceID, Payload from dt.vHistory;
select count(*) from dt.QuerySingleOrchestration('secret');
select count(*) from dt.GetInstanceHistory('secret', true);
select dt.GetScaleMetric();

-- A cheap function that tells on whatever row it is shown, in every place of a query: only those of
-- "shop".
create function pg_temp.leak(text) returns boolean language plpgsql cost 0.0000001 as $$
begin
  raise notice 'leaked: %', $1;
  return true;
end $$;
select count(*) from dt.vInstances where pg_temp.leak(InstanceID || InputText);
select count(*) from dt.vInstances where pg_temp.leak(TaskHub) and TaskHub = 'bank';
select count(*) from dt.vHistory where pg_temp.leak(Payload) or pg_temp.leak(InstanceID);
select count(*) from dt.vInstances v join dt.vHistory h on pg_temp.leak(v.InputText || h.Payload);
select count(*) from dt.vInstances order by bool_or(pg_temp.leak(InputText));
-- An operator and a cast of one's own, and an error that would show a value.
create function pg_temp.same(text, text) returns boolean language plpgsql cost 0.0000001 as $$
begin
  raise notice 'leaked: % %', $1, $2;
  return true;
end $$;
create operator pg_temp.=== (function = pg_temp.same, leftarg = text, rightarg = text);
select count(*) from dt.vInstances where InputText operator(pg_temp.===) 'x';
select count(*) from dt.vInstances where InputText::int = 1;
select count(*) from dt.vInstances where (InstanceID = 'own' or InputText::int = 1);
select count(*) from dt.vInstances where 1 / (length(InputText) - 16) = 1;

-- Under the views and beside them.
select * from dt.__Instances;
select * from dt.__InstanceHistory;
select * from dt.Instances;
select * from dt.NewEvents;
select * from dt.History;
select * from dt.ReadyInstances;
select * from dt.TaskHubs;
select * from dt.TaskHubBindings;
select * from dt.GlobalSettings;
select * from dt.Workers;
copy dt.Instances to stdout;
insert into dt.TaskHubBindings (role_name, task_hub) values ('viewer', 'bank');
update dt.TaskHubs set name = 'shop' where name = 'bank';
select count(*) from pg_stats where schemaname = 'dt';
select count(*) from pg_stats_ext where schemaname = 'dt';
select * from pg_statistic limit 1;
-- The internals.
select * from dt._QuerySingle(1, '{"items": [{"id": "secret", "payloads": true}]}', '{}');
select * from dt._ReadHistory(1, '{"items": [{"id": "secret", "after_turn": 0, "max_bytes": 99}]}',
                              '{}');
select * from dt._LockNextOrchestration(1, '{}', '{}');
select dt._ResolveHub('bank', false);
select dt.__OwnHub(false);
select dt.__CountWork(1);
select dt.__PurgeOwn('{"ids": ["ended"]}', null);
select dt._DeleteHub('bank');

-- What somebody keeps locked. Whoever can connect can take advisory locks, so nothing may wait for
-- one.
begin;
lock table dt.TaskHubs in exclusive mode;
rollback;
begin;
lock table dt.vInstances in access exclusive mode;
rollback;
select proname from pg_proc where pronamespace = 'dt'::regnamespace and prosrc like '%advisory%';
-- Being somebody else.
set session authorization bank_viewer;
set role bank_viewer;
set role dt_owner;
set role dt_daemon;
set role dt_admin;
set application_name = 'bank';
set dt.clock_shift = '100 years';
select dt.CurrentTaskHub();
select count(*) from dt.vInstances;
begin;
set local role dt_reader;
select dt.CurrentTaskHub(), current_user, session_user;
select count(*) from dt.vInstances;
rollback;
-- A settings table of one's own, and functions that pretend to be the schema's.
create temp table TaskHubBindings (role_name text, task_hub text);
insert into TaskHubBindings values ('viewer', 'bank');
create temp table TaskHubs as select 1 as hub_id, 'bank' as name, now() as created_time;
create temp table GlobalSettings as select 'TaskHubMode' as name, '0' as value;
create function pg_temp.CurrentTaskHub() returns text language sql as $$select 'bank'$$;
create function pg_temp.current_setting(text) returns text language sql as $$select 'bank'$$;
create function pg_temp.session_user() returns text language sql as $$select 'bank_viewer'$$;
set search_path = pg_temp, dt, pg_catalog;
select dt.CurrentTaskHub();
select count(*) from dt.vInstances;
select count(*) from dt.QuerySingleOrchestration('secret');
select count(*) from dt.GetInstanceHistory('secret');
reset search_path;
-- A view and a definer function of one's own do not lend more rights than one has.
create temp view mine as select * from dt.vInstances;
select count(*) from mine;
create function pg_temp.mine() returns bigint language sql security definer as
  'select count(*) from dt.Instances';
select pg_temp.mine();
select count(*) from loot;

-- ---------------------------------------------------------------------------------------------
-- An application of "shop".
\c - app
select dt.RaiseEvent('code', 'secret', '9999');
\echo :SQLSTATE
select dt.SuspendInstance('secret');
\echo :SQLSTATE
select dt.ResumeInstance('secret');
\echo :SQLSTATE
select dt.TerminateInstance('secret', 'stolen', true);
\echo :SQLSTATE
select dt.TerminateInstance('ended');
\echo :SQLSTATE
-- The same id in its own hub is another instance; it can not replace the one of "bank".
select InstanceID from dt.CreateInstance('Mine', InstanceID => 'secret', DedupeStatuses => '');
select InstanceID from dt.CreateInstance('Mine', InstanceID => 'ended', DedupeStatuses => '');
select dt.RaiseEvent('code', 'secret', '9999'), dt.TerminateInstance('ended', 'mine');
select TaskHub, InstanceID, Name, RuntimeStatus, InputText from dt.vInstances order by InstanceID;
set application_name = 'bank';
set dt.clock_shift = '100 years';
select InstanceID from dt.CreateInstance('Mine', InstanceID => 'under another name');
select CreatedTime < now() + interval '1 hour' as true_time from dt.vInstances
where InstanceID = 'under another name';
-- Tables and functions of the same names, before the schema's in search_path.
create temp table Instances (instance_key bigint, hub_id int, instance_id text);
create temp table ReadyInstances (instance_key bigint, lease_token bigint);
create function pg_temp._ResolveHub(text, boolean) returns int language sql as 'select 1';
create function pg_temp._CreateInstances(int, jsonb, bytea[]) returns int
language sql as 'select 1';
create function pg_temp.jsonb_build_object(variadic text[]) returns jsonb language sql as
  $$select '{"items": []}'::jsonb$$;
set search_path = pg_temp, dt;
select InstanceID from dt.CreateInstance('Mine', InstanceID => 'through a temporary schema');
reset search_path;
select TaskHub, count(*) from dt.vInstances group by 1;
select * from dt._CreateInstances(1, '{"items": []}', '{}');
select * from dt._AddOrchestrationEvents(1, '{"items": [{"id": "secret", "type": 17, "event": 1}]}',
                                         '{x}');
select * from dt._TerminateInstances(1, '{"items": [{"id": "secret"}]}', '{}');
select * from dt._TerminateNow(1, '{"ids": ["secret"]}', '{}');
select * from dt._CheckpointOrchestration(1, '{}', '{}');
select dt.__SendOwn('secret', 17, 'x', null);
select dt.__HintDaemons(1);
delete from dt.Instances;
truncate dt.NewEvents;

-- ---------------------------------------------------------------------------------------------
-- An administrator of "shop".
\c - manager
select count(*) from dt.vInstances where InstanceID in ('secret', 'ended') and TaskHub = 'bank';
select dt.BindTaskHub('manager', 'bank');
select dt.UnbindTaskHub('bank_manager');
select * from dt.GetTaskHubBindings();
select dt.SetGlobalSetting('TaskHubMode', '0');
select dt.SetRetention('Default', interval '0', 'bank');
select dt.RemoveRetention('Default', 'bank');
select dt.RemoveRetention('Default', 'no such hub');
select count(*) from dt.vRetention where TaskHub = 'bank';
select count(*) from dt.vWaitingWork where TaskHub = 'bank';
select count(*) from dt.vWorkers where TaskHub = 'bank';
set application_name = 'bank';
select dt.PurgeInstanceStateByID('{secret, ended}', true);
select dt.PurgeInstanceStateByTime('9999-01-01', 0, true);
select dt.PurgeInstanceStateByTime('9999-01-01', 1, true);
call dt.PurgeInstanceState('9999-01-01', 1, true, 1);
-- The procedure runs with the caller's rights and search_path, and helps nobody to more.
create function pg_temp.PurgeInstanceStateByTime(timestamptz, int, boolean, int) returns bigint
  language sql as 'select 0::bigint';
set search_path = pg_temp, dt;
call dt.PurgeInstanceState('9999-01-01');
reset search_path;
update dt.GlobalSettings set value = '0';
select * from dt._PurgeInstances(1, '{"ids": ["ended"], "rows": 9}', '{}');

-- A login of no hub that is named like one is in that hub by mode 1: bind every login (README.md).
-- What the name is in another case is another hub.
\c - postgres
create role "Bank" login in role dt_reader;
\c - "Bank"
select dt.CurrentTaskHub(), count(*) from dt.vInstances;
\c - postgres
drop role "Bank";

-- "bank" is as it was.
select n.instances = b.instances as instances, n.ready = b.ready as ready,
       n.messages = b.messages as messages, n.history = b.history as history,
       n.bindings = b.bindings as bindings
from bank_now n, before_attack b;
select name from dt.TaskHubs order by hub_id;
