-- Orchestrations that end without their worker, or are asked to end. Lock order: README.md.
-- Outcomes are numbers of storage/records.h.

-- __Terminate: ends orchestrations that never had a turn and are free at once (TERMINATED, the
-- parent told); any other live one gets its message. One row per item: outcome 0 queued, 1 not
-- found, 2 already ended, 4 ended now. A row without item is the notice to the parent of an
-- instance that ended now.
--   p_items [{id, reason, generation, at, type, event, payloads}]; payloads: see
--   __StoreEntryPayloads
-- Caller holds the hot rows of the instances and of their parents, p_locked.
create or replace function __Terminate(p_hub int, p_items jsonb, p_bytes bytea[],
                                       p_now timestamptz, p_worker bigint, p_locked bigint[])
returns table (item int, outcome smallint, key bigint, token bigint, seq bigint, at timestamptz,
               notice_event bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_bytes bytea[] := p_bytes;
  v_item record;
  v_event bytea;
begin
  for v_item in
    select c.ord, c.id, c.reason, c.generation, c.at, c.type, c.event, i.instance_key
    from rows from (jsonb_to_recordset(p_items)
          as (id text, reason int, generation int, at bigint, type smallint, event int),
        unnest(__FindInstances(p_hub, p_items)))
      with ordinality c(id, reason, generation, at, type, event, key, ord)
    left join Instances i on i.instance_key = any (array[c.key])
    order by c.ord
  loop
    item := v_item.ord;
    key := v_item.instance_key;
    token := null;
    seq := null;
    at := greatest(p_now, __Time(v_item.at));
    notice_event := null;
    if v_item.instance_key is null then
      outcome := 1;
    else
      select r.lease_token, case when r.turn = 0 and r.lease_token is null then 4 else 0 end
        into token, outcome
      from ReadyInstances r where r.instance_key = v_item.instance_key;
      if not found then
        outcome := 2;
      elsif key <> all (p_locked) then
        perform __RepeatCall(key);
      elsif outcome = 4 then
        v_event := v_bytes[v_item.reason];
        return query
          select null::int, null::smallint, t.key, t.token, t.seq, t.at, t.event
          from __EndTerminated(array[key], v_event, p_now, p_locked) t;
      else
        if p_items -> (item - 1) ? 'payloads' then
          perform __StoreEntryPayloads(array[key], jsonb_build_array(p_items -> (item - 1)),
                                       p_bytes);
        end if;
        insert into NewEvents (instance_key, visible_at, generation, event_type, event)
          values (key, at, v_item.generation, v_item.type, v_bytes[v_item.event])
          returning NewEvents.seq into seq;
        perform __WakeInstances(array[key], array[at], p_worker);
      end if;
    end if;
    return next;
  end loop;
end $$;

-- __LiveBelow: the live orchestrations below these (parallel arrays of keys and generations): their
-- live children of that generation, those of children that have ended, of any generation, and so on
-- down. Not what is below a live one, and no fire-and-forget children, nor what is below them. One
-- that ends in this very call, whose hot row is taken away first, has ended. Their order is that of
-- the levels. Looks at each ended descendant once, by the index of children: about 1 us each.
create or replace function __LiveBelow(p_keys bigint[], p_generations int[]) returns bigint[]
language plpgsql stable set search_path from current set enable_seqscan = off as $$
declare
  v_above bigint[] := p_keys;
  v_generations int[] := p_generations;  -- null = any
  v_live bigint[];
  v_found bigint[] := '{}';
begin
  while v_above is not null loop
    select array_agg(i.instance_key) filter (where l.live),
           array_agg(i.instance_key) filter (where not l.live) into v_live, v_above
    from Instances i
    cross join lateral (
      select i.stored_status in (0, 6, 7)
        and exists (select from ReadyInstances r
                    where r.instance_key = any (array[i.instance_key])) as live) l
    where i.parent_key = any (v_above) and i.parent_key is not null
      and (v_generations is null
           or i.parent_generation = v_generations[array_position(v_above, i.parent_key)])
      and i.parent_task_id is not null and i.kind <> 1;
    v_found := v_found || v_live;
    v_generations := null;
  end loop;
  return v_found;
end $$;

-- __LiveBelowAll: __LiveBelow all instances of a list of "subtrees", see __TerminateBelow.
create or replace function __LiveBelowAll(p_items jsonb) returns bigint[]
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  return (select __LiveBelow(array_agg(c.key), array_agg(c.parent_generation))
          from jsonb_to_recordset(p_items) c(key bigint, parent_generation int));
end $$;

-- __TerminateBelow: ends what is live below instances that are about to end, as __Terminate does.
-- Whoever holds one of them, the caller too, is told to read its inbox, as the answer does not name
-- them.
--   p_items [{key, parent_generation, reason, type, event, payloads}]
-- Caller holds the hot rows of the instances and of all of __LiveBelowAll, p_locked.
create or replace function __TerminateBelow(p_items jsonb, p_bytes bytea[], p_now timestamptz,
                                            p_locked bigint[])
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_bytes bytea[] := p_bytes;
  v_item record;
  v_live bigint[];
begin
  for v_item in
    select c.key, c.parent_generation, c.reason, c.type, c.event, c.payloads
    from jsonb_to_recordset(p_items)
      c(key bigint, parent_generation int, reason int, type smallint, event int, payloads jsonb)
  loop
    v_live := __EndFree(__LiveBelow(array[v_item.key], array[v_item.parent_generation]),
                        v_bytes[v_item.reason], p_now, p_locked);
    if v_item.payloads is not null then
      perform __StorePayloads(v_live, (select jsonb_agg(jsonb_build_object('item', n, 'id', e.key,
                                                                         'data', e.value))
                                       from generate_series(1, cardinality(v_live)) n
                                       cross join jsonb_each(v_item.payloads) e), p_bytes);
    end if;
    perform __SendTermination(v_live, v_item.type, v_bytes[v_item.event], p_now);
  end loop;
end $$;

-- __EndFree: of live instances ends those that never had a turn and are free, and returns the
-- others. Caller holds their hot rows and those of their parents, p_locked; the call is repeated if
-- it does not.
create or replace function __EndFree(p_keys bigint[], p_reason bytea, p_now timestamptz,
                                     p_locked bigint[])
returns bigint[] language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_unlocked bigint;
  v_free bigint[];
begin
  select min(u.key) into v_unlocked
  from (select unnest(p_keys) except select unnest(p_locked)) u(key);
  if v_unlocked is not null then
    perform __RepeatCall(v_unlocked);
  end if;
  select array_agg(r.instance_key) into v_free from ReadyInstances r
  where r.instance_key = any (p_keys) and r.turn = 0 and coalesce(r.lease_token, 0) = 0;
  if v_free is null then
    return p_keys;
  end if;
  perform __EndTerminated(v_free, p_reason, p_now, p_locked);
  return array(select unnest(p_keys) except select unnest(v_free));
end $$;

-- __SendTermination: one message into the inboxes of many. Caller holds their hot rows.
create or replace function __SendTermination(p_keys bigint[], p_type smallint, p_event bytea,
                                             p_now timestamptz)
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  insert into NewEvents (instance_key, visible_at, generation, event_type, event)
    select c.key, p_now, null, p_type, p_event from unnest(p_keys) c(key);
  perform __WakeInstances(p_keys, array_fill(p_now, array[cardinality(p_keys)]), null);
end $$;

-- __PassTerminations: terminations that found their instances ended go on, if they are recursive,
-- to what is live below those (parallel arrays).
-- Locks: hot rows, by key, after others: what is below a key has higher ones, but perhaps not than
-- all that the caller holds. Two calls that meet so end in a deadlock, which one of them repeats.
-- It takes a termination that arrives while the last turn of its instance runs, and live
-- descendants.
create or replace function __PassTerminations(p_keys bigint[], p_events bytea[], p_now timestamptz)
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_item record;
  v_live bigint[];
  v_locked bigint[];
begin
  for v_item in
    select c.key, i.generation, w.event,
           (select coalesce((select v.bytes from __PbFields(f.bytes) v where v.field = 1), '')
            from __PbFields(t.bytes) f where f.field = 1) as reason
    from unnest(p_keys, p_events) c(key, event)
    join Instances i on i.instance_key = any (array[c.key])
    cross join lateral __Read(c.key, c.event) w(event)
    cross join lateral __PbFields(w.event) t
    where t.field = 5
      and exists (select from __PbFields(t.bytes) f where f.field = 2 and f.number <> 0)
  loop
    v_live := __LiveBelow(array[v_item.key], array[v_item.generation]);
    select array_agg(l.instance_key) into v_locked
    from (select r.instance_key from ReadyInstances r where r.instance_key = any (v_live)
          order by r.instance_key for no key update) l;
    v_live := __LiveBelow(array[v_item.key], array[v_item.generation]);
    v_live := __EndFree(v_live, v_item.reason, p_now, v_locked);
    perform __SendTermination(v_live, 5::smallint, v_item.event, p_now);
  end loop;
end $$;

-- __EndTerminated: ends live orchestrations without a worker: TERMINATED, with the reason as output
-- and the parents told (see __TellParents for the rows). Activities that a worker runs right now
-- are left to it. Caller holds the hot rows of the instances, of their parents and of the entities
-- that they wait for, p_locked.
create or replace function __EndTerminated(p_keys bigint[], p_reason bytea, p_now timestamptz,
                                           p_locked bigint[])
returns table (child_key bigint, key bigint, token bigint, seq bigint, at timestamptz, event bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select * from __TellParents(p_keys, 'OrchestrationTerminated',
                                array_fill(coalesce(nullif(p_reason, ''),
                                                    'The orchestration was terminated'::bytea),
                                           array[cardinality(p_keys)]), p_now, p_locked);
  perform __ReleaseEntities(p_keys, p_now);
  delete from ReadyInstances r where r.instance_key = any (p_keys);
  delete from NewEvents e where e.instance_key = any (p_keys);
  delete from NewTasks t where t.instance_key = any (p_keys) and coalesce(t.lease_token, 0) = 0;
  update Instances i
    set stored_status = 5, output = p_reason, output_payload = null, completed_time = p_now,
        last_updated_time = p_now, last_token = null, last_turn = null
    where i.instance_key = any (p_keys);
end $$;

-- _TerminateNow: ends orchestrations at once, whoever holds them: the checkpoint of a holder then
-- finds the instance gone. Returns the ids of those that did not end by this: ended before,
-- missing, entities, or holding locks of entities.
--   p_batch {ids: [...], reason}
-- Locks: hot rows of the instances and their parents by key, then the rows of Instances. Repeat:
-- what an earlier call ended is returned like any other that has ended.
create or replace function _TerminateNow(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (id text)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_found bigint[] := __FindInstances(p_hub, p_batch -> 'ids');
  v_keys bigint[];
  v_locked bigint[];
  v_unlocked bigint;
begin
  v_locked := __LockInstances(array(select i.instance_key from Instances i
                                    where i.instance_key = any (v_found) and i.kind <> 1));
  v_found := __FindInstances(p_hub, p_batch -> 'ids');
  select array_agg(i.instance_key),
         max(i.instance_key) filter (where i.instance_key <> all (v_locked))
    into v_keys, v_unlocked
  from Instances i
  join ReadyInstances r on r.instance_key = any (array[i.instance_key])
  where i.instance_key = any (v_found) and i.kind <> 1
    and not exists (select from Entities e where e.locked_by_key = i.instance_key);
  if v_unlocked is not null then
    perform __RepeatCall(v_unlocked);
  end if;
  if v_keys is not null then
    perform __EndTerminated(v_keys, p_bytes[(p_batch ->> 'reason')::int], _Now(), v_locked);
  end if;
  return query
    select c.id
    from rows from (jsonb_array_elements_text(p_batch -> 'ids'), unnest(v_found))
      with ordinality c(id, key, ord)
    where coalesce(c.key <> all (v_keys), true)
    order by c.ord;
end $$;

-- _TerminateInstances: the daemon's form of TerminateInstance (see __Terminate).
--   p_batch {worker, items}
-- Locks: hot rows of the instances and their parents by key, then the rows of Instances.
create or replace function _TerminateInstances(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, outcome smallint, key bigint, token bigint, seq bigint, at timestamptz,
               notice_event bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_locked bigint[] := __LockInstances(__FindInstances(p_hub, p_batch -> 'items'));
begin
  return query select * from __Terminate(p_hub, p_batch -> 'items', p_bytes, v_now,
                                         (p_batch ->> 'worker')::bigint, v_locked);
end $$;
