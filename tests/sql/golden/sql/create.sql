-- CreateInstance: what it stores and answers, ids in use, and the limits of its arguments.
\set SHOW_CONTEXT never
\pset null '(null)'
\c - app

-- The hub is not there before its first instance, and the same login sees it afterwards.
select dt.CurrentTaskHub(), count(*) from dt.vInstances;
select * from dt.CreateInstance('Greet', InstanceID => 'one',
                                ExecutionID => '00000000-0000-0000-0000-0000000000AA');
select TaskHub, InstanceID, ExecutionID, Name, Version, RuntimeStatus, InputText, Tags,
       CompletedTime, ScheduledStart, ParentInstanceID, LockedBy
from dt.vInstances;

-- Everything that can be given, by position.
select * from dt.CreateInstance(
  'Grüße', '1.2', 'two', '000000000000000000000000000000bb', '{"a": [1, "\\"]}',
  '9999-12-31 23:59:59.999999+00', 'Pending, running,SUSPENDED,Completed',
  e'00-11111111111111111111111111111111-2222222222222222-01\nvendor=x', '{"k": "v", "empty": ""}');
select Name, Version, RuntimeStatus, InputText, TraceContext, Tags, ScheduledStart
from dt.vInstances where InstanceID = 'two';

-- The first message, as a worker will get it.
\c - postgres
select i.instance_id, e.event_type, e.generation, d.event_type, d.task_id, d.name, d.version,
       d.payload, d.visible_time, d.trace_context,
       d.occurred = i.created_time or d.occurred between i.created_time - interval '1 min'
                                                     and i.created_time as now
from dt.NewEvents e join dt.Instances i using (instance_key),
     dt.__DecodeEvents(dt.__PbBytes(3, e.event)) d
order by 1;
\c - app

-- A start in the past is a start now; without ids there are new ones, of 32 hexadecimal digits.
select InstanceID ~ '^[0-9a-f]{32}$' as instance, ExecutionID ~ '^[0-9a-f]{32}$' as execution,
       InstanceID <> ExecutionID as differ
from dt.CreateInstance('Late', StartTime => now() - interval '1 day');
select Name, RuntimeStatus, ScheduledStart from dt.vInstances where Name = 'Late';

-- A repeated call answers the same and changes nothing; without the ExecutionID it is another call.
select * from dt.CreateInstance('Other', InstanceID => 'one',
                                ExecutionID => '000000000000000000000000000000AA');
select * from dt.CreateInstance('Other', InstanceID => 'one');
\echo :SQLSTATE
select Name from dt.vInstances where InstanceID = 'one';

-- A null list is the default, not an empty one.
select * from dt.CreateInstance('Other', InstanceID => 'one', DedupeStatuses => null);
-- An ended instance is replaced by default, and stays if its status is in the list.
select dt.TerminateInstance('one', 'enough');
select * from dt.CreateInstance('Other', InstanceID => 'one',
                                DedupeStatuses => 'Pending,Running,Suspended,Terminated');
select ExecutionID <> '000000000000000000000000000000aa' as new
from dt.CreateInstance('Other', InstanceID => 'one', InputText => '');
select Name, RuntimeStatus, InputText = '' as "input ''", OutputText
from dt.vInstances where InstanceID = 'one';
-- A live one is replaced on request.
select InstanceID from dt.CreateInstance('Third', InstanceID => 'one', DedupeStatuses => '');
select Name, count(*) over () from dt.vInstances where InstanceID = 'one';
select * from dt.CreateInstance('Other', InstanceID => 'one', DedupeStatuses => 'Terminated');
\echo :SQLSTATE
select * from dt.CreateInstance('Other', DedupeStatuses => 'Pending,Sleeping');
\echo :SQLSTATE

-- The limits.
select * from dt.CreateInstance(null);
\echo :SQLSTATE
select * from dt.CreateInstance('');
select InstanceID is not null from dt.CreateInstance(repeat('n', 1024));
select * from dt.CreateInstance(repeat('n', 1025));
select * from dt.CreateInstance(repeat('ü', 513));
select InstanceID is not null from dt.CreateInstance('n', repeat('v', 256));
select * from dt.CreateInstance('n', repeat('v', 257));
select length(InstanceID) from dt.CreateInstance('n', InstanceID => repeat('ü', 512));
select * from dt.CreateInstance('n', InstanceID => repeat('i', 513));
select * from dt.CreateInstance('n', InstanceID => '');
select * from dt.CreateInstance('n', InstanceID => '@counter@key');
select * from dt.CreateInstance('n', ExecutionID => 'run 1');
select * from dt.CreateInstance('n', StartTime => 'infinity');
select * from dt.CreateInstance('n', StartTime => '10000-01-01 00:00:00+00');
select * from dt.CreateInstance('n', Tags => '["a"]');
select * from dt.CreateInstance('n', Tags => '{"a": 1}');
select InstanceID is not null
from dt.CreateInstance('n', Tags => jsonb_build_object('k', repeat('v', 65535)));
select * from dt.CreateInstance('n', Tags => jsonb_build_object('k', repeat('v', 65536)));
select * from dt.CreateInstance('n', TraceContext => repeat('t', 1025));
select * from dt.CreateInstance('n', InputText => repeat('x', 67108865));
\echo :SQLSTATE
select count(*) from dt.vInstances;
