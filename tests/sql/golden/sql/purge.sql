-- Purge by id, by time, recursive, in steps, and by the procedure that commits.
\set SHOW_CONTEXT never
\pset null '(null)'
\c - app
select count(InstanceID)
from generate_series(1, 9) n, dt.CreateInstance('Work', InstanceID => 'i' || n);
select count(dt.TerminateInstance('i' || n)) from generate_series(1, 7) n;
\c - postgres
-- i1 .. i7 ended, at day n, created at day 1; i8 and i9 live. i2 is a child of i1, i3 and i8 of i2.
update dt.Instances set created_time = '2024-01-01 00:00:00+00',
    completed_time = case when completed_time is not null
                          then timestamptz '2024-01-01 00:00:00+00'
                               + (substr(instance_id, 2)::int - 1) * interval '1 day' end;
update dt.Instances c set parent_key = p.instance_key, parent_instance_id = p.instance_id
from dt.Instances p
where (c.instance_id, p.instance_id) in (('i2', 'i1'), ('i3', 'i2'), ('i8', 'i2'));
\c - manager

-- By id: neither live nor missing ones, and each once.
select dt.PurgeInstanceStateByID(array['i7', 'i7', 'i8', 'nobody']);
select dt.PurgeInstanceStateByID(array['i7']);
select dt.PurgeInstanceStateByID('{}'), dt.PurgeInstanceStateByID(null);
select string_agg(InstanceID, ' ' order by InstanceID) from dt.vInstances;
-- With the descendants that have ended. In the caller's transaction.
begin;
select dt.PurgeInstanceStateByID('{i1}', Recursive => true);
select string_agg(InstanceID, ' ' order by InstanceID) from dt.vInstances;
rollback;
select dt.PurgeInstanceStateByID('{i1}');
select string_agg(InstanceID, ' ' order by InstanceID) from dt.vInstances;

-- By time: the threshold is included; 0 = created, 1 = completed.
begin;
select dt.PurgeInstanceStateByTime('2023-12-31');
select dt.PurgeInstanceStateByTime('2024-01-01 00:00:00+00');
rollback;
select dt.PurgeInstanceStateByTime('2024-01-03 00:00:00+00', 1, MaxInstances => 1);
select dt.PurgeInstanceStateByTime('2024-01-03 00:00:00+00', 1, MaxInstances => 1);
select dt.PurgeInstanceStateByTime('2024-01-03 00:00:00+00', 1, MaxInstances => 1);
select string_agg(InstanceID, ' ' order by InstanceID) from dt.vInstances;

-- The procedure, one commit per instance here. It is refused where it could not commit.
begin;
call dt.PurgeInstanceState('2024-02-01', 1);
\echo :SQLSTATE
rollback;
call dt.PurgeInstanceState('2024-01-05 00:00:00+00', 1, BatchSize => 1);
call dt.PurgeInstanceState('2024-01-05 00:00:00+00', 1);
select string_agg(InstanceID, ' ' order by InstanceID) from dt.vInstances;
call dt.PurgeInstanceState(now(), Recursive => true);
select string_agg(InstanceID, ' ' order by InstanceID) from dt.vInstances;

-- The limits.
select dt.PurgeInstanceStateByTime(null);
\echo :SQLSTATE
select dt.PurgeInstanceStateByTime(now(), 2);
select dt.PurgeInstanceStateByTime(now(), null);
select dt.PurgeInstanceStateByTime(now(), 0, MaxInstances => 0);
select dt.PurgeInstanceStateByTime('infinity');

-- A purged id is free, and nothing of the purged is left.
\c - app
select InstanceID from dt.CreateInstance('Work', InstanceID => 'i1');
\c - postgres
select (select count(*) from dt.Instances), (select count(*) from dt.ReadyInstances),
       (select count(distinct instance_key) from dt.NewEvents), (select count(*) from dt.History);
