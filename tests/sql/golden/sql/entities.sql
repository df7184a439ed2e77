-- SignalEntity, GetEntity and vEntities, and where else SQL users meet entities.
\set SHOW_CONTEXT never
\pset null '(null)'
\c - app

-- No hub and no entity yet: a signal makes both. Names are the same in any case, keys are not.
select * from dt.GetEntity('@counter@a');
select dt.SignalEntity('@Counter@a', 'add', '1');
select dt.SignalEntity('@COUNTER@a', 'add', InputText => '2',
                       RequestID => '11111111-1111-1111-1111-11111111111A');
-- The same request, while it waits; then a delayed one, one of a time that has passed, one of no
-- time, and one with all that may be empty.
select dt.SignalEntity('@counter@a', 'add', '2', null, '11111111-1111-1111-1111-11111111111a');
select dt.SignalEntity('@counter@A', 'later', null, '2999-01-01 00:00:00+00');
select dt.SignalEntity('@counter@A', 'past', null, '1969-12-31 23:59:58.5+00');
select dt.SignalEntity('@counter@A', 'no time', null, 'epoch');
select dt.SignalEntity('@counter@', '', '');
select dt.SignalEntity('@Straße@key@with@ats', 'go');
-- Without a state there is nothing to get.
select * from dt.GetEntity('@counter@a');

\c - postgres
create view inbox as
select i.instance_id, e.event_type as number, d.event_type, d.name, d.payload,
       e.visible_at > now() as delayed, e.request_id
from dt.NewEvents e join dt.Instances i using (instance_key),
     dt.__DecodeEvents(dt.__PbBytes(3, e.event)) d
order by i.instance_id, e.visible_at, e.seq;
select * from inbox;
select i.instance_id, dt.__PbTime(dt.__PbField(dt.__PbField(e.event, 23), 3)) at time zone 'UTC'
         as scheduled
from dt.NewEvents e join dt.Instances i using (instance_key)
where dt.__PbField(dt.__PbField(e.event, 23), 3) is not null order by e.seq;

-- Errors say what to do.
\c - app
select dt.SignalEntity(null, 'add');
\echo :SQLSTATE
select dt.SignalEntity('', 'add');
select dt.SignalEntity('order-17', 'add');
\echo :SQLSTATE
select dt.SignalEntity('@counter', 'add');
select dt.SignalEntity('@@key', 'add');
begin;
select dt.SignalEntity('@counter@' || repeat('ü', 91), 'add');
rollback;
select dt.SignalEntity('@counter@' || repeat('ü', 92), 'add');
\echo :SQLSTATE
select dt.SignalEntity('@counter@a', null);
\echo :SQLSTATE
select dt.SignalEntity('@counter@a', repeat('x', 1025));
select dt.SignalEntity('@counter@a', 'add', null, 'infinity');
select dt.GetEntity('order-17');
select dt.GetEntity(null);
-- What is for orchestrations points here.
select dt.RaiseEvent('go', '@counter@a');
\echo :SQLSTATE
select dt.TerminateInstance('@counter@a');
select dt.SuspendInstance('@counter@a');
select * from dt.CreateInstance('Work', InstanceID => '@counter@a');

-- A transaction that is rolled back leaves nothing.
begin;
select dt.SignalEntity('@counter@gone', 'add');
rollback;
-- Any isolation level.
begin isolation level serializable;
select dt.SignalEntity('@counter@kept', 'add');
commit;
select InstanceID from dt.vEntities where Name = 'counter' and Key in ('gone', 'kept');

-- What workers make of them: states, one stored apart and one that is no text, locks, a lease.
\c - postgres
update dt.Entities e set state = '{"n": 3}', last_modified_time = '2024-01-02 00:00:00+00'
  from dt.Instances i where i.instance_key = e.instance_key and i.instance_id = '@counter@a';
update dt.Entities e set state_payload = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'
  from dt.Instances i where i.instance_key = e.instance_key and i.instance_id = '@counter@A';
insert into dt.Payloads (instance_key, payload_id, data)
  select i.instance_key, 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa', convert_to('"größer"', 'UTF8')
  from dt.Instances i where i.instance_id = '@counter@A';
update dt.Entities e set state = '\x00ff'::bytea
  from dt.Instances i where i.instance_key = e.instance_key and i.instance_id = '@counter@';
insert into dt.Workers (host, process, version, started, lease_until)
  values ('daemon-1', 'p', '1', now(), now() + interval '1 hour')
  returning worker_id > 0 as registered;
update dt.ReadyInstances r set lease_token = (select max(worker_id) from dt.Workers) << 40,
       next_due = null
  from dt.Instances i where i.instance_key = r.instance_key and i.instance_id = '@counter@A';
\c - app
select InstanceID from dt.CreateInstance('Transfer', InstanceID => 'transfer-1');
\c - postgres
update dt.Entities e set locked_by_key = o.instance_key, locked_by_generation = 0,
       critical_section = 'c-1'
  from dt.Instances i, dt.Instances o
  where i.instance_key = e.instance_key and i.instance_id in ('@counter@a', '@straße@key@with@ats')
    and o.instance_id = 'transfer-1';
\c - viewer
select Name, Key, State, StateSize, LockedBy, Backlog, LastModified = '2024-01-02 00:00:00+00'
         as is_that_time
from dt.GetEntity('@COUNTER@a');
select Name, Key, State, StateSize, LockedBy, Backlog, LastModified > now() - interval '1 hour'
         as fresh
from dt.GetEntity('@counter@A');
select State, StateSize from dt.GetEntity('@counter@');
select * from dt.GetEntity('@counter@nobody');
select InstanceID, Name, Key, StateSize, HasState, LockedBy, CriticalSection, Backlog,
       NextDue at time zone 'UTC' as next_due, LastModifiedTime < now() as modified, LeasedBy
from dt.vEntities order by InstanceID collate "C";

-- vInstances shows them, too, and an owner that is purged is ''.
select InstanceID, Name, RuntimeStatus from dt.vInstances order by InstanceID collate "C";
\c - postgres
update dt.Entities set locked_by_key = 999999 where locked_by_key is not null;
\c - viewer
select LockedBy = '' as gone from dt.GetEntity('@counter@a');
select InstanceID, LockedBy = '' as gone from dt.vEntities where LockedBy is not null
order by InstanceID collate "C";

-- Scaling: due entities are work, delayed signals are not. What no worker has is shown by name.
\c - app
select dt.SignalEntity('@timer@only', 'ring', null, '2999-01-01 00:00:00+00');
select dt.GetScaleMetric(), dt.GetScaleRecommendation(2, 1);
select Kind, Name, Version, Waiting, InstanceID from dt.vWaitingWork
order by Kind, Name collate "C";
-- What waits for the end of a lock is no work until then.
\c - postgres
update dt.ReadyInstances r set not_before = 'infinity', next_due = null
  from dt.Instances i where i.instance_key = r.instance_key and i.name = 'straße';
\c - app
select dt.SignalEntity('@straße@key@with@ats', 'go');
select dt.GetScaleMetric();
select Kind, Name, Waiting from dt.vWaitingWork order by Kind, Name collate "C";

-- Another hub sees and touches nothing of this.
\c - bank_app
select dt.SignalEntity('@counter@a', 'add', '5');
select InstanceID, HasState, Backlog from dt.vEntities;
select * from dt.GetEntity('@counter@a');

-- Readers do not signal, strangers see nothing, and nobody calls what is inner.
\c - viewer
select dt.SignalEntity('@counter@a', 'add');
\c - manager
select dt.SignalEntity('@counter@a', 'add');
select count(*) from dt.vEntities;
select count(*) from dt.GetEntity('@counter@a');
\c - stranger
select count(*) from dt.vEntities;
select dt.GetEntity('@counter@a');
\c - app
select dt.__LockEntity('@counter@a');
select * from dt.Entities;
