-- The checkpoint: everything that turns write, many instances in one call.

-- _CheckpointOrchestration: commits turns. Each item stands or falls alone: outcome 0 committed,
-- 1 already committed, 2 lease lost, 3 gone; the others change nothing.
--
-- Rows by "part": 0 an item, in order (at = commit time); then, "number" being the position in the
-- list of that name, counted from 1 over the entries of committed items only: 1 own, 2 messages,
-- 3 parents, 4 terminations (a row without number is a notice to a parent), 5 children (seq = the
-- first message, or for outcome 3 the conflict in the own inbox), 6 tasks (key = task key),
-- 7 child_messages, 8 child_terminations (as 4), 9 to 11: see __RequestLocks and
-- __CheckpointEntities.
--
--   p_batch {
--     key, token, turn, generation, flags, history, first_event, event_count: columns of the items;
--         flags: 1 ends, 2 releases, 4 has a next generation; history: a position in p_bytes
--     consumed_item, consumed_seq: columns of the consumed messages
--     done_item, done_task, done_token: columns of activity tasks that go, as their results are in
--         the turn's history and in no inbox
--     inline_new: a column of the items: ids of new inline tasks (logic/inline_tasks.sql), each an
--         int4multirange in text form or null; inline_done: a column of the items: the id of one
--         whose result is in the turn's history, or null; inline_done_item, inline_done_id: columns
--         of the further ones
--     kept_item, kept_id, kept_task, kept_token: columns of inline tasks of items that end, begin a
--         next generation or release: they get rows, under these keys and leases
--     task_item, task_number, task_id, task_version, task_request, task_token: columns of new
--         tasks; task_name: their names, a JSON array; task_number counts those of one item from 0,
--         and each has its place (see the column) a hundredth of a second behind the one before;
--         task_execution: where items have a next generation, a JSON array too: the execution ids
--         of their tasks, '' for those of others
--     updates: [{item, status, custom_status_kind, custom_status, trace_kind, trace, output,
--               output_payload, failure}]
--     generations: [{item, execution_id, version, input, input_payload, saved_custom_status}]
--     own: [{item, generation, at, type, event}]
--     messages: [{item, id, generation, at, type, event, execution, front}]: see __Deliver
--     parents: [{item, key, parent_generation, generation, at, type, event}]
--     terminations: [{item, id, reason, generation, at, type, event}]
--     subtrees: [{item, key, parent_generation, reason, type, event}]: what is live below the
--         instances ends, see __TerminateBelow; no rows tell about it
--     children: [{item, ...as __InsertInstances..., conflict: {generation, at, type, event}}];
--         without a conflict, nobody is told that the id is in use
--     child_messages, child_terminations: as messages and terminations, to children of the same
--         item: they act when the children are made, the others before
--     entity_ids: the ids of all entities that are written to, distinct
--     locks: [{item, section, ids, event}]: lock requests, see __RequestLocks
--     releases: [{item}]: of items that end or begin a next generation: they may hold entities
--         locked or wait for them
--     entities: [{item, state_kind, state, state_payload, worked, unlock}]: of the items that are
--         entities; arrivals: [{item, seq, grant}], withdrawals: [{item, owner, section}]: see
--         __CheckpointEntities
--     payloads: [{item, id, data}]: of the items' own history, messages, tasks, output and input;
--         entries of the lists for others name theirs themselves, see __StoreEntryPayloads}
--   What every turn has comes as columns, arrays in PostgreSQL's text form: they cost a fraction of
--   a list of records.
--   A list may be absent; its statements are then not run. *_kind: 0 keep, 1 set, 2 clear.
--
-- The fence: the token holds the instance and the turn is the next one. All consumed messages must
-- be there, and all completed tasks under their leases; if one is missing, the call fails with
-- P0D01 and is repeated item by item. In a deleted hub all are gone.
-- Locks: own and target hot rows by key, then the rest in the order of README.md. Repeat: by
-- (token, turn), also after the end of the instance or of the lease.
-- Over 70 lines: what every turn needs stands here; a call more would cost one that comes alone 7 %
-- (README.md, "Names of functions").
create or replace function _CheckpointOrchestration(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (part smallint, item int, number int, outcome smallint, key bigint, token bigint,
               seq bigint, at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_bytes bytea[] := p_bytes;
  v_keys bigint[] := p_batch ->> 'key';
  v_tokens bigint[] := p_batch ->> 'token';
  v_turns bigint[] := p_batch ->> 'turn';
  v_generations int[] := p_batch ->> 'generation';
  v_flags int[] := p_batch ->> 'flags';
  v_lists jsonb := p_batch;
  v_outcomes smallint[];
  v_locked bigint[];
begin
  if __LiveHub(p_hub) is null then
    v_outcomes := array_fill(3::smallint, array[cardinality(v_keys)]);
  else
    if p_batch ? 'entity_ids' then
      perform __CreateEntities(p_hub, p_batch -> 'entity_ids');
    end if;
    if p_batch ?| '{messages,parents,terminations,subtrees,children,locks,releases,entities}' then
      v_locked := __LockTargets(p_hub, p_batch, v_keys);
    end if;
    v_outcomes := __FenceTurns(v_keys, v_tokens, v_turns, v_generations, v_flags,
                               p_batch ->> 'inline_new', p_batch ->> 'inline_done');
  end if;
  return query
    select 0::smallint, o.ord::int, null::int, o.outcome, null::bigint, null::bigint, null::bigint,
           v_now
    from unnest(v_outcomes) with ordinality o(outcome, ord);
  if 0 <> all (v_outcomes) then
    return;
  elsif 0 <> any (v_outcomes) then
    v_lists := coalesce(__OnlyItems(p_batch, v_outcomes), '{}');
  end if;

  if p_batch ->> 'consumed_item' <> '{}' or p_batch ?| '{done_item,inline_done_item}' then
    perform __ConsumeInputs(v_keys, v_tokens, v_outcomes, p_batch);
  end if;
  if v_lists ? 'payloads' then
    perform __StorePayloads(v_keys, v_lists -> 'payloads', p_bytes);
  end if;
  insert into History (instance_key, turn, committed_time, first_event, event_count, events)
    select c.key, c.turn, v_now, c.first_event, c.event_count, v_bytes[c.history]
    from unnest(v_keys, v_turns, (p_batch ->> 'first_event')::int[],
                (p_batch ->> 'event_count')::int[], (p_batch ->> 'history')::int[], v_flags,
                v_outcomes)
      c(key, turn, first_event, event_count, history, flags, outcome)
    where c.outcome = 0 and c.history is not null and c.flags & 4 = 0;
  if v_lists ?| '{messages,parents,terminations,subtrees,children}' then
    return query select * from __CheckpointMessages(p_hub, v_lists, p_bytes, v_keys, v_now,
                                                    v_tokens[1] >> 40, v_locked);
  end if;
  if v_lists ? 'locks' then
    return query select * from __RequestLocks(p_hub, v_lists -> 'locks', p_bytes, v_keys,
                                              v_generations, v_now, v_tokens[1] >> 40, v_locked);
  end if;
  if v_lists ? 'releases' then
    perform __ReleaseEntities((select array_agg(v_keys[r.item])
                               from jsonb_to_recordset(v_lists -> 'releases') r(item int)), v_now);
  end if;
  if v_lists ? 'own' then
    return query select * from __CheckpointOwn(v_keys, v_flags, v_lists -> 'own', p_bytes, v_now);
  end if;
  if v_lists ? 'entities' then
    return query select * from __CheckpointEntities(p_hub, v_lists, p_bytes, v_keys, v_now,
                                                    v_tokens[1] >> 40, v_locked);
  end if;
  if p_batch ? 'kept_item' then
    perform __KeepInlineTasks(v_keys, v_outcomes, p_batch);
  end if;
  if 0 <> any (v_flags) then
    perform __CheckpointEnds(v_keys, v_generations, v_flags, v_outcomes, v_lists -> 'generations',
                             p_bytes, v_now);
  end if;
  if p_batch ? 'task_item' then
    return query select * from __CheckpointTasks(p_hub, v_keys, v_generations, v_outcomes, p_batch,
                                                 p_bytes, v_now);
  end if;
  if v_lists ? 'updates' then
    perform __CheckpointUpdates(v_keys, v_tokens, v_turns, v_flags, v_lists -> 'updates', p_bytes,
                                v_now);
  end if;
  -- Last, so that it sees every message of this call.
  if 2 = any (v_flags) or 6 = any (v_flags) then
    perform __FreeReleased(v_keys, v_flags, v_outcomes);
  end if;
end $$;

-- __FenceTurns: the lock, the fence and the turn in one heap-only update of each hot row, by one
-- probe of the primary key. Whoever held a row first leaves the newest one to be compared. Parallel
-- arrays as of _CheckpointOrchestration; returns the outcomes of the items. Locks: hot rows by key.
create or replace function __FenceTurns(p_keys bigint[], p_tokens bigint[], p_turns bigint[],
                                        p_generations int[], p_flags int[], p_inline_new text,
                                        p_inline_done text)
returns smallint[] language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_inline_new text[] := p_inline_new;
  v_inline_done int[] := p_inline_done;
  v_fenced int[];
begin
  -- A turn that comes alone is one that somebody waits for, and this is the same at a third of the
  -- cost.
  if cardinality(p_keys) = 1 then
    update ReadyInstances r
      set turn = p_turns[1], lost_leases = 0,
          inline_tasks = __InlineAfter(r.inline_tasks, v_inline_done[1], v_inline_new[1]),
          generation = case when p_flags[1] & 4 = 4 then p_generations[1] + 1
                            else r.generation end,
          released_token = case when p_flags[1] & 2 = 2 then p_tokens[1] else r.released_token end
    where r.instance_key = p_keys[1]
      and __HoldsTurn(r.lease_token, r.turn, p_tokens[1], p_turns[1]);
    if found then
      return '{0}';
    end if;
  else
    with fenced as (
      update ReadyInstances r
        set turn = c.turn, lost_leases = 0,
            inline_tasks = __InlineAfter(r.inline_tasks, c.inline_done, c.inline_new),
            generation = case when c.flags & 4 = 4 then c.generation + 1 else r.generation end,
            released_token = case when c.flags & 2 = 2 then c.token else r.released_token end
      from (select * from unnest(p_keys, p_tokens, p_turns, p_generations, p_flags, v_inline_new,
                                 v_inline_done) with ordinality
              u(key, token, turn, generation, flags, inline_new, inline_done, ord)
            order by u.key) c
      where r.instance_key = any (array[c.key])
        and __HoldsTurn(r.lease_token, r.turn, c.token, c.turn)
      returning c.ord)
    select array_agg(f.ord) into v_fenced from fenced f;
    if cardinality(v_fenced) = cardinality(p_keys) then
      return array_fill(0::smallint, array[cardinality(p_keys)]);
    end if;
  end if;
  return __FenceOutcomes(p_keys, p_tokens, p_turns, coalesce(v_fenced, '{}'));
end $$;

-- __ConsumeInputs: takes out what committed turns have used up: messages, and tasks whose results
-- they bring along. P0D01 if one is gone. Caller holds the hot rows. Locks: class 3, tasks by key.
create or replace function __ConsumeInputs(p_keys bigint[], p_tokens bigint[],
                                           p_outcomes smallint[], p_batch jsonb)
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_items int[] := p_batch ->> 'consumed_item';
  v_expected bigint := cardinality(v_items);
  v_deleted bigint;
begin
  if 0 <> any (p_outcomes) then
    select count(*) into v_expected from unnest(v_items) c(item) where p_outcomes[c.item] = 0;
  end if;
  if v_expected > 0 then
    delete from NewEvents e
    using unnest(v_items, (p_batch ->> 'consumed_seq')::bigint[]) c(item, seq)
    where e.instance_key = any (array[p_keys[c.item]]) and e.seq = c.seq
      and p_outcomes[c.item] = 0;
    get diagnostics v_deleted = row_count;
    if v_deleted <> v_expected then
      perform __InputIsGone('consumed message');
    end if;
  end if;
  if p_batch ? 'inline_done_item' then
    perform __EndInlineTasks(array_agg(p_keys[c.item]), array_agg(c.id),
                             array_agg(p_tokens[c.item]))
    from unnest((p_batch ->> 'inline_done_item')::int[], (p_batch ->> 'inline_done_id')::int[])
      c(item, id)
    where p_outcomes[c.item] = 0;
  end if;
  if p_batch ? 'done_item' then
    perform __EndTasks(p_keys, p_outcomes, p_batch);
  end if;
end $$;

-- __EndTasks: the part of __ConsumeInputs for tasks that have a row.
create or replace function __EndTasks(p_keys bigint[], p_outcomes smallint[], p_batch jsonb)
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_items int[] := p_batch ->> 'done_item';
  v_expected bigint := cardinality(v_items);
  v_deleted bigint;
begin
  if 0 <> any (p_outcomes) then
    select count(*) into v_expected from unnest(v_items) c(item) where p_outcomes[c.item] = 0;
  end if;
  delete from NewTasks t
  using (select p_keys[u.item] as key, u.task, u.token
         from unnest(v_items, (p_batch ->> 'done_task')::bigint[],
                     (p_batch ->> 'done_token')::bigint[]) u(item, task, token)
         where p_outcomes[u.item] = 0
         order by 1, 2) c
  where t.instance_key = any (array[c.key]) and t.task_key = c.task
    and __Holds(t.lease_token, c.token);
  get diagnostics v_deleted = row_count;
  if v_deleted <> v_expected then
    perform __InputIsGone('completed task');
  end if;
end $$;

-- __CheckpointOwn: what committed turns put into their own inboxes. Rows as
-- _CheckpointOrchestration.
create or replace function __CheckpointOwn(p_keys bigint[], p_flags int[], p_own jsonb,
                                           p_bytes bytea[], p_now timestamptz)
returns table (part smallint, item int, number int, outcome smallint, key bigint, token bigint,
               seq bigint, at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_bytes bytea[] := p_bytes;
begin
  return query
    with inserted as (
      insert into NewEvents (instance_key, visible_at, generation, event_type, event)
      select p_keys[c.item],
             -- The first messages of a next generation come before all that already waits.
             case when c.at is null and p_flags[c.item] & 4 = 4 then '-infinity'
                  else greatest(p_now, __Time(c.at)) end, c.generation, c.type, v_bytes[c.event]
      from jsonb_to_recordset(p_own)
        c(item int, generation int, at bigint, type smallint, event int)
      returning seq, visible_at)
    select 1::smallint, null::int, (row_number() over ())::int, 0::smallint, null::bigint,
           null::bigint, n.seq, n.visible_at
    from inserted n;
end $$;

-- __CheckpointTasks: the new tasks of committed turns. Rows as _CheckpointOrchestration.
create or replace function __CheckpointTasks(p_hub int, p_keys bigint[], p_generations int[],
                                             p_outcomes smallint[], p_batch jsonb, p_bytes bytea[],
                                             p_now timestamptz)
returns table (part smallint, item int, number int, outcome smallint, key bigint, token bigint,
               seq bigint, at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_bytes bytea[] := p_bytes;
begin
  return query
    with inserted as (
      insert into NewTasks (instance_key, hub_id, generation, task_id, name, version, request,
                            lease_token, ready_at, place, execution_id)
      select p_keys[c.item], p_hub, p_generations[c.item], c.task_id,
             p_batch -> 'task_name' ->> (c.ord::int - 1), v_bytes[c.version], v_bytes[c.request],
             c.token, p_now, p_now + c.number * interval '10 ms',
             nullif(p_batch -> 'task_execution' ->> (c.ord::int - 1), '')
      from unnest((p_batch ->> 'task_item')::int[], (p_batch ->> 'task_number')::int[],
                  (p_batch ->> 'task_id')::int[], (p_batch ->> 'task_version')::int[],
                  (p_batch ->> 'task_request')::int[], (p_batch ->> 'task_token')::bigint[])
        with ordinality c(item, number, task_id, version, request, token, ord)
      where p_outcomes[c.item] = 0
      returning task_key)
    select 6::smallint, null::int, (row_number() over ())::int, 0::smallint, n.task_key,
           null::bigint, null::bigint, null::timestamptz
    from inserted n;
end $$;

-- __FreeReleased: gives up the leases of committed items that release and did not end.
create or replace function __FreeReleased(p_keys bigint[], p_flags int[], p_outcomes smallint[])
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  perform __FreeInstances(f.keys, array_fill(null::timestamptz, array[cardinality(f.keys)]),
                          array_fill(0, array[cardinality(f.keys)]))
  from (select array_agg(c.key) as keys from unnest(p_keys, p_flags, p_outcomes)
          c(key, flags, outcome)
        where c.flags & 3 = 2 and c.outcome = 0) f
  where f.keys is not null;
end $$;

-- __LockTargets: locks, in one sorted statement, the hot rows of the checkpointed instances and of
-- all whom they write to: addressed instances, parents, terminated instances and existing instances
-- with the id of a child, each of the latter two with its parent, what is live below those that end
-- all of it, and whom the locks of entities are about that are asked for, granted, taken back or
-- released. Returns the keys of those it locked.
create or replace function __LockTargets(p_hub int, p_batch jsonb, p_own bigint[]) returns bigint[]
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_found bigint[];
  v_keys bigint[];
  v_locked bigint[];
begin
  if p_batch ?| '{messages,terminations,subtrees,children}' then
    v_found := __FindInstances(p_hub, p_batch -> 'messages')
      || __FindInstances(p_hub, p_batch -> 'terminations')
      || __LiveBelowAll(p_batch -> 'subtrees')
      || __FindInstances(p_hub, p_batch -> 'children');
    select array_agg(k.key) into v_keys
    from Instances i cross join lateral (values (i.instance_key), (i.parent_key)) k(key)
    where i.instance_key = any (v_found) and k.key is not null;
  end if;
  if p_batch ?| '{locks,arrivals,withdrawals,releases}' then
    v_keys := v_keys || __FindInstances(p_hub, p_batch -> 'entity_ids')
      || __MembersOf(p_own, p_batch -> 'arrivals', p_batch -> 'withdrawals')
      || __EntitiesOf(array(select p_own[r.item]
                            from jsonb_to_recordset(p_batch -> 'releases') r(item int)));
  end if;
  v_keys := v_keys || p_own
    || (select array_agg(p.key) from jsonb_to_recordset(p_batch -> 'parents') p(key bigint));
  select array_agg(l.instance_key) into v_locked
  from (select r.instance_key from ReadyInstances r where r.instance_key = any (v_keys)
        order by r.instance_key for no key update) l;
  return coalesce(v_locked, '{}');
end $$;

-- __FenceOutcomes: the outcomes of items of which only those in p_fenced passed the fence. Some may
-- have no hot row any more: an ended instance knows the token and turn that ended it.
create or replace function __FenceOutcomes(p_keys bigint[], p_tokens bigint[], p_turns bigint[],
                                           p_fenced int[])
returns smallint[] language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  return (
    select array_agg((case
        when c.ord = any (p_fenced) then 0
        when __Holds(r.lease_token, c.token) and r.turn = c.turn then 1
        when r.released_token = c.token and r.turn >= c.turn then 1
        when r.instance_key is not null then 2
        when i.last_token = c.token and i.last_turn = c.turn then 1
        else 3 end)::smallint order by c.ord)
    from unnest(p_keys, p_tokens, p_turns) with ordinality c(key, token, turn, ord)
    left join ReadyInstances r on r.instance_key = any (array[c.key])
    left join Instances i on i.instance_key = any (array[c.key]));
end $$;

-- __OnlyItems: the lists of a batch without what belongs to items that are not committed. Lists
-- that become empty are left out; "item" still counts over the whole batch. Columns are left as
-- they are.
create or replace function __OnlyItems(p_batch jsonb, p_outcomes smallint[]) returns jsonb
language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  return (
    select jsonb_object_agg(k.name, k.entries)
    from (select l.key as name, jsonb_agg(e.entry order by e.ord) as entries
          from jsonb_each(p_batch) l
          cross join jsonb_array_elements(l.value) with ordinality e(entry, ord)
          where jsonb_typeof(l.value) = 'array' and l.key not in ('task_name', 'task_execution')
            and p_outcomes[(e.entry ->> 'item')::int] = 0
          group by l.key) k);
end $$;

-- __CheckpointMessages: what committed turns write to other instances: messages, results for
-- parents, terminations, children, and what children get at once. Rows as _CheckpointOrchestration.
-- Caller holds all hot rows, p_locked.
create or replace function __CheckpointMessages(p_hub int, p_batch jsonb, p_bytes bytea[],
                                                p_keys bigint[], p_now timestamptz, p_worker bigint,
                                                p_locked bigint[])
returns table (part smallint, item int, number int, outcome smallint, key bigint, token bigint,
               seq bigint, at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_locked bigint[] := p_locked;
begin
  if p_batch ? 'messages' then
    return query
      select 2::smallint, null::int, d.item, d.outcome, d.key, d.token, d.seq, d.at
      from __Deliver(p_hub, p_batch -> 'messages', p_bytes, p_now, p_worker, p_locked) d;
  end if;
  if p_batch ? 'parents' then
    return query
      select 3::smallint, null::int, d.item, d.outcome, d.key, d.token, d.seq, d.at
      from __Deliver(p_hub, p_batch -> 'parents', p_bytes, p_now, p_worker, p_locked) d;
  end if;
  if p_batch ? 'terminations' then
    return query
      select 4::smallint, null::int, t.item, t.outcome, t.key, t.token, t.seq, t.at
      from __Terminate(p_hub, p_batch -> 'terminations', p_bytes, p_now, p_worker, p_locked) t;
  end if;
  if p_batch ? 'subtrees' then
    perform __TerminateBelow(p_batch -> 'subtrees', p_bytes, p_now, p_locked);
  end if;
  if p_batch ? 'children' then
    for part, number, outcome, key, seq, at in
      select 5::smallint, c.number, c.outcome, c.key, c.seq, p_now
      from __CheckpointChildren(p_hub, p_batch -> 'children', p_bytes, p_keys, p_now, p_locked) c
    loop
      -- Whoever makes a hot row holds it.
      if outcome in (0, 1) then
        v_locked := v_locked || key;
      end if;
      return next;
    end loop;
  end if;
  if p_batch ? 'child_messages' then
    return query
      select 7::smallint, null::int, d.item, d.outcome, d.key, d.token, d.seq, d.at
      from __Deliver(p_hub, p_batch -> 'child_messages', p_bytes, p_now, p_worker, v_locked) d;
  end if;
  if p_batch ? 'child_terminations' then
    return query
      select 8::smallint, null::int, t.item, t.outcome, t.key, t.token, t.seq, t.at
      from __Terminate(p_hub, p_batch -> 'child_terminations', p_bytes, p_now, p_worker,
                       v_locked) t;
  end if;
end $$;

-- __CheckpointChildren: creates the children of committed turns. A child whose id belongs to a live
-- instance (or to an earlier child of this batch) is not created: its conflict message, if it has
-- one, goes into the inbox of its parent, p_keys[item], and "seq" is that message.
create or replace function __CheckpointChildren(p_hub int, p_children jsonb, p_bytes bytea[],
                                                p_keys bigint[], p_now timestamptz,
                                                p_locked bigint[])
returns table (number int, outcome smallint, key bigint, seq bigint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_bytes bytea[] := p_bytes;
  v_firsts int[];
  v_created int[];
  v_seqs bigint[];
  v_conflicts int[];
begin
  select array_agg(f.ord order by f.ord) into v_firsts
  from (select min(c.ord) as ord
        from rows from (jsonb_to_recordset(p_children) as (id text)) with ordinality c(id, ord)
        group by c.id) f;
  for number, outcome, key, seq in
    select v_firsts[n.item], n.outcome, n.key, n.seq
    from __InsertInstances(
      p_hub, (select jsonb_agg(p_children -> (f.ord - 1) order by f.ord)
              from unnest(v_firsts) f(ord)), p_bytes, p_now, p_locked) n
    where n.outcome in (0, 1, 2)
  loop
    v_created := v_created || number;
    return next;
  end loop;
  if coalesce(cardinality(v_created), 0) < jsonb_array_length(p_children) then
    with inserted as (
      insert into NewEvents (instance_key, visible_at, generation, event_type, event)
      select p_keys[(c.child ->> 'item')::int],
             greatest(p_now, __Time((c.child #>> '{conflict,at}')::bigint)),
             (c.child #>> '{conflict,generation}')::int, (c.child #>> '{conflict,type}')::smallint,
             v_bytes[(c.child #>> '{conflict,event}')::int]
      from jsonb_array_elements(p_children) with ordinality c(child, ord)
      where c.ord <> all (coalesce(v_created, '{}')) and c.child ? 'conflict'
      order by c.ord
      returning seq)
    select array_agg(n.seq) into v_seqs from inserted n;
    select array_agg(c.ord order by not c.child ? 'conflict', c.ord) into v_conflicts
    from jsonb_array_elements(p_children) with ordinality c(child, ord)
    where c.ord <> all (coalesce(v_created, '{}'));
    return query select c.ord, 3::smallint, null::bigint, c.seq
      from unnest(v_conflicts, v_seqs) c(ord, seq);
  end if;
end $$;

-- __CheckpointEnds: for committed items that end or begin the next generation (see
-- __EndOrchestrations and __EndGenerations). Those that release are freed later, by __FreeReleased,
-- when all messages are in.
create or replace function __CheckpointEnds(p_keys bigint[], p_generations int[], p_flags int[],
                                            p_outcomes smallint[], p_next_rows jsonb,
                                            p_bytes bytea[], p_now timestamptz)
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_bytes bytea[] := p_bytes;
  v_ended bigint[];
  v_next bigint[];
  v_next_generations int[];
begin
  select array_agg(c.key) filter (where c.flags & 1 = 1),
         array_agg(c.key) filter (where c.flags & 4 = 4),
         array_agg(c.generation) filter (where c.flags & 4 = 4)
    into v_ended, v_next, v_next_generations
  from unnest(p_keys, p_generations, p_flags, p_outcomes) c(key, generation, flags, outcome)
  where c.outcome = 0 and c.flags & 5 <> 0;
  if v_ended is not null then
    perform __EndOrchestrations(v_ended, p_now);
  end if;
  if v_next is not null then
    perform __EndGenerations(v_next, v_next_generations);
    update Instances i
      set execution_id = c.execution_id, generation = p_generations[c.item] + 1,
          version = v_bytes[c.version], input = v_bytes[c.input], input_payload = c.input_payload,
          saved_custom_status = v_bytes[c.saved_custom_status],
          orchestration_trace_context = null, last_updated_time = p_now
      from jsonb_to_recordset(p_next_rows)
        c(item int, execution_id text, version int, input int, input_payload uuid,
          saved_custom_status int)
      where i.instance_key = any (array[p_keys[c.item]]);
    perform __DropPayloads(v_next);
    -- Ids count from 0 again.
    update ReadyInstances r set inline_tasks = null
      where r.instance_key = any (v_next) and r.inline_tasks <> '{}';
    -- The new version may belong to other workers.
    update ReadyInstances r
      set version = coalesce(v_bytes[c.version], '')
      from jsonb_to_recordset(p_next_rows) c(item int, version int)
      where r.instance_key = any (array[p_keys[c.item]])
        and r.version <> coalesce(v_bytes[c.version], '');
  end if;
end $$;

-- __EndOrchestrations: takes out the hot rows, inboxes and free tasks of instances that end with a
-- turn. A recursive termination that came too late goes on to what is below. Caller holds their hot
-- rows.
create or replace function __EndOrchestrations(p_keys bigint[], p_now timestamptz) returns void
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_terminated bigint[];
  v_terminations bytea[];
begin
  delete from ReadyInstances r where r.instance_key = any (p_keys);
  with gone as (
    delete from NewEvents e where e.instance_key = any (p_keys)
    returning e.instance_key, e.event_type, e.event)
  select array_agg(g.instance_key), array_agg(g.event) into v_terminated, v_terminations
  from gone g where g.event_type = 5;  -- ExecutionTerminated
  delete from NewTasks t where t.instance_key = any (p_keys) and coalesce(t.lease_token, 0) = 0;
  if v_terminated is not null then
    perform __PassTerminations(v_terminated, v_terminations, p_now);
  end if;
end $$;

-- __EndGenerations: takes out the history, messages and free tasks of the generations that end
-- (parallel arrays). Messages without generation stay, and carried-over ones that no turn has been
-- given yet are carried on. Caller holds the hot rows.
create or replace function __EndGenerations(p_keys bigint[], p_generations int[]) returns void
language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  delete from History h where h.instance_key = any (p_keys);
  -- EventRaised (17) and ExecutionSuspended (21) are bound to a generation only when they were
  -- carried over into it. New numbers put them behind what this turn carries over.
  with old as (
    delete from NewEvents e using unnest(p_keys, p_generations) c(key, generation)
    where e.instance_key = any (array[c.key]) and e.generation <= c.generation
    returning e.instance_key, e.seq, c.generation + 1 as next_generation, e.event_type, e.event)
  insert into NewEvents (instance_key, visible_at, generation, event_type, event)
    select o.instance_key, '-infinity', o.next_generation, o.event_type, o.event
    from old o where o.event_type in (17, 21)
    order by o.seq;
  delete from NewTasks t using unnest(p_keys, p_generations) c(key, generation)
    where t.instance_key = any (array[c.key]) and t.generation <= c.generation
      and coalesce(t.lease_token, 0) = 0;
  -- Those that somebody runs keep the execution id that they were created under.
  update NewTasks t
    set execution_id = (select i.execution_id from Instances i
                        where i.instance_key = any (array[t.instance_key]))
    where t.instance_key = any (p_keys) and coalesce(t.execution_id, '') = '';
end $$;

-- __CheckpointUpdates: the visible changes of committed turns.
create or replace function __CheckpointUpdates(p_keys bigint[], p_tokens bigint[], p_turns bigint[],
                                               p_flags int[], p_updates jsonb, p_bytes bytea[],
                                               p_now timestamptz)
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_bytes bytea[] := p_bytes;
begin
  update Instances i
  set stored_status = u.status, last_updated_time = p_now,
      custom_status = case u.custom_status_kind when 1 then v_bytes[u.custom_status]
                      when 2 then null else i.custom_status end,
      orchestration_trace_context = case u.trace_kind when 1 then v_bytes[u.trace]
                      when 2 then null else i.orchestration_trace_context end,
      completed_time = case when p_flags[u.item] & 1 = 1 then p_now end,
      last_token = case when p_flags[u.item] & 1 = 1 then p_tokens[u.item] end,
      last_turn = case when p_flags[u.item] & 1 = 1 then p_turns[u.item] end,
      output = v_bytes[u.output], output_payload = u.output_payload, failure = v_bytes[u.failure]
  from jsonb_to_recordset(p_updates)
    u(item int, status smallint, custom_status_kind int, custom_status int, trace_kind int,
      trace int, output int, output_payload uuid, failure int)
  where i.instance_key = any (array[p_keys[u.item]]);
end $$;
