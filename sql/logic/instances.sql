-- Instances: created, replaced, and messages from clients. Lock order:
-- README.md. Outcomes are numbers of storage/records.h.

-- __DeleteInstances: removes whole instances (to be replaced, purged, or with their hub). Caller
-- holds their hot rows and rows of Instances, and has released the entities that live ones held
-- (__ReleaseEntities). Tasks that a worker runs right now go as well: their completion then finds
-- no task.
create or replace function __DeleteInstances(p_keys bigint[]) returns void
language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  delete from ReadyInstances r where r.instance_key = any (p_keys);
  -- Ended instances have no hot row that keeps late results of their tasks away.
  perform 1 from NewTasks t where t.instance_key = any (p_keys)
    order by t.instance_key, t.task_key for update;
  delete from NewTasks t where t.instance_key = any (p_keys);
  delete from NewEvents e where e.instance_key = any (p_keys);
  delete from History h where h.instance_key = any (p_keys);
  delete from Payloads p where p.instance_key = any (p_keys);
  delete from EntityLockRequests q where q.instance_key = any (p_keys);
  delete from Entities e where e.instance_key = any (p_keys);
  delete from Instances i where i.instance_key = any (p_keys);
end $$;

-- __StatusNow: the status of an instance as everybody sees it, from what its row says and the last
-- turn of its hot row (null = it has none). The row of an instance that was never anything but
-- Pending and Running says Pending until it ends: its first turn makes it Running, and writes the
-- hot row only.
create or replace function __StatusNow(p_status smallint, p_turn bigint) returns smallint
language sql immutable parallel safe
return case when p_status = 6 and p_turn > 0 then 0::smallint else p_status end;

-- __FindInstances: the keys of the instances with these ids, in their order; null = there is none.
-- All look for ids here: one probe of the unique index for each, whatever the planner knows of the
-- table. A join by hub and id may be planned, while the table is small or was analysed empty, to
-- read all of the hub by one of the other indexes that begin with it, and the plan stays when the
-- table has grown. In a deleted hub there is none, though its rows may still lie there.
--   p_items  ids, or objects with a member id
-- Stable: sees what the statement that calls it sees.
create or replace function __FindInstances(p_hub int, p_items jsonb) returns bigint[]
language plpgsql stable set search_path from current set enable_seqscan = off
set enable_sort = off set enable_incremental_sort = off as $$
begin
  p_hub := __LiveHub(p_hub);
  return array(
    select (select case when n.hub_id = p_hub and n.instance_id = c.id then n.instance_key end
            from (select i.hub_id, i.instance_id, i.instance_key from Instances i
                  where (i.hub_id, i.instance_id) >= (p_hub, c.id)
                  order by i.hub_id, i.instance_id limit 1) n)
    from (select coalesce(e.item ->> 'id', e.item #>> '{}') as id
          from jsonb_array_elements(p_items) e(item)) c);
end $$;

-- __TellParents: for each of these live instances (which are about to end or to be replaced) that
-- has a parent waiting for it, puts SubOrchestrationInstanceFailed into the parent's inbox. Returns
-- what was added. A parent that is leased is always woken, whoever holds it, because not every
-- caller hands the notice on. Caller holds the hot rows of the instances and of their parents,
-- p_locked.
create or replace function __TellParents(p_keys bigint[], p_error_type text, p_messages bytea[],
                                         p_now timestamptz, p_locked bigint[])
returns table (child_key bigint, key bigint, token bigint, seq bigint, at timestamptz, event bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_row record;
begin
  for v_row in
    select i.instance_key, i.parent_key, i.parent_generation, i.parent_task_id, r.lease_token,
           c.message
    from unnest(p_keys, p_messages) c(key, message)
    join Instances i on i.instance_key = any (array[c.key])
    join ReadyInstances r on r.instance_key = any (array[i.parent_key])
      and r.generation = i.parent_generation
    where i.parent_task_id is not null and i.parent_key <> all (p_keys)
    order by i.parent_key, i.instance_key
  loop
    if v_row.parent_key <> all (p_locked) then
      perform __RepeatCall(v_row.parent_key);
    end if;
    child_key := v_row.instance_key;
    key := v_row.parent_key;
    token := v_row.lease_token;
    at := p_now;
    event := __ChildFailedEvent(p_now, v_row.parent_task_id, p_error_type, v_row.message);
    insert into NewEvents (instance_key, visible_at, generation, event_type, event)
      values (key, p_now, v_row.parent_generation, 11, event)
      returning NewEvents.seq into seq;
    perform __WakeInstances(array[key], array[p_now], null);
    return next;
  end loop;
end $$;

-- __LockInstances: locks the hot rows of instances, of their parents and of the entities that they
-- hold locked or wait for, in one order, and returns the keys of those that it locked. Parents are
-- always created before their children, so their keys are lower.
create or replace function __LockInstances(p_keys bigint[]) returns bigint[]
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_all bigint[];
  v_locked bigint[];
begin
  select array_agg(k.key) into v_all
  from (select unnest(p_keys) as key
        union
        select i.parent_key from Instances i
        where i.instance_key = any (p_keys) and i.parent_key is not null
        union
        select unnest(__EntitiesOf(p_keys))) k;
  select array_agg(l.instance_key) into v_locked
  from (select r.instance_key from ReadyInstances r where r.instance_key = any (v_all)
        order by r.instance_key for no key update) l;
  return coalesce(v_locked, '{}');
end $$;

-- __RepeatCall: an instance came to life (it was created, took the id of another or was rewound)
-- after a call had locked its hot rows. Nothing may be decided about it without its lock: a message
-- could get lost between an inbox and a lease that is just given up. To lock it now could be out of
-- order, so the whole call is repeated.
create or replace function __RepeatCall(p_key bigint) returns void
language plpgsql set search_path from current as $$
begin
  raise exception 'instance % came to life while others were locked', p_key using errcode = '40001';
end $$;

-- __InsertInstances: creates instances of distinct ids, each with its hot row and its first
-- message; those whose id is in use are answered "already" (same execution id), "exists" or
-- replaced. One row per item.
--   p_items [{id, execution_id, name, version, input, tags, start, parent_key, parent_generation,
--            parent_task_id, parent_instance_id, trace_context, at, type, event, replaceable,
--            token, input_payload, payloads}]
--           version, input, trace_context, event are positions in p_bytes; replaceable is a
--           StatusSet; payloads: see __StoreEntryPayloads; input_payload: the id of one, in place
--           of input
--   p_locked  the hot rows that the caller holds, of instances with these ids and of their parents;
--             null: they are locked here
-- Locks: hot rows of the instances found and of their parents; their rows of Instances; the inserts
-- come last. Loses a race for an id: 40001, and the whole call is repeated. But where every id was
-- taken meanwhile, nothing is locked or written yet (unless the caller has): the ids are looked up
-- anew.
-- Repeat: by execution id.
create or replace function __InsertInstances(p_hub int, p_items jsonb, p_bytes bytea[],
                                             p_now timestamptz, p_locked bigint[])
returns table (item int, outcome smallint, status smallint, key bigint, seq bigint,
               at timestamptz, notice_item int, notice_key bigint, notice_token bigint,
               notice_event bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_bytes bytea[] := p_bytes;
  v_count int := jsonb_array_length(p_items);
  v_found bigint[] := array_remove(__FindInstances(p_hub, p_items), null);
  v_skip int[] := '{}';
  v_replaced int[] := '{}';
  v_keys bigint[];
begin
  if v_found <> '{}' then
    for item, outcome, status, key, seq, at, notice_item, notice_key, notice_token, notice_event in
      select * from __SettleExisting(p_hub, p_items, p_now, v_found, p_locked)
    loop
      if outcome = 1 then  -- answered below, when the new one is there
        v_replaced := v_replaced || item;
        continue;
      elsif item is not null then
        v_skip := v_skip || item;
      end if;
      return next;
    end loop;
    if cardinality(v_skip) = v_count then
      return;
    end if;
  end if;

  with inserted as (
    insert into Instances (hub_id, instance_id, execution_id, name, version, created_time,
                           last_updated_time, stored_status, scheduled_start, parent_key,
                           parent_generation, parent_task_id, parent_instance_id, trace_context,
                           tags, input, input_payload)
    select p_hub, c.id, c.execution_id, c.name, v_bytes[c.version], p_now, p_now, 6,
           __Time(c.start), c.parent_key, c.parent_generation, c.parent_task_id,
           c.parent_instance_id, v_bytes[c.trace_context], c.tags, v_bytes[c.input],
           c.input_payload
    from rows from (jsonb_to_recordset(p_items)
        as (id text, execution_id text, name text, version int, input int, tags jsonb,
            start bigint, parent_key bigint, parent_generation int, parent_task_id int,
            parent_instance_id text, trace_context int, input_payload uuid))
      with ordinality c(id, execution_id, name, version, input, tags, start, parent_key,
                        parent_generation, parent_task_id, parent_instance_id, trace_context,
                        input_payload, ord)
    where c.ord <> all (v_skip)
    order by c.id
    on conflict (hub_id, instance_id) do nothing
    returning instance_key)
  select array_agg(n.instance_key) into v_keys from inserted n;
  if v_keys is null and v_found = '{}' and p_locked is null then
    return query select * from __InsertInstances(p_hub, p_items, p_bytes, p_now, null);
    return;
  elsif coalesce(cardinality(v_keys), 0) <> v_count - cardinality(v_skip) then
    raise exception 'an instance id was taken while it was created' using errcode = '40001';
  end if;
  return query
    select n.item, (case when n.item = any (v_replaced) then 1 else 0 end)::smallint,
           null::smallint, n.key, n.seq, p_now, null::int, null::bigint, null::bigint, null::bytea
    from __InsertHotRows(p_hub, p_items, p_bytes, p_now, v_keys, v_skip) n;
end $$;

-- __SettleExisting: the part of __InsertInstances for ids that are in use: locks the instances
-- p_found, deletes those that are replaced, and tells their parents. Rows as __InsertInstances;
-- those with outcome 1 are the items whose instance is yet to be created.
create or replace function __SettleExisting(p_hub int, p_items jsonb, p_now timestamptz,
                                            p_found bigint[], p_locked bigint[])
returns table (item int, outcome smallint, status smallint, key bigint, seq bigint,
               at timestamptz, notice_item int, notice_key bigint, notice_token bigint,
               notice_event bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_locked bigint[] := coalesce(p_locked, __LockInstances(p_found));
  v_unlocked bigint;
  v_skip int[];
  v_replaced_items int[];
  v_replaced bigint[];
  v_live bigint[];
begin
  perform 1 from Instances i where i.instance_key = any (p_found)
    order by i.instance_key for update;
  -- Decided under the locks, by a new statement, which may see instances that are not locked.
  select array_agg(d.ord) filter (where not d.replace),
         array_agg(d.ord) filter (where d.replace),
         array_agg(d.instance_key) filter (where d.replace),
         array_agg(d.instance_key) filter (where d.replace and d.stored_status in (0, 6, 7)),
         max(d.instance_key) filter (
           where d.replace and (d.instance_key <> all (p_found)
             or (d.stored_status in (0, 6, 7) and d.instance_key <> all (v_locked))))
    into v_skip, v_replaced_items, v_replaced, v_live, v_unlocked
  from (select c.ord, i.instance_key, i.stored_status,
               i.execution_id is distinct from c.execution_id
                 and (c.replaceable >> __StatusNow(i.stored_status, r.turn)) & 1 = 1 as replace
        from rows from (jsonb_to_recordset(p_items) as (execution_id text, replaceable int),
                        unnest(__FindInstances(p_hub, p_items)))
          with ordinality c(execution_id, replaceable, key, ord)
        join Instances i on i.instance_key = any (array[c.key])
        left join ReadyInstances r on r.instance_key = any (array[c.key])) d;
  if v_unlocked is not null then
    perform __RepeatCall(v_unlocked);
  end if;
  return query
    select c.ord::int, (case when i.execution_id = c.execution_id then 2 else 3 end)::smallint,
           __StatusNow(i.stored_status, r.turn), i.instance_key, null::bigint, i.created_time,
           null::int, null::bigint, null::bigint, null::bytea
    from rows from (jsonb_to_recordset(p_items) as (execution_id text),
                    unnest(__FindInstances(p_hub, p_items)))
      with ordinality c(execution_id, key, ord)
    join Instances i on i.instance_key = any (array[c.key])
    left join ReadyInstances r on r.instance_key = any (array[c.key])
    where c.ord = any (v_skip);
  if v_live is not null then
    return query
      select null::int, null::smallint, null::smallint, t.child_key, t.seq, t.at,
             v_replaced_items[array_position(v_replaced, t.child_key)], t.key, t.token, t.event
      from __TellParents(v_live, 'OrchestrationReplaced',
                         array_fill('The orchestration was replaced by a new one with the same id'
                                    ::bytea, array[cardinality(v_live)]), p_now, v_locked) t;
  end if;
  if v_replaced is not null then
    if v_live is not null then
      perform __ReleaseEntities(v_live, p_now);
    end if;
    perform __DeleteInstances(v_replaced);
    return query
      select r.item, 1::smallint, null::smallint, null::bigint, null::bigint, null::timestamptz,
             null::int, null::bigint, null::bigint, null::bytea
      from unnest(v_replaced_items) r(item);
  end if;
end $$;

-- __InsertHotRows: the hot row, the payloads and the first message of each new instance. p_keys:
-- their keys, in the order of the ids of the items, of which those in p_skip have none.
create or replace function __InsertHotRows(p_hub int, p_items jsonb, p_bytes bytea[],
                                           p_now timestamptz, p_keys bigint[], p_skip int[])
returns table (item int, key bigint, seq bigint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_bytes bytea[] := p_bytes;
  v_seqs bigint[];
  v_ords int[];
  v_at timestamptz[];
  v_start timestamptz[];
  v_tokens bigint[];
  v_types smallint[];
  v_events int[];
  v_names text[];
  v_versions int[];
begin
  -- v_ords: the items in the order of the inserted rows.
  select array_agg(n.ord order by n.id) filter (where n.ord <> all (p_skip)),
         array_agg(greatest(p_now, __Time(n.at)) order by n.ord),
         array_agg(__Time(n.start) order by n.ord), array_agg(n.token order by n.ord),
         array_agg(n.type order by n.ord), array_agg(n.event order by n.ord),
         array_agg(n.name order by n.ord), array_agg(n.version order by n.ord)
    into v_ords, v_at, v_start, v_tokens, v_types, v_events, v_names, v_versions
  from rows from (jsonb_to_recordset(p_items)
      as (id text, at bigint, start bigint, token bigint, type smallint, event int, name text,
          version int))
    with ordinality n(id, at, start, token, type, event, name, version, ord);

  insert into ReadyInstances (instance_key, hub_id, lease_token, next_due, not_before, lower_name,
                              version)
    select n.key, p_hub, v_tokens[n.ord],
           case when v_tokens[n.ord] is null then greatest(v_at[n.ord], v_start[n.ord]) end,
           v_start[n.ord], lower(v_names[n.ord] collate "C"),
           coalesce(v_bytes[v_versions[n.ord]], '')
    from unnest(p_keys, v_ords) n(key, ord);
  if jsonb_path_exists(p_items, '$[*].payloads') then
    perform __StoreEntryPayloads((select array_agg(n.key order by c.ord)
                                  from generate_series(1, jsonb_array_length(p_items)) c(ord)
                                  left join unnest(p_keys, v_ords) n(key, ord) on n.ord = c.ord),
                                 p_items, p_bytes);
  end if;
  with inserted as (
    insert into NewEvents (instance_key, visible_at, generation, event_type, event)
    select n.key, v_at[n.ord], 0, v_types[n.ord], v_bytes[v_events[n.ord]]
    from unnest(p_keys, v_ords) n(key, ord)
    returning seq)
  select array_agg(n.seq) into v_seqs from inserted n;
  return query select n.ord, n.key, n.seq from unnest(p_keys, v_ords, v_seqs) n(key, ord, seq);
end $$;

-- _CreateInstances: the daemon's form of CreateInstance, for new orchestrations of clients. One row
-- per item (see __InsertInstances); a row without item is the notice of a replaced child to its
-- parent: "notice_item" replaced it, "seq" and "at" are those of the message.
--   p_batch {items}; the ids of a batch are distinct
-- Outcome 4: the hub was deleted. Locks: the hubs, shared (__LockHubs); then as __InsertInstances.
create or replace function _CreateInstances(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, outcome smallint, status smallint, key bigint, seq bigint,
               at timestamptz, notice_item int, notice_key bigint, notice_token bigint,
               notice_event bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  perform __LockHubs(p_alone => false);
  if not exists (select from TaskHubs h where h.hub_id = p_hub) then
    return query
      select n, 4::smallint, null::smallint, null::bigint, null::bigint, null::timestamptz,
             null::int, null::bigint, null::bigint, null::bytea
      from generate_series(1, jsonb_array_length(p_batch -> 'items')) n;
    return;
  end if;
  return query
    select * from __InsertInstances(p_hub, p_batch -> 'items', p_bytes, _Now(), null);
end $$;

-- _AddOrchestrationEvents: messages of clients. One row per item: outcome 0 ok, 1 not found, 2
-- ended, 3 the same request waits already.
--   p_batch {worker, items: [{id, generation, at, type, event, request_id}], entity_ids: the
--            distinct ids of entities among them}
-- Locks: the hubs, shared, if an entity is created; hot rows by key. Repeat: adds the message again
-- (at least once), but for one with a request id that still waits.
create or replace function _AddOrchestrationEvents(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, outcome smallint, key bigint, token bigint, seq bigint, at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_locked bigint[];
begin
  if p_batch ? 'entity_ids' then
    perform __CreateEntities(p_hub, p_batch -> 'entity_ids');
  end if;
  v_locked := __LockInstances(__FindInstances(p_hub, p_batch -> 'items'));
  return query select * from __Deliver(p_hub, p_batch -> 'items', p_bytes, v_now,
                                       (p_batch ->> 'worker')::bigint, v_locked);
end $$;

-- __Deliver: puts addressed messages into the inboxes of live instances. One row per item: outcome
-- 0 ok, 1 not found, 2 ended or another generation, 3 the same request waits already, 6 ok, but the
-- caller itself holds the instance and has not been given earlier messages of others. An entity
-- that is not found was removed since the caller created it: 40001, and the whole call is repeated.
-- Caller holds the hot rows' locks, p_locked.
--   p_items [{id, generation, at, type, event, payloads, execution, front, request_id}], or with
--           "key" in place of "id"
--           payloads: see __StoreEntryPayloads; execution: for the generation with this execution
--           id alone; front: visible from -infinity; request_id: see __RepeatedRequests
-- Over 70 lines: a call more would cost a message that comes alone 3 % (README.md, "Names of
-- functions").
create or replace function __Deliver(p_hub int, p_items jsonb, p_bytes bytea[], p_now timestamptz,
                                     p_worker bigint, p_locked bigint[])
returns table (item int, outcome smallint, key bigint, token bigint, seq bigint, at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_bytes bytea[] := p_bytes;
  v_found bigint[] := case when not p_items -> 0 ? 'key' then __FindInstances(p_hub, p_items) end;
  v_outcomes smallint[];
  v_keys bigint[];
  v_tokens bigint[];
  v_at timestamptz[];
  v_generations int[];
  v_live int[];
  v_unlocked bigint;
  v_repeated int[];
  v_seqs bigint[];
begin
  select array_agg((case when k.key is null then 1 when r.instance_key is null then 2
                         when r.owner_wake is not null and r.lease_token >> 40 = p_worker then 6
                         else 0 end)::smallint order by c.ord),
         array_agg(k.key order by c.ord), array_agg(r.lease_token order by c.ord),
         array_agg(case when c.front then '-infinity' else greatest(p_now, __Time(c.at)) end
                   order by c.ord),
         array_agg(case when c.execution is not null then r.generation end order by c.ord),
         array_agg(c.ord order by c.ord) filter (where r.instance_key is not null),
         max(coalesce(r.instance_key, 0)) filter (
           where (r.instance_key is not null and r.instance_key <> all (p_locked))
              or (r.instance_key is null and c.id like '@%' and __LiveHub(p_hub) is not null))
    into v_outcomes, v_keys, v_tokens, v_at, v_generations, v_live, v_unlocked
  from rows from (jsonb_to_recordset(p_items)
                    as (key bigint, at bigint, parent_generation int, id text, execution text,
                        front boolean))
    with ordinality c(key, at, parent_generation, id, execution, front, ord)
  cross join lateral (select coalesce(c.key, v_found[c.ord]) as key) k
  left join ReadyInstances r on r.instance_key = any (array[k.key])
    and (c.parent_generation is null or r.generation = c.parent_generation)
    and (c.execution is null
         or c.execution = (select i.execution_id from Instances i
                           where i.instance_key = any (array[k.key])));
  if v_unlocked is not null then
    perform __RepeatCall(v_unlocked);
  end if;
  if v_live is not null and jsonb_path_exists(p_items, '$[*].request_id') then
    v_repeated := __RepeatedRequests(p_items, v_keys);
    v_live := nullif(array(select l.ord from unnest(v_live) l(ord)
                           where l.ord <> all (v_repeated)), '{}');
    v_outcomes := array(select case when o.ord = any (v_repeated) then 3 else o.outcome end
                        from unnest(v_outcomes) with ordinality o(outcome, ord) order by o.ord);
  end if;
  if v_live is not null then
    if jsonb_path_exists(p_items, '$[*].payloads') then
      perform __StoreEntryPayloads((select array_agg(case when o.outcome in (0, 6)
                                                          then v_keys[o.ord] end order by o.ord)
                                    from unnest(v_outcomes) with ordinality o(outcome, ord)),
                                   p_items, p_bytes);
    end if;
    with inserted as (
      insert into NewEvents (instance_key, visible_at, generation, event_type, event, request_id)
      select v_keys[c.ord], v_at[c.ord], coalesce(v_generations[c.ord], c.generation), c.type,
             v_bytes[c.event], c.request_id
      from rows from (jsonb_to_recordset(p_items)
                        as (generation int, type smallint, event int, request_id uuid))
        with ordinality c(generation, type, event, request_id, ord)
      where v_outcomes[c.ord] in (0, 6)
      order by c.ord
      returning seq)
    select array_agg(n.seq) into v_seqs from inserted n;
    perform __WakeInstances((select array_agg(v_keys[l.ord]) from unnest(v_live) l(ord)),
                            (select array_agg(v_at[l.ord]) from unnest(v_live) l(ord)), p_worker);
  end if;
  return query
    select o.ord::int, o.outcome, v_keys[o.ord], v_tokens[o.ord], l.seq, v_at[o.ord]
    from unnest(v_outcomes) with ordinality o(outcome, ord)
    left join unnest(v_live, v_seqs) l(ord, seq) on l.ord = o.ord
    order by o.ord;
end $$;
