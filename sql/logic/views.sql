-- What SQL users look at. All filter by CurrentTaskHub() and are barriers: a condition of the user
-- is not evaluated on rows of other hubs. New columns are appended only. The daemon reads none of
-- these.

-- __Instances: the instances of all hubs as vInstances shows them. For the view and the function
-- below only.
create or replace view __Instances as
select h.name as TaskHub, i.instance_id as InstanceID, i.execution_id as ExecutionID,
       i.name as Name, __AsText(i.version) as Version, i.created_time as CreatedTime,
       case when i.completed_time is not null then i.last_updated_time
            else greatest(i.last_updated_time,
                          (select c.committed_time from History c
                           where c.instance_key = i.instance_key
                           order by c.turn desc limit 1)) end as LastUpdatedTime,
       i.completed_time as CompletedTime,
       __StatusName(__StatusNow(i.stored_status, r.turn)) as RuntimeStatus,
       __AsText(__PbField(i.trace_context, 1)) as TraceContext,
       __AsText(i.custom_status) as CustomStatusText,
       __AsText(coalesce(i.input, (select p.data from Payloads p
                                   where p.instance_key = i.instance_key
                                     and p.payload_id = i.input_payload))) as InputText,
       __AsText(coalesce(i.output, (select p.data from Payloads p
                                    where p.instance_key = i.instance_key
                                      and p.payload_id = i.output_payload))) as OutputText,
       i.parent_instance_id as ParentInstanceID, i.tags as Tags,
       nullif(concat_ws(': ', __AsText(__PbField(i.failure, 1)), __AsText(__PbField(i.failure, 2))),
              '')
         as FailureDetails,
       w.host as LockedBy, w.lease_until as LockExpiration, i.scheduled_start as ScheduledStart
from Instances i
join TaskHubs h on h.hub_id = i.hub_id
left join ReadyInstances r on r.instance_key = i.instance_key
left join Workers w on w.worker_id = r.lease_token >> 40;

-- vInstances: the instances of the caller's hub.
create or replace view vInstances with (security_barrier) as
select i.TaskHub, i.InstanceID, i.ExecutionID, i.Name, i.Version, i.CreatedTime, i.LastUpdatedTime,
       i.CompletedTime, i.RuntimeStatus, i.TraceContext, i.CustomStatusText, i.InputText,
       i.OutputText, i.ParentInstanceID, i.Tags, i.FailureDetails, i.LockedBy, i.LockExpiration,
       i.ScheduledStart
from __Instances i
where i.TaskHub = CurrentTaskHub();

-- vEntities: the entities of the caller's hub, also those without a state. StateSize is in bytes.
-- LockedBy is the orchestration that holds the lock ('': one that is gone), CriticalSection its id
-- of that. Backlog counts the operations that are due and have not run, up to 10000; NextDue is
-- when the next of the delayed ones is. LastModifiedTime is when operations last ran, or the entity
-- came to be; LeasedBy is the daemon that has it.
create or replace view vEntities with (security_barrier) as
select h.name as TaskHub, i.instance_id as InstanceID, i.name as Name,
       substr(i.instance_id, length(i.name) + 3) as Key,
       coalesce(octet_length(e.state),
                (select octet_length(p.data) from Payloads p
                 where p.instance_key = e.instance_key and p.payload_id = e.state_payload), 0)
         as StateSize,
       e.state is not null or e.state_payload is not null as HasState,
       case when e.locked_by_key is not null
            then coalesce((select o.instance_id from Instances o
                           where o.instance_key = e.locked_by_key), '') end as LockedBy,
       e.critical_section as CriticalSection,
       (select count(*)::int
        from (select from NewEvents n
              where n.instance_key = e.instance_key and n.event_type in (23, 24)
                and n.visible_at <= _Now() limit 10000) b) as Backlog,
       (select min(n.visible_at) from NewEvents n
        where n.instance_key = e.instance_key and n.event_type in (23, 24)
          and n.visible_at > _Now()) as NextDue,
       e.last_modified_time as LastModifiedTime, w.host as LeasedBy
from Entities e
join Instances i on i.instance_key = e.instance_key
join TaskHubs h on h.hub_id = i.hub_id
left join ReadyInstances r on r.instance_key = e.instance_key
left join Workers w on w.worker_id = r.lease_token >> 40
where h.name = CurrentTaskHub();

-- QuerySingleOrchestration: one instance of the caller's hub, as vInstances shows it; no row if
-- there is none, or if it has another ExecutionID than the one asked for. Input and output only
-- when asked for.
create or replace function QuerySingleOrchestration(InstanceID text,
                                                    ExecutionID text default null,
                                                    FetchInput boolean default true,
                                                    FetchOutput boolean default true)
returns setof vInstances
language sql stable security definer set search_path from current as $$
  select i.TaskHub, i.InstanceID, i.ExecutionID, i.Name, i.Version, i.CreatedTime,
         i.LastUpdatedTime, i.CompletedTime, i.RuntimeStatus, i.TraceContext, i.CustomStatusText,
         case when $3 then i.InputText end, case when $4 then i.OutputText end,
         i.ParentInstanceID, i.Tags, i.FailureDetails, i.LockedBy, i.LockExpiration,
         i.ScheduledStart
  from __Instances i
  where i.TaskHub = CurrentTaskHub() and i.InstanceID = $1
    and ($2 is null or i.ExecutionID = $2)
$$;

-- vHistory: the events of their current generations, one row each.
create or replace view vHistory with (security_barrier) as
select h.name as TaskHub, i.instance_id as InstanceID, i.execution_id as ExecutionID,
       (c.first_event + e.event_index)::bigint as SequenceNumber, e.event_type as EventType,
       e.task_id as TaskID, e.occurred as Timestamp, true as IsPlayed, e.name as Name,
       e.runtime_status as RuntimeStatus, e.visible_time as VisibleTime,
       e.trace_context as TraceContext, e.payload as Payload
from Instances i
join TaskHubs h on h.hub_id = i.hub_id
join History c on c.instance_key = i.instance_key
-- A payload is joined by the rights of the view's owner, not by a function, which would have the
-- reader's.
cross join lateral (
  select case when __IsCut(c.events)
              then (select __Assemble(c.events, array_agg(p.payload_id), array_agg(p.data))
                    from Payloads p
                    where p.instance_key = c.instance_key
                      and p.payload_id in (select u.payload_id from __PayloadCuts(c.events) u))
              else c.events end as events) w
cross join lateral __DecodeEvents(w.events) e
where h.name = CurrentTaskHub();

-- vRetention: what happens to ended instances, a row per status. Keep null = kept for ever; SetBy
-- null = by the settings of the daemon that leads. PassedOver were due, but belong to a live
-- orchestration.
create or replace view vRetention with (security_barrier) as
select p.hub as TaskHub, __StatusName(p.status) as RuntimeStatus, p.keep as Keep, p.set_by as SetBy,
       w.last_run as LastRun, coalesce(w.purged_total, 0) as PurgedTotal,
       coalesce(w.passed_over, 0) as PassedOver, o.completed_time as OldestCompletedTime,
       __Later(o.completed_time, p.keep) as NextDue, d.host as LedBy,
       case when d.worker_id is not null then l.since end as LedSince
from __RetentionPlan p
join Leaders l on l.role = 'retention'
left join Workers d on d.worker_id = l.worker_id and d.lease_until >= _Now()
left join RetentionWalks w on w.hub_id = p.hub_id and w.status = p.status
left join lateral (
  select i.stored_status, i.completed_time from Instances i
  where i.hub_id = p.hub_id and i.kind = 0 and i.stored_status >= p.status
    and i.completed_time is not null
  order by i.stored_status, i.completed_time limit 1) o on o.stored_status = p.status
where p.hub = CurrentTaskHub();

-- vWaitingWork: the work of the caller's hub that is due and that no worker has, a row per name and
-- version. Kind is Orchestration (turns), Entity or Activity. Under load some waits for a moment;
-- what stays is accepted by no worker's filters, or there are too few workers, or none.
-- WaitingSince and InstanceID are of the one that has waited for longest.
create or replace view vWaitingWork with (security_barrier) as
select h.name as TaskHub, case w.kind when 0 then 'Orchestration' else 'Entity' end as Kind,
       o.name as Name, __AsText(w.version) as Version, w.waiting as Waiting,
       w.since as WaitingSince, o.instance_id as InstanceID
from (select r.hub_id, r.kind, r.lower_name, r.version, count(*) as waiting,
             min(r.next_due) as since
      from ReadyInstances r
      where r.lease_token is null and r.next_due <= _Now()
      group by r.hub_id, r.kind, r.lower_name, r.version) w
join TaskHubs h on h.hub_id = w.hub_id
cross join lateral (
  select i.name, i.instance_id from ReadyInstances r
  join Instances i on i.instance_key = r.instance_key
  where r.hub_id = w.hub_id and r.kind = w.kind and r.lower_name = w.lower_name
    and r.version = w.version and r.lease_token is null and r.next_due is not null
  order by r.next_due limit 1) o
where h.name = CurrentTaskHub()
union all
select h.name, 'Activity', o.name, __AsText(w.version), w.waiting, w.since, o.instance_id
from (select t.hub_id, lower(t.name) as lower_name, coalesce(t.version, '') as version,
             count(*) as waiting, min(t.ready_at) as since
      from NewTasks t
      where t.lease_token is null and t.ready_at <= _Now()
      group by t.hub_id, lower(t.name), coalesce(t.version, '')) w
join TaskHubs h on h.hub_id = w.hub_id
cross join lateral (
  select t.name, i.instance_id from NewTasks t
  join Instances i on i.instance_key = t.instance_key
  where t.hub_id = w.hub_id and lower(t.name) = w.lower_name
    and coalesce(t.version, '') = w.version and t.lease_token is null and t.ready_at <= _Now()
  order by t.ready_at limit 1) o
where h.name = CurrentTaskHub();

-- __HubWorkers: the rows of vWorkers for all hubs. For that view and for the daemon only.
create or replace view __HubWorkers as
select h.name as TaskHub, w.worker_id as WorkerID, w.host as Host, w.version as Version,
       w.started as Since, nullif(w.renewed_at, '-infinity') as LastSeenTime,
       case when w.lease_until = '-infinity' then 'dead' when w.lease_until < _Now() then 'overdue'
            when w.silent_since is not null then 'silent' else 'alive' end as State,
       (array['turns', 'activities', 'entities'])[s.kind + 1] as Work, s.streams as Streams,
       s.credits as Credits, s.names as Names, (w.load ->> 'residents')::bigint as Residents,
       (w.load ->> 'in_flight')::bigint as InFlight,
       (w.load ->> 'per_second')::float8 as FinishedPerSecond,
       case when w.lease_until = '-infinity' then 0
            else (w.load ->> 'leases')::bigint end as Leases,
       h.hub_id as HubID
from TaskHubs h
cross join Workers w
cross join lateral jsonb_to_recordset(w.served)
  as s(hub int, kind int, streams int, credits bigint, names text[])
where s.hub = h.hub_id;

-- vWorkers: the daemons that have workers for the caller's hub, a row for each kind of work: turns,
-- activities or entities. State is alive, silent (its session is gone), overdue (its lease has run
-- out) or dead (what it held is free); Names is what its workers take, null = everything. Streams
-- and Credits are of the hub's work; Residents (instances in memory), InFlight (items at workers),
-- FinishedPerSecond and Leases (instances and activities that it holds; 0 for a dead one) of all
-- that the daemon does, as it said last.
create or replace view vWorkers with (security_barrier) as
select w.TaskHub, w.WorkerID, w.Host, w.Version, w.Since, w.LastSeenTime, w.State, w.Work,
       w.Streams, w.Credits, w.Names, w.Residents, w.InFlight, w.FinishedPerSecond, w.Leases
from __HubWorkers w
where w.TaskHub = CurrentTaskHub();

-- __InstanceHistory: the row type of GetInstanceHistory, for the events of all hubs. For nobody but
-- that function.
create or replace view __InstanceHistory as
select i.instance_id as InstanceID, i.execution_id as ExecutionID,
       (c.first_event + e.event_index)::bigint as SequenceNumber, e.event_type as EventType,
       e.name as Name, e.runtime_status as RuntimeStatus, e.task_id as TaskID,
       e.occurred as Timestamp, true as IsPlayed, e.visible_time as VisibleTime,
       e.reason as Reason, e.payload as PayloadText, null::uuid as PayloadID,
       i.parent_instance_id as ParentInstanceID, e.version as Version,
       e.trace_context as TraceContext, i.tags as Tags, i.hub_id as HubID, c.turn as Turn
from Instances i
join History c on c.instance_key = i.instance_key
-- A payload is joined by the rights of the view's owner, not by a function, which would have the
-- reader's.
cross join lateral (
  select case when __IsCut(c.events)
              then (select __Assemble(c.events, array_agg(p.payload_id), array_agg(p.data))
                    from Payloads p
                    where p.instance_key = c.instance_key
                      and p.payload_id in (select u.payload_id from __PayloadCuts(c.events) u))
              else c.events end as events) w
cross join lateral __DecodeEvents(w.events) e;

-- GetInstanceHistory: the events of an instance's current generation in order, one row each. A
-- missing instance has no rows. Payloads only when asked for.
create or replace function GetInstanceHistory(InstanceID text,
                                              GetInputsAndOutputs boolean default false)
returns setof __InstanceHistory
language sql stable security definer set search_path from current as $$
  select v.InstanceID, v.ExecutionID, v.SequenceNumber, v.EventType, v.Name,
         v.RuntimeStatus, v.TaskID, v.Timestamp, v.IsPlayed, v.VisibleTime, v.Reason,
         case when $2 then v.PayloadText end, v.PayloadID, v.ParentInstanceID, v.Version,
         v.TraceContext, v.Tags, v.HubID, v.Turn
  from __InstanceHistory v
  where v.HubID = (select h.hub_id from TaskHubs h where h.name = CurrentTaskHub())
    and v.InstanceID = $1
  order by v.Turn, v.SequenceNumber
$$;
