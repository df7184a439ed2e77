-- What the specs have, do and see: schema t, on top of an installed schema dt. A spec holds SQL
-- between braces and may hold none itself, so lists are texts separated by blanks: 'a b'.
--
-- Instances are named by id where a client names them and by key where a daemon does. After
-- t.reset() keys, message numbers and task keys count from 1, in the order in which the spec makes
-- them. A worker is a number; all its leases have the token t.token(worker).
create schema t;
set search_path = t;

create function t.token(p_worker bigint) returns bigint language sql immutable
return (p_worker << 40) | 1;

create function t.list(p_text text) returns text[] language sql immutable
return string_to_array(nullif(p_text, ''), ' ');

create function t.key_of(p_id text) returns bigint language sql stable
return (select i.instance_key from dt.Instances i where i.instance_id = p_id);

-- ---- What there is: procedures, which print nothing.

-- reset: empty tables, numbers from 1, and the hub "hub" with the id 1.
create procedure t.reset() language plpgsql as $$
begin
  truncate dt.TaskHubs, dt.Workers, dt.Instances, dt.ReadyInstances, dt.NewEvents, dt.NewTasks,
    dt.History, dt.Payloads, dt.Entities, dt.EntityLockRequests, dt.RetentionPolicies,
    dt.RetentionWalks, dt.HubDeletions restart identity;
  update dt.Leaders set worker_id = 0, settings = '{}';
  insert into dt.TaskHubs (name) values ('hub');
end $$;

-- instances: what pending and running ones have in common.
create procedure t.instances(p_ids text, p_parent text, p_status int, p_turn int)
language plpgsql as $$
begin
  insert into dt.Instances (hub_id, instance_id, execution_id, name, created_time,
                            last_updated_time,
                            stored_status, parent_key, parent_generation, parent_task_id)
    select 1, i.id, 'first', 'Work', now(), now(), p_status, t.key_of(p_parent),
           case when p_parent is not null then 0 end, case when p_parent is not null then 1 end
    from unnest(t.list(p_ids)) i(id);
  insert into dt.ReadyInstances (instance_key, hub_id, lower_name, turn)
    select t.key_of(i.id), 1, 'work', p_turn from unnest(t.list(p_ids)) i(id);
end $$;

-- pending: instances that were started and had no turn yet: each has its first message.
create procedure t.pending(p_ids text, p_parent text default null) language plpgsql as $$
declare
  v_id text;
begin
  call t.instances(p_ids, p_parent, 6, 0);
  foreach v_id in array t.list(p_ids) loop
    call t.message(v_id, 'started');
  end loop;
end $$;

-- running: instances after their first turn, with empty inboxes, leased by a worker or free.
create procedure t.running(p_ids text, p_worker bigint default null, p_parent text default null)
language plpgsql as $$
begin
  call t.instances(p_ids, p_parent, 0, 1);
  update dt.ReadyInstances r set lease_token = t.token(p_worker)
    from unnest(t.list(p_ids)) i(id) where r.instance_key = t.key_of(i.id);
  insert into dt.History (instance_key, turn, committed_time, first_event, event_count, events)
    select t.key_of(i.id), 1, now(), 0, 1, 'turn 1' from unnest(t.list(p_ids)) i(id);
end $$;

-- large_history: the first turn of an instance as it is stored with a large value, cut out of it.
create procedure t.large_history(p_id text) language plpgsql as $$
declare
  v_payload uuid := 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa';
begin
  insert into dt.Payloads (instance_key, payload_id, data)
    values (t.key_of(p_id), v_payload, ' is large');
  update dt.History h
    set events = '\x00'::bytea || int4send(13) || int4send(1) || int4send(4) || uuid_send(v_payload)
      || 'turn'
    where h.instance_key = t.key_of(p_id);
end $$;

-- ended: instances that ended in their first turn; status 1 completed, 3 failed, 5 terminated.
create procedure t.ended(p_ids text, p_parent text default null, p_status int default 1)
language plpgsql as $$
begin
  call t.running(p_ids, null, p_parent);
  delete from dt.ReadyInstances r using unnest(t.list(p_ids)) i(id)
    where r.instance_key = t.key_of(i.id);
  update dt.Instances i set stored_status = p_status, completed_time = now(), last_turn = 1
    where i.instance_id = any (t.list(p_ids));
end $$;

-- message: a message that waits in the inbox of an instance; its hot row knows of it.
create procedure t.message(p_id text, p_event text default 'waits') language plpgsql as $$
begin
  insert into dt.NewEvents (instance_key, visible_at, event_type, event)
    values (t.key_of(p_id), now(), 17, p_event::bytea);
  update dt.ReadyInstances r set next_due = now()
    where r.instance_key = t.key_of(p_id) and r.lease_token is null;
end $$;

-- tasks: activity tasks of an instance, numbered from 1, leased by a worker or free.
create procedure t.tasks(p_id text, p_count int, p_worker bigint default null)
language plpgsql as $$
begin
  insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, ready_at, place,
                           lease_token)
    select t.key_of(p_id), 1, 0, n, 'Act', now(), now(), t.token(p_worker)
    from generate_series(1, p_count) n;
end $$;

-- worker: a daemon whose lease is alive or has run out.
create procedure t.worker(p_alive boolean default true) language plpgsql as $$
begin
  insert into dt.Workers (host, process, version, started, lease_until)
    values ('host', '', '', now(), now() + case when p_alive then interval '1 h'
                                                else interval '-1 s' end);
end $$;

-- ---- What sessions do: one verb each, with its outcome as text.

create function t.delivery(p_outcome int) returns text language sql immutable
return (array['ok', 'not found', 'ended', null, 'ended now', null, 'ok, unread'])
  [p_outcome + 1];

-- start: clients start instances. An id in use is replaced if its instance has ended, or always.
create function t.start(p_ids text, p_execution text default 'second',
                        p_always boolean default false,
                        p_worker bigint default null)
returns text language plpgsql as $$
declare
  v_ids text[] := t.list(p_ids);
begin
  return (
    select string_agg(v_ids[c.item] || ': '
             || (array['created', 'replaced', 'already', 'exists', 'no hub'])
                  [c.outcome + 1], ', ' order by c.item)
    from dt._CreateInstances(1, jsonb_build_object('items', (
      select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
               'id', i.id, 'execution_id', p_execution, 'name', 'Work', 'type', 3, 'event', 1,
               'replaceable', case when p_always then 255 else 58 end,
               'token', t.token(p_worker))) order by i.ord)
      from unnest(v_ids) with ordinality i(id, ord))), array['started'::bytea]) c
    where c.item is not null);
end $$;

-- raise: an event from a client of a worker's daemon.
create function t.raise(p_ids text, p_event text default 'raised', p_worker bigint default 9)
returns text language plpgsql as $$
declare
  v_ids text[] := t.list(p_ids);
begin
  return (
    select string_agg(v_ids[d.item] || ': ' || t.delivery(d.outcome), ', ' order by d.item)
    from dt._AddOrchestrationEvents(1, jsonb_build_object('worker', p_worker, 'items', (
      select jsonb_agg(jsonb_build_object('id', i.id, 'type', 17, 'event', 1) order by i.ord)
      from unnest(v_ids) with ordinality i(id, ord))), array[p_event::bytea]) d);
end $$;

create function t.terminate(p_ids text, p_worker bigint default 9) returns text
language plpgsql as $$
declare
  v_ids text[] := t.list(p_ids);
begin
  return (
    select string_agg(v_ids[d.item] || ': ' || t.delivery(d.outcome), ', ' order by d.item)
    from dt._TerminateInstances(1, jsonb_build_object('worker', p_worker, 'items', (
      select jsonb_agg(jsonb_build_object('id', i.id, 'type', 5, 'event', 1, 'reason', 2)
                       order by i.ord)
      from unnest(v_ids) with ordinality i(id, ord))),
      array['terminate', 'reason']::bytea[]) d
    where d.item is not null);
end $$;

-- terminate_now: the ids that did not end by this.
create function t.terminate_now(p_ids text) returns text language plpgsql as $$
begin
  return 'not by this: ' || coalesce((
    select string_agg(d.id, ' ')
    from dt._TerminateNow(1, jsonb_build_object('ids', to_jsonb(t.list(p_ids)), 'reason', 1),
                          array['reason'::bytea]) d), '-');
end $$;

-- claim: what a worker gets, each instance with the number of its messages.
create function t.claim(p_worker bigint, p_max int default 10) returns text language plpgsql as $$
begin
  return coalesce((
    select string_agg(c.claimed, ', ')
    from (select string_agg(p.instance_id, '') || ': ' || count(*) filter (where p.part = 1)
                 || ' messages' as claimed
          from dt._LockNextOrchestration(1, jsonb_build_object(
            'token', t.token(p_worker), 'kind', 0, 'max_messages', 10, 'max_bytes', 1000000,
            'groups', jsonb_build_array(jsonb_build_object('max', p_max))), null) p
          where p.part in (0, 1) group by p.key order by p.key) c), 'nothing');
end $$;

-- checkpoint: one turn of one instance. p_ends is a final status, p_below ends what is live below
-- it, too; consumed are numbers of messages.
create function t.checkpoint(p_key bigint, p_worker bigint, p_turn bigint,
                             p_consumed text default '',
                             p_ends int default null, p_releases boolean default false,
                             p_next boolean default false, p_messages text default '',
                             p_parent bigint default null, p_children text default '',
                             p_terminations text default '', p_tasks int default 0,
                             p_event text default 'sent', p_below boolean default false)
returns text language plpgsql as $$
declare
  v_batch jsonb := jsonb_build_object(
    'key', array[p_key]::text, 'token', array[t.token(p_worker)]::text, 'turn', array[p_turn]::text,
    'generation', '{0}', 'history', '{1}', 'first_event', '{0}', 'event_count', '{1}',
    'flags', array[(p_ends is not null)::int + 2 * p_releases::int + 4 * p_next::int]::text,
    'consumed_item', array_fill(1, array[coalesce(cardinality(t.list(p_consumed)), 0)])::text,
    'consumed_seq', coalesce(t.list(p_consumed), '{}')::text);
  v_message jsonb := jsonb_build_object('item', 1, 'type', 17, 'event', 2);
begin
  if p_ends is not null then
    v_batch := v_batch || jsonb_build_object('updates', jsonb_build_array(jsonb_build_object(
      'item', 1, 'status', p_ends, 'custom_status_kind', 0, 'trace_kind', 0)));
  end if;
  if p_next then
    v_batch := v_batch || jsonb_build_object(
      'generations', jsonb_build_array(jsonb_build_object('item', 1, 'execution_id', 'next')),
      'own', jsonb_build_array(v_message || '{"type": 3, "event": 3, "generation": 1}'));
  end if;
  if p_messages <> '' then
    v_batch := v_batch || jsonb_build_object('messages', (
      select jsonb_agg(v_message || jsonb_build_object('id', i.id))
      from unnest(t.list(p_messages)) i(id)));
  end if;
  if p_parent is not null then
    v_batch := v_batch || jsonb_build_object('parents', jsonb_build_array(
      v_message || jsonb_build_object('key', p_parent, 'parent_generation', 0, 'generation', 0,
                                      'type', 10, 'event', 4)));
  end if;
  if p_children <> '' then
    v_batch := v_batch || jsonb_build_object('children', (
      select jsonb_agg(jsonb_build_object(
               'item', 1, 'id', i.id, 'execution_id', 'child of ' || p_key, 'name', 'Work',
               'type', 3, 'event', 3,
               'replaceable', 58, 'parent_key', p_key, 'parent_generation', 0, 'parent_task_id', 1,
               'conflict', '{"generation": 0, "type": 11, "event": 5}'::jsonb) order by i.ord)
      from unnest(t.list(p_children)) with ordinality i(id, ord)));
  end if;
  if p_terminations <> '' then
    v_batch := v_batch || jsonb_build_object('terminations', (
      select jsonb_agg(v_message || jsonb_build_object('id', i.id, 'type', 5, 'event', 6,
                                                       'reason', 6))
      from unnest(t.list(p_terminations)) i(id)));
  end if;
  if p_below then
    v_batch := v_batch || jsonb_build_object('subtrees', jsonb_build_array(
      v_message || jsonb_build_object('key', p_key, 'parent_generation', 0, 'type', 5, 'event', 7,
                                      'reason', 6)));
  end if;
  if p_tasks > 0 then
    v_batch := v_batch || jsonb_build_object(
      'task_item', array_fill(1, array[p_tasks])::text,
      'task_id', array(select generate_series(1, p_tasks))::text,
      'task_version', array_fill(null::int, array[p_tasks])::text,
      'task_request', array_fill(null::int, array[p_tasks])::text,
      'task_token', array_fill(null::bigint, array[p_tasks])::text,
      'task_name', (select jsonb_agg('Act'::text) from generate_series(1, p_tasks)));
  end if;
  return (
    select string_agg(case c.part
        when 0 then (array['committed', 'already', 'lease lost', 'gone'])[c.outcome + 1]
        when 2 then 'message ' || t.delivery(c.outcome)
        when 3 then 'parent ' || t.delivery(c.outcome)
        when 4 then 'termination ' || coalesce(t.delivery(c.outcome), 'notice')
        when 5 then 'child ' || (array['created', 'replaced', 'already', 'conflict'])[c.outcome + 1]
      end, ', ' order by c.part, c.number)
    from dt._CheckpointOrchestration(1, v_batch, array[
      'turn ' || p_turn, p_event, 'started', 'child result', 'child conflict', 'terminate']::bytea[]
      || dt.__HistoryEvent('2024-01-01 00:00:00+00', 5, dt.__PbNumber(2, 1))) c);
end $$;

create function t.abandon(p_key bigint, p_worker bigint, p_delay interval default '0')
returns text language sql as $$
  select (array['released', 'lease lost'])[a.outcome + 1]
  from dt._AbandonOrchestrations(1, jsonb_build_object('items', jsonb_build_array(
    jsonb_build_object('key', p_key, 'token', t.token(p_worker),
                       'delay', (extract(epoch from p_delay) * 1000000)::bigint))), null) a
$$;

create function t.discard(p_key bigint, p_worker bigint, p_seqs text) returns text
language sql as $$
  select (array['discarded', 'lease lost'])[a.outcome + 1]
  from dt._DiscardEventsAndUnlockInstance(1, jsonb_build_object('items', jsonb_build_array(
    jsonb_build_object('key', p_key, 'token', t.token(p_worker),
                       'seqs', to_jsonb(t.list(p_seqs)::bigint[]), 'release', true))), null) a
$$;

-- read_new: what a worker's daemon reads of the inboxes that others wrote to, or of all of its
-- inboxes.
create function t.read_new(p_worker bigint, p_all boolean default false) returns text
language sql as $$
  select coalesce(string_agg(i.instance_id || ': ' || convert_from(m.event, 'UTF8'), ', '
                             order by m.key, m.visible_at, m.seq), 'nothing')
  from dt._ReadNewMessages(1, jsonb_build_object('worker', p_worker, 'max_messages', 10,
                                                 'max_bytes', 1000000)
                              || case when p_all then '{"all": true}'::jsonb else '{}' end, null) m
  join dt.Instances i on i.instance_key = m.key
$$;

create function t.claim_tasks(p_worker bigint, p_max int default 10) returns text language sql as $$
  select coalesce(string_agg(k.instance_id || ' ' || k.task_id, ', ' order by k.key), 'nothing')
  from dt._LockNextTask(1, jsonb_build_object('token', t.token(p_worker),
    'groups', jsonb_build_array(jsonb_build_object('max', p_max))), null) k
  where k.key is not null
$$;

-- complete: results of tasks, by the keys of the tasks, in one call and in this order.
create function t.complete(p_worker bigint, p_tasks text) returns text language plpgsql as $$
declare
  v_tasks bigint[] := t.list(p_tasks);
  v_keys bigint[];
  v_same int := cardinality(v_tasks);
begin
  -- What a daemon knows from its claim.
  select array_agg((select n.instance_key from dt.NewTasks n where n.task_key = c.task)
                   order by c.ord)
    into v_keys from unnest(v_tasks) with ordinality c(task, ord);
  return (
    select string_agg(v_tasks[c.item] || ': ' ||
                      (array['ok', 'lease lost', 'instance gone'])[c.outcome + 1], ', '
                      order by c.item)
    from dt._CompleteTasks(1, jsonb_build_object(
      'worker', p_worker, 'task', v_tasks::text, 'key', v_keys::text,
      'token', array_fill(t.token(p_worker), array[v_same])::text,
      'generation', array_fill(0, array[v_same])::text,
      'message_generation', array_fill(0, array[v_same])::text,
      'at', array_fill(0, array[v_same])::text, 'type', array_fill(7, array[v_same])::text,
      'event', array_fill(1, array[v_same])::text), array['task result'::bytea]) c);
end $$;

create function t.abandon_tasks(p_worker bigint, p_tasks text) returns text language sql as $$
  select string_agg((t.list(p_tasks))[a.item] || ': '
                    || (array['released', 'lease lost'])[a.outcome + 1], ', ' order by a.item)
  from dt._AbandonTasks(1, jsonb_build_object('items', (
    select jsonb_agg(jsonb_build_object('key', n.instance_key, 'task', n.task_key,
                                        'token', t.token(p_worker), 'delay', 0) order by c.ord)
    from unnest(t.list(p_tasks)::bigint[]) with ordinality c(task, ord)
    join dt.NewTasks n on n.task_key = c.task)), null) a
$$;

create function t.purge(p_ids text, p_recursive boolean default false, p_rows int default 100)
returns text language sql as $$
  select p.deleted || ' purged' || case when p.more then ', more' else '' end
  from dt._PurgeInstances(1, jsonb_strip_nulls(jsonb_build_object(
    'ids', to_jsonb(t.list(p_ids)), 'recursive', case when p_recursive then true end,
    'rows', p_rows)), null) p
$$;

-- purge_all: by a filter that all ended instances match.
create function t.purge_all(p_recursive boolean default false, p_rows int default 100)
returns text language sql as $$
  select p.deleted || ' purged' || case when p.more then ', more' else '' end
  from dt._PurgeInstances(1, jsonb_strip_nulls(jsonb_build_object(
    'recursive', case when p_recursive then true end, 'rows', p_rows)), null) p
$$;

-- retain: a batch of retention by a worker; whatever has ended goes at once.
create function t.retain(p_worker bigint) returns text language sql as $$
  select string_agg(case when r.hub is not null then r.purged || ' purged'
                         when r.leads then 'leads' else 'does not lead' end, ', ')
  from dt._ApplyRetention(0, jsonb_build_object(
    'worker', p_worker, 'keep', '{"1": 0, "3": 0, "5": 0}'::jsonb, 'rows', 100, 'pause', 0,
    'grace', 0), null) r
$$;

-- clean: a batch of what deleted hubs held, by a worker.
create function t.clean(p_worker bigint, p_rows int default 100) returns text language sql as $$
  select case when c.hub is null then 'nothing to clean'
              else c.removed || ' removed' || case when c.ended then ', ended' else '' end
                   || case when c.more then ', more' else '' end end
  from dt._CleanHubs(0, jsonb_build_object('worker', p_worker, 'rows', p_rows, 'pause', 0), null) c
$$;

-- history: what a client reads of the history of an instance.
create function t.history(p_id text) returns table (execution text, turn bigint, events text)
language sql as $$
  select h.execution_id, h.turn, convert_from(h.events, 'UTF8')
  from dt._ReadHistory(1, jsonb_build_object('items', jsonb_build_array(jsonb_build_object(
    'id', p_id, 'after_turn', 0, 'max_bytes', 1000000))), null) h
$$;

create function t.sweep() returns text language sql as $$
  select dt._SweepExpired('{}') || ' freed'
$$;

-- rewind: of a FAILED instance as t.ended made it. What was found: tasks by id, children by key.
create function t.rewind(p_key bigint, p_execution text default 'rewound', p_tasks text default '',
                         p_live_children text default '', p_recreated text default '')
returns text language plpgsql as $$
declare
  v_batch jsonb := jsonb_build_object(
    'key', array[p_key]::text, 'token', '{1}', 'turn', '{2}', 'generation', '{0}', 'flags', '{2}',
    'history', '{1}', 'first_event', '{1}', 'event_count', '{1}', 'consumed_item', '{}',
    'consumed_seq', '{}', 'chunks', '[]'::jsonb,
    'updates', '[{"item": 1, "status": 0, "custom_status_kind": 0, "trace_kind": 0}]'::jsonb,
    'own', '[{"item": 1, "type": 13, "event": 2, "generation": 0}]'::jsonb,
    'rewinds', jsonb_build_array(jsonb_build_object(
      'key', p_key, 'found_execution_id', 'first', 'execution_id', p_execution,
      'found_tasks', coalesce(to_jsonb(t.list(p_tasks)::int[]), '[]'))),
    'found_children', coalesce((
      select jsonb_agg(jsonb_build_object('key', c.key, 'status', 0))
      from unnest(t.list(p_live_children)::bigint[]) c(key)), '[]'));
begin
  if p_recreated <> '' then
    v_batch := v_batch || jsonb_build_object('children', (
      select jsonb_agg(jsonb_build_object(
               'item', 1, 'id', i.id, 'execution_id', 'child of ' || p_key, 'name', 'Work',
               'type', 3, 'event', 3,
               'replaceable', 58, 'parent_key', p_key, 'parent_generation', 0, 'parent_task_id', 1,
               'conflict', '{"generation": 0, "type": 11, "event": 4}'::jsonb) order by i.ord)
      from unnest(t.list(p_recreated)) with ordinality i(id, ord)));
  end if;
  return (
    select (array['rewound', 'not as it was found'])[r.outcome + 1]
    from dt._RewindInstances(1, v_batch, array[
      'rewound', 'goes on', 'started', 'child conflict']::bytea[]) r);
end $$;

-- ---- What the end is: of every instance, and what must not be.

-- faults: what breaks an invariant of the model (sql/RULES.md 5 and 7).
create view t.faults as
select 'no hot row, but live' as fault, i.instance_id as what
from dt.Instances i left join dt.ReadyInstances r using (instance_key)
where i.completed_time is null and r.instance_key is null
union all
select 'hot row, but ended', i.instance_id
from dt.Instances i join dt.ReadyInstances r using (instance_key) where i.completed_time is not null
union all
select 'message of an ended instance', i.instance_id
from dt.NewEvents e join dt.Instances i using (instance_key) where i.completed_time is not null
union all
select 'next_due is wrong', i.instance_id
from dt.ReadyInstances r join dt.Instances i using (instance_key)
cross join lateral (select min(e.visible_at) as due from dt.NewEvents e
                    where e.instance_key = r.instance_key) m
where r.lease_token is null
  -- One that is held until some message comes has infinity there (__EndsHold).
  and r.next_due is distinct from
    case when m.due is not null and r.not_before is distinct from 'infinity'
         then greatest(m.due, r.not_before) end
union all
select 'row without instance', o.what
from (select 'ReadyInstances' as what, instance_key from dt.ReadyInstances
      union all select 'NewEvents', instance_key from dt.NewEvents
      union all select 'NewTasks', instance_key from dt.NewTasks
      union all select 'History', instance_key from dt.History
      union all select 'Payloads', instance_key from dt.Payloads
      union all select 'EntityLockRequests', instance_key from dt.EntityLockRequests
      union all select 'Entities', instance_key from dt.Entities) o
left join dt.Instances i using (instance_key) where i.instance_key is null
union all
select 'without hub', o.what
from (select i.instance_id as what, i.hub_id from dt.Instances i
      union all select 'a walk of retention', w.hub_id from dt.RetentionWalks w) o
left join dt.TaskHubs h using (hub_id) left join dt.HubDeletions d using (hub_id)
where h.hub_id is null and d.hub_id is null
union all
select 'lock request without message', i.instance_id
from dt.EntityLockRequests q join dt.Instances i using (instance_key)
left join dt.NewEvents e on e.instance_key = q.instance_key and e.seq = q.seq and e.event_type = 27
where e.seq is null
union all
select 'message without lock request', i.instance_id
from dt.NewEvents e join dt.Instances i using (instance_key)
left join dt.EntityLockRequests q on q.instance_key = e.instance_key and q.seq = e.seq
where e.event_type = 27 and q.seq is null
union all
select 'part of a lock request', q.critical_section
from dt.EntityLockRequests q
group by q.owner_key, q.critical_section, q.members having count(*) <> q.members
union all
select 'part of a lock', e.critical_section
from dt.Entities e join dt.EntityLockRequests q
  on q.owner_key = e.locked_by_key and q.critical_section = e.critical_section
union all
select 'lock request of one that has ended', q.critical_section
from dt.EntityLockRequests q
left join dt.ReadyInstances r on r.instance_key = q.owner_key and r.generation = q.owner_generation
where r.instance_key is null
union all
select 'locked for ever', i.instance_id
from dt.Entities e join dt.Instances i using (instance_key)
left join dt.ReadyInstances r
  on r.instance_key = e.locked_by_key and r.generation = e.locked_by_generation
where e.locked_by_key is not null and r.instance_key is null
  and not exists (select from dt.NewEvents n
                  where n.instance_key = e.instance_key and n.event_type = 29)
union all
select 'nothing is left of it', i.instance_id
from dt.Entities e join dt.Instances i using (instance_key)
where e.state is null and e.locked_by_key is null
  and not exists (select from dt.NewEvents n where n.instance_key = e.instance_key)
union all
select 'policy without hub', p.hub_id::text
from dt.RetentionPolicies p left join dt.TaskHubs h using (hub_id) where h.hub_id is null;

create function t.outcome()
returns table (instance text, execution text, status text, lease text, due text, inbox text,
               tasks text, turns int)
language plpgsql as $$
begin
  return query
    select i.instance_id, i.execution_id, dt.__StatusName(i.stored_status),
           case when r.instance_key is null then '-' when r.lease_token is null then 'free'
                else 'worker ' || (r.lease_token >> 40)
                     || case when r.owner_wake is not null then ', to read' else '' end end,
           case when r.lease_token is not null or r.instance_key is null then '-'
                when r.next_due is null then 'never'
                when r.next_due > clock_timestamp() then 'later' else 'now' end,
           -- What SQL itself writes is not text.
           coalesce((select string_agg(case when get_byte(e.event, 0) <> 8
                                            then convert_from(e.event, 'UTF8')
                                            when e.event_type = 11 then 'child failed'
                                            when e.event_type = 5 then 'terminated'
                                            else '?' end, ', '
                                       order by e.visible_at, e.seq)
                     from dt.NewEvents e where e.instance_key = i.instance_key), '-'),
           coalesce((select string_agg(n.task_id || case when n.lease_token is null then ' free'
                                            else ' worker ' || (n.lease_token >> 40) end, ', '
                                       order by n.task_key)
                     from dt.NewTasks n where n.instance_key = i.instance_key), '-'),
           (select count(*)::int from dt.History h where h.instance_key = i.instance_key)
    from dt.Instances i
    left join dt.ReadyInstances r using (instance_key)
    order by i.instance_id;
  return query
    select 'FAULT'::text, f.what, f.fault, null, null, null, null, null::int from t.faults f
    order by f.fault, f.what;
end $$;
