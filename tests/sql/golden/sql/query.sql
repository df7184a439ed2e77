-- The views and the reading functions, of a finished instance with a history.
\set SHOW_CONTEXT never
\pset null '(null)'
\c - app
select InstanceID
from dt.CreateInstance('Pay', '2.0', 'order-7', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
                                         '{"amount": 5}', Tags => '{"shop": "lima"}');
select InstanceID from dt.CreateInstance('Pay', InstanceID => 'order-8');
select InstanceID from dt.CreateInstance('Pay', InstanceID => 'order-9');
\c - postgres
-- A turn, as a checkpoint writes it: started, an activity scheduled, done, completed.
insert into dt.History (instance_key, turn, committed_time, first_event, event_count, events)
select i.instance_key, 1, now(), 0, 5,
       dt.__PbBytes(3, dt.__HistoryEvent('2023-11-14 22:13:20+00', 14, ''))
       || dt.__PbBytes(3, dt.__ExecutionStartedEvent('2023-11-14 22:13:20+00', 'Pay', '2.0',
            '{"amount": 5}', 'order-7', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', null, null, null))
       || dt.__PbBytes(3, dt.__PbNumber(1, 0)
            || dt.__PbBytes(2, dt.__PbTimestamp('2023-11-14 22:13:21+00'))
            || dt.__PbBytes(6, dt.__PbText(1, 'Charge') || dt.__PbStringValue(3, '5')))
       || dt.__PbBytes(3, dt.__HistoryEvent('2023-11-14 22:13:22+00', 8,
            dt.__PbBytes(2, dt.__PbText(1, 'Declined') || dt.__PbText(2, 'no money'))))
       || dt.__PbBytes(3, dt.__HistoryEvent('2023-11-14 22:13:23+00', 4,
            dt.__PbNumber(1, 1) || dt.__PbStringValue(2, '"declined"')))
from dt.Instances i where i.instance_id = 'order-7';
update dt.Instances set stored_status = 1, output = '"declined"', custom_status = '"charging"',
    completed_time = now(), last_updated_time = now() where instance_id = 'order-7';
delete from dt.ReadyInstances using dt.Instances i
  where i.instance_key = ReadyInstances.instance_key and i.instance_id = 'order-7';
-- What a first turn writes that shows nothing new.
update dt.ReadyInstances r set turn = 1 from dt.Instances i
  where i.instance_key = r.instance_key and i.instance_id = 'order-9';

\c - viewer
select TaskHub, InstanceID, ExecutionID, Name, Version, CompletedTime >= CreatedTime as times,
       LastUpdatedTime = CompletedTime as ended, RuntimeStatus, TraceContext, CustomStatusText,
       InputText, OutputText, ParentInstanceID, Tags, FailureDetails, LockedBy, LockExpiration,
       ScheduledStart
from dt.QuerySingleOrchestration('order-7') \gx
select InstanceID, InputText, OutputText, CustomStatusText
from dt.QuerySingleOrchestration('order-7', FetchInput => false, FetchOutput => false);
select InstanceID, InputText, OutputText
from dt.QuerySingleOrchestration('order-7', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', true, false);
select count(*) from dt.QuerySingleOrchestration('order-7', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb');
select count(*) from dt.QuerySingleOrchestration('nobody');
select count(*) from dt.QuerySingleOrchestration(null);

select InstanceID, Name, RuntimeStatus, OutputText from dt.vInstances order by InstanceID;
select SequenceNumber, EventType, TaskID, Timestamp at time zone 'UTC' as at, Name, RuntimeStatus,
       Payload
from dt.vHistory where InstanceID = 'order-7' order by SequenceNumber;
select SequenceNumber, EventType, TaskID, Name, RuntimeStatus, Reason, PayloadText, Version, Tags
from dt.GetInstanceHistory('order-7', true);
select SequenceNumber, EventType, PayloadText from dt.GetInstanceHistory('order-7');
select count(*) from dt.GetInstanceHistory('nobody');
-- One that has not run has no history.
select count(*) from dt.GetInstanceHistory('order-8');
-- The columns are an interface: new ones come last.
select string_agg(attname, ', ' order by attnum) from pg_attribute
where attrelid in ('dt.vinstances'::regclass) and attnum > 0;
select string_agg(attname, ', ' order by attnum) from pg_attribute
where attrelid in ('dt.vhistory'::regclass) and attnum > 0;
