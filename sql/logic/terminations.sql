-- Orchestrations that end without their worker, or are asked to end. Lock order: README.md. Outcomes are
-- numbers of storage/records.h.

-- _Terminate: ends orchestrations that never had a turn and are free at once (TERMINATED, the parent
-- told); any other live one gets its message. One row per item: outcome 0 queued, 1 not found,
-- 2 already ended, 4 ended now, 5 not a child of "only_child_of". A row without item is the notice to
-- the parent of an instance that ended now.
--   p_items [{id, reason, only_child_of, generation, at, type, event, payloads}]; payloads: see
--           _StoreEntryPayloads
-- Caller holds the hot rows of the instances and of their parents, p_locked.
create or replace function _Terminate(p_hub int, p_items jsonb, p_bytes bytea[],
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
    select c.ord, c.id, c.reason, c.only_child_of, c.generation, c.at, c.type, c.event,
           i.instance_key, i.parent_key
    from rows from (jsonb_to_recordset(p_items)
          as (id text, reason int, only_child_of bigint, generation int, at bigint, type smallint,
              event int),
        unnest(_FindInstances(p_hub, p_items)))
      with ordinality c(id, reason, only_child_of, generation, at, type, event, key, ord)
    left join Instances i on i.instance_key = any (array[c.key])
    order by c.ord
  loop
    item := v_item.ord;
    key := v_item.instance_key;
    token := null;
    seq := null;
    at := greatest(p_now, _Time(v_item.at));
    notice_event := null;
    if v_item.instance_key is null then
      outcome := 1;
    elsif v_item.only_child_of is not null
          and v_item.parent_key is distinct from v_item.only_child_of then
      outcome := 5;
    else
      select r.lease_token, case when r.turn = 0 and r.lease_token is null then 4 else 0 end
        into token, outcome
      from ReadyInstances r where r.instance_key = v_item.instance_key;
      if not found then
        outcome := 2;
      elsif key <> all (p_locked) then
        perform _RepeatCall(key);
      elsif outcome = 4 then
        v_event := v_bytes[v_item.reason];
        return query
          select null::int, null::smallint, t.key, t.token, t.seq, t.at, t.event
          from _EndTerminated(array[key], v_event, p_now, p_locked) t;
      else
        if p_items -> (item - 1) ? 'payloads' then
          perform _StoreEntryPayloads(array[key], jsonb_build_array(p_items -> (item - 1)), p_bytes);
        end if;
        insert into NewEvents (instance_key, visible_at, generation, event_type, event)
          values (key, at, v_item.generation, v_item.type, v_bytes[v_item.event])
          returning NewEvents.seq into seq;
        perform _WakeInstances(array[key], array[at], p_worker);
      end if;
    end if;
    return next;
  end loop;
end $$;

-- _EndTerminated: ends live orchestrations without a worker: TERMINATED, with the reason as output and
-- the parents told (see _TellParents for the rows). Activities that a worker runs right now are left to
-- it. Caller holds the hot rows of the instances and of their parents, p_locked.
create or replace function _EndTerminated(p_keys bigint[], p_reason bytea, p_now timestamptz,
                                          p_locked bigint[])
returns table (child_key bigint, key bigint, token bigint, seq bigint, at timestamptz, event bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select * from _TellParents(p_keys, 'OrchestrationTerminated',
                               array_fill(coalesce(nullif(p_reason, ''),
                                                   'The orchestration was terminated'::bytea),
                                          array[cardinality(p_keys)]), p_now, p_locked);
  delete from ReadyInstances r where r.instance_key = any (p_keys);
  delete from NewEvents e where e.instance_key = any (p_keys);
  delete from NewTasks t where t.instance_key = any (p_keys) and coalesce(t.lease_token, 0) = 0;
  update Instances i
    set runtime_status = 5, output = p_reason, output_payload = null, completed_time = p_now, last_updated_time = p_now,
        last_token = null, last_turn = null
    where i.instance_key = any (p_keys);
end $$;

-- _TerminateNow: ends orchestrations at once, whoever holds them: the checkpoint of a holder then finds
-- the instance gone. Returns the ids of those that did not end by this: ended before, missing, entities,
-- or holding locks of entities.
--   p_batch {ids: [...], reason}
-- Locks: hot rows of the instances and their parents by key, then the rows of Instances. Repeat: what an
-- earlier call ended is returned like any other that has ended.
create or replace function _TerminateNow(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (id text)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_found bigint[] := _FindInstances(p_hub, p_batch -> 'ids');
  v_keys bigint[];
  v_locked bigint[];
  v_unlocked bigint;
begin
  v_locked := _LockInstances(array(select i.instance_key from Instances i
                                   where i.instance_key = any (v_found) and i.kind = 0));
  v_found := _FindInstances(p_hub, p_batch -> 'ids');
  select array_agg(i.instance_key),
         max(i.instance_key) filter (where i.instance_key <> all (v_locked))
    into v_keys, v_unlocked
  from Instances i
  join ReadyInstances r on r.instance_key = any (array[i.instance_key])
  where i.instance_key = any (v_found) and i.kind = 0
    and not exists (select from Entities e where e.locked_by_key = i.instance_key);
  if v_unlocked is not null then
    perform _RepeatCall(v_unlocked);
  end if;
  if v_keys is not null then
    perform _EndTerminated(v_keys, p_bytes[(p_batch ->> 'reason')::int], _Now(), v_locked);
  end if;
  return query
    select c.id
    from rows from (jsonb_array_elements_text(p_batch -> 'ids'), unnest(v_found))
      with ordinality c(id, key, ord)
    where coalesce(c.key <> all (v_keys), true)
    order by c.ord;
end $$;

-- _TerminateInstances: the daemon's form of TerminateInstance (see _Terminate).
--   p_batch {worker, items}
-- Locks: hot rows of the instances and their parents by key, then the rows of Instances.
create or replace function _TerminateInstances(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, outcome smallint, key bigint, token bigint, seq bigint, at timestamptz,
               notice_event bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_locked bigint[] := _LockInstances(_FindInstances(p_hub, p_batch -> 'items'));
begin
  return query select * from _Terminate(p_hub, p_batch -> 'items', p_bytes, v_now,
                                        (p_batch ->> 'worker')::bigint, v_locked);
end $$;
