-- A hub is deleted: SQL users see nothing of it at once, though its rows are removed later, and its
-- name is that of a new, empty hub. "service" is a daemon.
\set SHOW_CONTEXT never
\pset null '(null)'
\c - app
select InstanceID from dt.CreateInstance('Work', InstanceID => 'live');
select InstanceID from dt.CreateInstance('Work', InstanceID => 'ended');
select dt.TerminateInstance('ended', 'enough');
\c - manager
select dt.SetRetention('Failed', interval '1 day');
\c - bank_app
select InstanceID from dt.CreateInstance('Vault', InstanceID => 'secret');
\c - postgres
insert into dt.History (instance_key, turn, committed_time, first_event, event_count, events)
select i.instance_key, 1, now(), 0, 1,
       dt.__PbBytes(3, dt.__HistoryEvent(now(), 17, dt.__PbText(1, 'code')))
from dt.Instances i where i.instance_id = 'live';

\c - service
select dt._DeleteHub('shop'), dt._DeleteHub('shop');
\c - manager
select count(*) from dt.vInstances;
select count(*) from dt.vHistory;
select count(*) from dt.vWaitingWork;
select count(*) from dt.vRetention;
select count(*) from dt.GetInstanceHistory('live', true);
select * from dt.QuerySingleOrchestration('live');
select dt.GetScaleMetric(), dt.GetScaleRecommendation(1, 1);
select dt.PurgeInstanceStateByID('{ended}'), dt.PurgeInstanceStateByTime(now() + interval '1 day');
select dt.SetRetention('Failed', interval '1 day');
\c - app
select dt.RaiseEvent('paid', 'live');
select dt.TerminateInstance('live');
-- What users must not read tells no names of hubs.
select * from dt.HubDeletions;
select * from dt._CleanHubs(0, '{}', '{}');
\c - postgres
select count(*) from dt.Instances;

-- A new hub of this name has the same ids for its own instances.
\c - app
select InstanceID from dt.CreateInstance('Again', InstanceID => 'live');
select InstanceID, Name from dt.vInstances;
select dt.RaiseEvent('paid', 'live');

-- The daemon removes what was there, and nothing else.
\c - service
select hub, removed, total, age > 0 as later, ended, more
from dt._CleanHubs(0, '{"worker": 1, "rows": 1, "pause": 1000000}', '{}');
select hub, removed, total, age > 0 as later, ended, more
from dt._CleanHubs(0, '{"worker": 1, "rows": 100, "pause": 1000000}', '{}');
select * from dt._CleanHubs(0, '{"worker": 1, "rows": 100, "pause": 1000000}', '{}');
\c - postgres
select h.name, i.instance_id, i.name from dt.Instances i join dt.TaskHubs h using (hub_id)
order by 1;
select (select count(*) from dt.HubDeletions) as deletions,
       (select count(*) from dt.History) as turns,
       (select count(*) from dt.RetentionPolicies) as policies;
