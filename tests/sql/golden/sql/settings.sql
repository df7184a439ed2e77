-- Hubs of logins, settings and versions.
\set SHOW_CONTEXT never
\pset null '(null)'
-- "chief" has the role admin and is bound to no hub, "manager" has it and is bound to the hub
-- "shop".
\c - chief
select * from dt.GetTaskHubBindings() limit 0;
select RoleName, TaskHub, LastModifiedBy, LastModifiedTime <= now() as past
from dt.GetTaskHubBindings();

-- Mode 1: the name of the login, whatever the application calls itself and whichever role is set.
select dt.CurrentTaskHub();
set application_name = 'shop';
set role dt_admin;
select dt.CurrentTaskHub();
reset role;
-- A long name becomes its beginning and a hash.
\c - a_login_with_a_name_that_is_longer_than_fifty_characters
select dt.CurrentTaskHub(), length(dt.CurrentTaskHub());

-- Mode 0: the application name. A binding wins over it.
\c - chief
select dt.SetGlobalSetting('TaskHubMode', '0');
set application_name = 'anything';
select dt.CurrentTaskHub();
set application_name = '';
select dt.CurrentTaskHub();
\c - app
set application_name = 'anything';
select dt.CurrentTaskHub();
\c - chief
select dt.SetGlobalSetting('TaskHubMode', '1');

-- Bindings: repeated, changed, removed.
select dt.BindTaskHub('chief_helper', 'one'), dt.BindTaskHub('chief_helper', 'one');
\c - chief_helper
select dt.CurrentTaskHub();
\c - chief
select dt.BindTaskHub('chief_helper', 'two');
\c - chief_helper
select dt.CurrentTaskHub();
\c - chief
select dt.UnbindTaskHub('chief_helper'), dt.UnbindTaskHub('chief_helper');
\c - chief_helper
select dt.CurrentTaskHub();
\c - chief
select dt.BindTaskHub('nobody at all', 'one');
\echo :SQLSTATE
select dt.BindTaskHub(null, 'one');
\echo :SQLSTATE
select dt.BindTaskHub('chief_helper', '');
\echo :SQLSTATE
select dt.BindTaskHub('chief_helper', null);
select dt.BindTaskHub('chief_helper', repeat('h', 101));

-- Who is bound to a hub does not decide for the others.
\c - manager
select dt.BindTaskHub('manager', 'other');
\echo :SQLSTATE
select dt.UnbindTaskHub('manager');
select * from dt.GetTaskHubBindings();
select dt.SetGlobalSetting('TaskHubMode', '0');
\echo :SQLSTATE

-- Whoever has bound itself may take that back, and nobody else who is bound.
\c - chief
select dt.BindTaskHub('chief', 'mine');
select dt.CurrentTaskHub();
select dt.SetGlobalSetting('TaskHubMode', '1');
select dt.UnbindTaskHub('manager');
select dt.UnbindTaskHub('chief');
select dt.UnbindTaskHub('chief');

-- What somebody does is in PostgreSQL's log.
set client_min_messages = log;
select dt.BindTaskHub('chief_helper', 'three');
select dt.UnbindTaskHub('chief_helper');
select dt.SetGlobalSetting('NotifyOnCommit', '1');
\c - app
set client_min_messages = log;
select (dt.CreateInstance('Order', InstanceID => 'logged')).InstanceID;
select dt.TerminateInstance('logged');
\c - manager
set client_min_messages = log;
select dt.PurgeInstanceStateByID('{logged}');
select dt.SetRetention('Failed', interval '1 day');
select dt.RemoveRetention('Failed');

-- Settings are known, and so are their values.
\c - chief
select dt.SetGlobalSetting('Colour', '1');
\echo :SQLSTATE
select dt.SetGlobalSetting(null, '1');
select dt.SetGlobalSetting('TaskHubMode', '2');
\echo :SQLSTATE
select dt.SetGlobalSetting('TaskHubMode', null);
select dt.SetGlobalSetting('NotifyOnCommit', '1');
\c - postgres
select name, value, last_modified_by, timestamp <= now() as past from dt.GlobalSettings
order by name;

-- The channel of a schema with a long name is a hash of it.
\c - postgres
select dt.__HintChannel('dt'), dt.__HintChannel(repeat('s', 51)), dt.__HintChannel(repeat('s', 52)),
       dt.__HintChannel(repeat('ü', 31));

-- Versions, newest first by their numbers.
insert into dt.Versions (semantic_version, min_daemon_version, upgrade_time) values
  ('1.10.0', '1.0.0', '2020-01-01'), ('1.9.0', '1.0.0', '2021-01-01'),
  ('1.10.0-rc.1', '1.0.0', '2022-01-01');
\c - viewer
select semantic_version, min_daemon_version from dt._GetVersions();
