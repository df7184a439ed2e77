-- RaiseEvent, SuspendInstance, ResumeInstance, TerminateInstance: of a live, an ended and a missing
-- instance, and what they put into the inbox.
\set SHOW_CONTEXT never
\pset null '(null)'
\c - app

-- No hub yet, then no instance.
select dt.RaiseEvent('go', 'one');
\echo :SQLSTATE
select InstanceID from dt.CreateInstance('Wait', InstanceID => 'one');
select InstanceID from dt.CreateInstance('Wait', InstanceID => 'other');
select dt.RaiseEvent('go', 'nobody');
\echo :SQLSTATE
select dt.SuspendInstance('nobody');
\echo :SQLSTATE
select dt.ResumeInstance('nobody');
\echo :SQLSTATE
select dt.TerminateInstance('nobody');
\echo :SQLSTATE

-- To a live one, in the order of the calls; a delayed event comes when it is due.
select dt.RaiseEvent('later', 'one', '1', '2999-01-01 00:00:00+00');
select dt.RaiseEvent('go', 'one', '{"n": 1}');
select dt.RaiseEvent('go', 'one', '{"n": 1}');
select dt.RaiseEvent(Name => 'no payload', InstanceID => 'one', DeliveryTime => '1999-01-01');
select dt.RaiseEvent('', 'one', '');
select dt.SuspendInstance('one', 'lunch');
select dt.SuspendInstance('one');
select dt.ResumeInstance('one', 'coffee');
\c - postgres
create view inbox as
select i.instance_id, e.event_type as number, e.generation, d.event_type, d.name, d.payload,
       e.visible_at > now() as delayed,
       row_number() over (partition by i.instance_id order by e.visible_at, e.seq) as place
from dt.NewEvents e join dt.Instances i using (instance_key),
     dt.__DecodeEvents(dt.__PbBytes(3, e.event)) d;
select * from inbox order by instance_id, place;

-- One that a daemon works on gets the order to end as a message; a free one that never ran ends at
-- once.
update dt.ReadyInstances set lease_token = 1 << 20, next_due = null
  where instance_key = (select instance_key from dt.Instances where instance_id = 'one');
delete from dt.NewEvents
where instance_key = (select instance_key from dt.Instances where instance_id = 'one');
\c - app
select dt.TerminateInstance('one', 'over', Recursive => true);
select dt.TerminateInstance('one');
select dt.RaiseEvent('go', 'one');
select dt.TerminateInstance('other', 'never mind');
select InstanceID, RuntimeStatus, OutputText, CompletedTime is not null as completed
from dt.vInstances order by InstanceID;
\c - postgres
select * from inbox order by instance_id, place;
-- The fields of the termination: the reason, and 1 for the children. owner_wake tells the holder to
-- look.
select f.field, f.number, f.bytes
from dt.NewEvents e, dt.__PbFields(dt.__PbField(e.event, 5)) f where e.event_type = 5
order by e.seq, 1;
select owner_wake is not null as told from dt.ReadyInstances;
\c - app

-- An ended one gets nothing, and nothing is left behind.
select dt.RaiseEvent('go', 'other', '1'), dt.SuspendInstance('other'), dt.ResumeInstance('other'),
       dt.TerminateInstance('other');

-- The limits.
select dt.RaiseEvent(null, 'one');
\echo :SQLSTATE
select dt.RaiseEvent(repeat('n', 1025), 'one');
select dt.RaiseEvent('go', null);
select dt.RaiseEvent('go', '');
select dt.RaiseEvent('go', repeat('i', 513));
select dt.RaiseEvent('go', 'one', repeat('x', 67108865));
select dt.RaiseEvent('go', 'one', null, '-infinity');
select dt.TerminateInstance('one', repeat('x', 67108865));
select dt.TerminateInstance(null);
select dt.SuspendInstance('one', repeat('x', 67108865));
select dt.ResumeInstance('');
\c - postgres
select count(*) from inbox;
