-- Rewind: FAILED orchestrations go on from a rewritten history. What to write is decided by the
-- daemon from what _ReadRewindSources returns; _RewindInstances writes it if all is still as it was
-- found.

-- _ReadRewindSources: what a rewind must know of instances. Rows by "part": 0 an instance that
-- exists (tasks = the ids of its activities in flight, as an array in text form), 1 a chunk of the
-- history of a FAILED one (number = its turn), in order.
--   p_batch {ids: [...]}
create or replace function _ReadRewindSources(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, part smallint, key bigint, execution_id text, generation int,
               number bigint,
               name text, version bytea, status smallint, custom_status bytea,
               saved_custom_status bytea, trace_context bytea, parent_key bigint,
               parent_generation int, parent_task_id int, parent_instance_id text, output bytea,
               failure bytea, tasks int[], first_event int, event_count int, events bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_found bigint[];
  v_items int[];
begin
  select array_agg(i.instance_key order by c.ord), array_agg(c.ord::int order by c.ord)
    into v_found, v_items
  from unnest(__FindInstances(p_hub, p_batch -> 'ids')) with ordinality c(key, ord)
  join Instances i on i.instance_key = any (array[c.key]) and i.kind <> 1;
  return query
    select f.item, 0::smallint, i.instance_key, i.execution_id, i.generation,
           greatest(i.last_turn, (select max(h.turn) from History h
                                  where h.instance_key = i.instance_key)),
           i.name, i.version, __StatusNow(i.stored_status, r.turn), i.custom_status,
           i.saved_custom_status, i.orchestration_trace_context, i.parent_key, i.parent_generation,
           i.parent_task_id,
           i.parent_instance_id,
           coalesce(i.output, (select p.data from Payloads p
                               where p.instance_key = i.instance_key
                                 and p.payload_id = i.output_payload)),
           i.failure,
           __TasksOf(i.instance_key), null::int, null::int, null::bytea
    from unnest(v_found, v_items) f(key, item)
    join Instances i on i.instance_key = any (array[f.key])
    left join ReadyInstances r on r.instance_key = any (array[f.key]);
  return query
    select f.item, 1::smallint, i.instance_key, null, null::int, h.turn, null, null::bytea,
           null::smallint, null::bytea, null::bytea, null::bytea, null::bigint, null::int,
           null::int, null, null::bytea, null::bytea, null::int[], h.first_event, h.event_count,
           __Read(h.instance_key, h.events)
    from unnest(v_found, v_items) f(key, item)
    -- By key and not by the index of those that did not end well, which the bare status would
    -- allow.
    join Instances i on i.instance_key = any (array[f.key]) and coalesce(i.stored_status, 0) = 3
    join History h on h.instance_key = any (array[i.instance_key])
    order by f.item, h.turn;
end $$;

-- __TasksOf: the ids of the activities of an instance's current generation that are in flight, in
-- order. Older generations may have some as well, whose results nobody awaits.
create or replace function __TasksOf(p_key bigint) returns int[]
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  return array(select t.task_id from NewTasks t
               join Instances i on i.instance_key = any (array[t.instance_key])
                                and i.generation = t.generation
               where t.instance_key = p_key
               union all
               select i.id from ReadyInstances r cross join __IdsIn(r.inline_tasks) i(id)
               where r.instance_key = p_key
               order by 1);
end $$;

-- _RewindInstances: rewinds FAILED instances, all or none, and one that is live under the lease of
-- its checkpoint. One row: outcome 0 rewound (also when an earlier call did it), 1 something is not
-- as it was found, 2 a live one is not under that lease or at that turn any more; then nothing was
-- written.
--   p_batch {as _CheckpointOrchestration: the first turn of the new life of each;
--            rewinds: [{key, found_execution_id, found_tasks: [...], execution_id, dropped_tasks:
--                     [...], live}], the same items; "live" is left out when it is false. The
--                     activities "dropped_tasks" (ids) of a FAILED one go, wherever they run. Of a
--                     live one all of the history goes, and all messages of its generation but
--                     carried-over ones and consumed ones;
--            found_children: [{key, status}]; a status of a live one only tells that it is live;
--            chunks: [{item, turn, first_event, event_count, events}]: history that changes;
--                    without events only its place, with an event_count of 0 it goes;
--            chunk_payloads: see __StorePayloads}
-- A child that ends, or an activity that completes, while its parent is FAILED tells nobody.
-- Whoever ends one holds its hot row or its task, which are locked here: so it has either ended by
-- now, and is not as it was found, or it will see its parent live.
-- Locks: hot rows of live children and of the entities that a live one holds; rows of Instances;
-- tasks; then as _CheckpointOrchestration.
-- Repeat: by execution id.
create or replace function _RewindInstances(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (outcome smallint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_keys bigint[] := p_batch ->> 'key';
  v_turns bigint[] := p_batch ->> 'turn';
  v_tokens bigint[] := p_batch ->> 'token';
  v_consumed_items int[] := p_batch ->> 'consumed_item';
  v_consumed_seqs bigint[] := p_batch ->> 'consumed_seq';
  v_children bigint[];
  v_live bigint[];
begin
  select array_agg(c.key) into v_children
  from jsonb_to_recordset(p_batch -> 'found_children') c(key bigint);
  perform 1 from ReadyInstances r
    where r.instance_key = any (v_keys || v_children || __EntitiesOf(v_keys))
    order by r.instance_key for no key update;
  perform 1 from Instances i where i.instance_key = any (v_keys || v_children)
    order by i.instance_key for update;
  perform 1 from NewTasks t where t.instance_key = any (v_keys)
    order by t.instance_key, t.task_key for no key update;

  outcome := __RewindOutcome(p_batch);
  if outcome = 0 and __LiveHub(p_hub) is null then
    outcome := 2;
  end if;
  if outcome <> 0 then
    outcome := outcome - 1;
    return next;
    return;
  end if;

  perform __RewriteHistories(v_keys, p_batch, p_bytes);
  update Instances i set execution_id = c.execution_id
    from jsonb_to_recordset(p_batch -> 'rewinds') c(key bigint, execution_id text)
    where i.instance_key = any (array[c.key]);
  delete from NewTasks t
    using jsonb_to_recordset(p_batch -> 'rewinds') c(key bigint, dropped_tasks int[])
    where t.instance_key = any (array[c.key]) and t.task_id = any (c.dropped_tasks)
      and t.generation = (select i.generation from Instances i where i.instance_key = c.key);
  select coalesce(array_agg(c.key) filter (where c.live), '{}') into v_live
  from jsonb_to_recordset(p_batch -> 'rewinds') c(key bigint, live boolean);
  if p_batch ? 'kept_item' then  -- while the history still tells what they are
    perform __KeepInlineTasks(v_keys, null, p_batch);
  end if;
  perform __ReleaseEntities(v_live, _Now());
  delete from History h where h.instance_key = any (v_live);
  -- EventRaised (17) and ExecutionSuspended (21) are bound to a generation when they are carried
  -- over.
  delete from NewEvents e
    where e.instance_key = any (v_live) and e.generation is not null
      and e.event_type not in (17, 21)
      and not exists (select from unnest(v_consumed_items, v_consumed_seqs) c(item, seq)
                      where v_keys[c.item] = e.instance_key and c.seq = e.seq);
  perform __DropPayloads(v_live);
  insert into ReadyInstances (instance_key, hub_id, lease_token, turn, generation, kind, lower_name,
                              version)
    select i.instance_key, p_hub, c.token, c.turn - 1, i.generation, i.kind,
           lower(i.name collate "C"), coalesce(i.version, '')
    from unnest(v_keys, v_tokens, v_turns) c(key, token, turn)
    join Instances i on i.instance_key = any (array[c.key])
    where c.key <> all (v_live);
  if exists (select from _CheckpointOrchestration(p_hub, p_batch, p_bytes) c
             where c.part = 0 and c.outcome <> 0) then
    raise exception 'the first turn after a rewind was not committed';
  end if;
  return next;
end $$;

-- __RewriteHistories: the part of _RewindInstances for history that changes: chunks and
-- chunk_payloads. Caller holds the locks.
create or replace function __RewriteHistories(p_keys bigint[], p_batch jsonb, p_bytes bytea[])
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_bytes bytea[] := p_bytes;
begin
  delete from History h
    using jsonb_to_recordset(p_batch -> 'chunks') c(item int, turn bigint, event_count int)
    where h.instance_key = any (array[p_keys[c.item]]) and h.turn = c.turn and c.event_count = 0;
  perform __StorePayloads(p_keys, p_batch -> 'chunk_payloads', p_bytes);
  update History h
    set first_event = c.first_event, event_count = c.event_count,
        events = coalesce(v_bytes[c.events], h.events)
    from jsonb_to_recordset(p_batch -> 'chunks')
      c(item int, turn bigint, first_event int, event_count int, events int)
    where h.instance_key = any (array[p_keys[c.item]]) and h.turn = c.turn;
end $$;

-- __RewindOutcome: 0 all is as it was found, 1 the rewind has been done before, 2 neither, 3 a live
-- instance is not under the lease and at the turn of its checkpoint. Caller holds the locks.
create or replace function __RewindOutcome(p_batch jsonb) returns smallint
language plpgsql stable set search_path from current set enable_seqscan = off as $$
declare
  v_done bigint;
  v_changed bigint;
begin
  select count(*) filter (where i.execution_id = c.execution_id),
         count(*) filter (where i.instance_key is null
                          or (i.stored_status <> 3 and c.live is null)
                          or i.execution_id is distinct from c.found_execution_id
                          or c.found_tasks is distinct from __TasksOf(c.key))
    into v_done, v_changed
  from jsonb_to_recordset(p_batch -> 'rewinds')
    c(key bigint, found_execution_id text, found_tasks int[], execution_id text, live boolean)
  left join Instances i on i.instance_key = any (array[c.key]);
  if v_done = jsonb_array_length(p_batch -> 'rewinds') then
    return 1;
  end if;
  if exists (
      select from rows from (jsonb_to_recordset(p_batch -> 'rewinds') as (key bigint, live boolean))
        with ordinality c(key, live, ord)
      left join ReadyInstances r on r.instance_key = any (array[c.key])
        and __HoldsTurn(r.lease_token, r.turn, ((p_batch ->> 'token')::bigint[])[c.ord],
                        ((p_batch ->> 'turn')::bigint[])[c.ord])
      where c.live and r.instance_key is null) then
    return 3;
  end if;
  if v_changed > 0 or exists (
      select from jsonb_to_recordset(p_batch -> 'found_children') c(key bigint, status smallint)
      left join Instances i on i.instance_key = any (array[c.key])
      where i.instance_key is null
        or case when c.status in (0, 6, 7) then i.completed_time is not null
                else i.stored_status <> c.status end) then
    return 2;
  end if;
  return 0;
end $$;
