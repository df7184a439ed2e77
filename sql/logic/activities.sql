-- Activity tasks: claimed, completed, given back.

-- __PlaceDelayedTasks: gives the tasks of the hub that waited for a time which has come their
-- places among the free ones. Returns when the next one is due. Without such tasks one probe of an
-- index.
-- Locks: class 3, SKIP LOCKED.
create or replace function __PlaceDelayedTasks(p_hub int, p_now timestamptz) returns timestamptz
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_due timestamptz;
begin
  select t.ready_at into v_due from NewTasks t
    where t.hub_id = p_hub and t.lease_token is null and t.place is null
    order by t.ready_at limit 1;
  if v_due is null or v_due > p_now then
    return v_due;
  end if;
  update NewTasks t set place = t.ready_at
    from (select d.instance_key, d.task_key from NewTasks d
          where d.hub_id = p_hub and d.lease_token is null and d.place is null
            and d.ready_at <= p_now
          order by d.ready_at limit 1000
          for no key update skip locked) d
    where t.instance_key = any (array[d.instance_key]) and t.task_key = d.task_key;
  return (select t.ready_at from NewTasks t
          where t.hub_id = p_hub and t.lease_token is null and t.place is null
            and t.ready_at > p_now
          order by t.ready_at limit 1);
end $$;

-- __LockFreeTasks: locks up to p_max free tasks of the hub, by their places, whatever their names,
-- and returns their two keys, none = null.
create or replace function __LockFreeTasks(p_hub int, p_max int, p_excluded bigint[],
                                           out instances bigint[], out tasks bigint[])
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  select array_agg(c.instance_key), array_agg(c.task_key) into instances, tasks
  from (select t.instance_key, t.task_key from NewTasks t
        where t.hub_id = p_hub and t.lease_token is null and t.place is not null
          and t.task_key <> all (p_excluded)
        order by t.place, t.task_key limit p_max
        for no key update skip locked) c;
end $$;

-- __LockNamedTasks: as __LockFreeTasks, for the names and versions that filters accept: one probe
-- of the index for each, and for a name of any version one for each version that has free tasks
-- (see __LockNamedInstances).
create or replace function __LockNamedTasks(p_hub int, p_filters jsonb, p_max int,
                                            p_excluded bigint[], out instances bigint[],
                                            out tasks bigint[])
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_split record;
  v_names text[];
  v_versions bytea[];
  v_tried bigint[] := p_excluded;
  v_found record;
  v_locked record;
begin
  select * into v_split from __SplitFilters(p_filters);
  with recursive any_version as (
    select n.name, f.version
    from unnest(v_split.any_version) n(name)
    cross join lateral (
      select coalesce(t.version, '') as version from NewTasks t
      where t.hub_id = p_hub and lower(t.name) = n.name and t.lease_token is null
        and t.place is not null and t.task_key <> all (p_excluded)
      order by coalesce(t.version, ''), t.place, t.task_key limit 1) f
    union all
    select v.name, f.version
    from any_version v
    cross join lateral (
      select coalesce(t.version, '') as version from NewTasks t
      where t.hub_id = p_hub and lower(t.name) = v.name and coalesce(t.version, '') > v.version
        and t.lease_token is null and t.place is not null and t.task_key <> all (p_excluded)
      order by coalesce(t.version, ''), t.place, t.task_key limit 1) f)
  select array_agg(p.name), array_agg(p.version) into v_names, v_versions
  from (select v.name, v.version from any_version v
        union all
        select n.name, n.version from unnest(v_split.names, v_split.versions) n(name, version)) p;

  tasks := '{}';
  for v_round in 1 .. 3 loop
    select array_agg(c.instance_key) as instances, array_agg(c.task_key) as tasks into v_found
    from (select f.instance_key, f.task_key
          from unnest(v_names, v_versions) n(name, version)
          cross join lateral (
            select t.instance_key, t.task_key, t.place from NewTasks t
            where t.hub_id = p_hub and lower(t.name) = n.name
              and coalesce(t.version, '') = n.version and t.lease_token is null
              and t.place is not null and t.task_key <> all (v_tried)
            order by t.place, t.task_key limit p_max - cardinality(tasks)) f
          order by f.place, f.task_key limit p_max - cardinality(tasks)) c;
    exit when v_found.tasks is null;
    select array_agg(l.instance_key) as instances, array_agg(l.task_key) as tasks into v_locked
    from (select t.instance_key, t.task_key
          from unnest(v_found.instances, v_found.tasks) c(instance_key, task_key)
          join NewTasks t on t.instance_key = any (array[c.instance_key])
            and t.task_key = c.task_key
          where coalesce(t.lease_token, 0) = 0 and t.place is not null
          order by t.place, t.task_key for no key update of t skip locked) l;
    instances := instances || v_locked.instances;
    tasks := tasks || v_locked.tasks;
    exit when cardinality(v_locked.tasks) = cardinality(v_found.tasks);
    v_tried := v_tried || v_found.tasks;
  end loop;
end $$;

-- __TasksWithin: as __TurnsWithin, for tasks by their two keys and the bytes of their requests.
create or replace function __TasksWithin(p_instances bigint[], p_tasks bigint[], p_bytes bigint,
                                         p_first boolean, out instances bigint[],
                                         out tasks bigint[], out bytes bigint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  select array_agg(s.instance_key order by s.ord), array_agg(s.task_key order by s.ord),
         sum(s.bytes)
    into instances, tasks, bytes
  from (select c.instance_key, c.task_key, c.ord, w.bytes,
               sum(w.bytes) over (order by c.ord) as total
        from unnest(p_instances, p_tasks) with ordinality c(instance_key, task_key, ord)
        join NewTasks t on t.instance_key = any (array[c.instance_key])
          and t.task_key = c.task_key
        cross join lateral (select coalesce(__WholeLength(t.request), 0) as bytes) w) s
  where s.total <= p_bytes or (p_first and s.ord = 1);
end $$;

-- _LockNextTask: leases free tasks of the hub, by their places. Each group takes up to its own
-- "max": of what its filters accept, or without filters of everything. A row with key null is a
-- group: task_id its number, from 1; generation how many it took; due when the next task of the hub
-- becomes free, whatever its name, if there is one that waits for a time; more = the bytes of the
-- claim have cut it.
--   p_batch {token, groups: [{max, filters: [{name, versions}], excluded: keys of tasks that are
--            not taken}], total_bytes, repeat, again}
-- total_bytes: of all requests together, but for the first one; absent = no limit.
-- P0D02: the hub was deleted. Locks: class 3, SKIP LOCKED. Repeat: with "again" set, what the token
-- already holds is returned instead of something new; with "repeat" set, nothing new is ever taken.
create or replace function _LockNextTask(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (key bigint, instance_key bigint, generation int, instance_id text, task_id int,
               name text, version bytea, lost_leases smallint, request bytea, due timestamptz,
               execution_id text, more boolean)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_token bigint := p_batch ->> 'token';
  v_bytes_left bigint := coalesce(p_batch ->> 'total_bytes', '9223372036854775807');
  v_group record;
  v_taken record;
  v_within record;
  v_instances bigint[];
  v_keys bigint[];
  v_due timestamptz;
begin
  perform __RequireHub(p_hub);
  if p_batch ?| '{again,repeat}' then
    select array_agg(t.instance_key), array_agg(t.task_key) into v_instances, v_keys
    from NewTasks t where t.hub_id = p_hub and __Holds(t.lease_token, v_token);
  end if;
  if v_keys is null and not p_batch ? 'repeat' then
    v_due := __PlaceDelayedTasks(p_hub, v_now);
    for v_group in
      select g.ord, (g.item ->> 'max')::int as max, g.item -> 'filters' as filters,
             coalesce(g.item ->> 'excluded', '{}')::bigint[] as excluded
      from jsonb_array_elements(p_batch -> 'groups') with ordinality g(item, ord)
    loop
      if v_group.filters is null then
        select * into v_taken from __LockFreeTasks(p_hub, v_group.max, v_group.excluded);
      else
        select * into v_taken
        from __LockNamedTasks(p_hub, v_group.filters, v_group.max, v_group.excluded);
      end if;
      select * into v_within
      from __TasksWithin(v_taken.instances, v_taken.tasks, v_bytes_left, v_keys is null);
      if v_within.tasks is not null then
        update NewTasks t set lease_token = v_token
        from unnest(v_within.instances, v_within.tasks) c(instance_key, task_key)
        where t.instance_key = any (array[c.instance_key]) and t.task_key = c.task_key;
        v_instances := v_instances || v_within.instances;
        v_keys := v_keys || v_within.tasks;
        v_bytes_left := v_bytes_left - v_within.bytes;
      end if;
      return query
        select null::bigint, null::bigint, coalesce(cardinality(v_within.tasks), 0), null,
               v_group.ord::int, null, null::bytea, null::smallint, null::bytea, v_due, null,
               coalesce(cardinality(v_within.tasks), 0) < coalesce(cardinality(v_taken.tasks), 0);
    end loop;
  end if;
  if v_keys is not null then
    return query
      select t.task_key, t.instance_key, t.generation, i.instance_id, t.task_id, t.name, t.version,
             t.lost_leases, __Read(t.instance_key, t.request), null::timestamptz,
             coalesce(t.execution_id, i.execution_id), null::boolean
      from unnest(v_instances, v_keys) with ordinality c(instance_key, task_key, ord)
      join NewTasks t on t.instance_key = any (array[c.instance_key]) and t.task_key = c.task_key
      left join Instances i on i.instance_key = any (array[t.instance_key])
      order by c.ord;
  end if;
end $$;

-- _CompleteTasks: tasks out, their results into the inboxes of their parents. One row per item:
-- outcome 0 ok, 1 lease lost (nothing changed), 2 instance gone (the task is deleted).
--   p_batch {worker, and columns (arrays in text form): task, token, key, generation,
--            message_generation, at, type, event; payloads: see __StorePayloads;
--            task_id, instance_token: columns, where some may be inline: the lease of its instance
--            under which a task is one, if it has no row; else null}
-- Locks: hot rows of the parents by key; then the tasks by key. Repeat: the second time is "lease
-- lost".
-- Over 70 lines: a call more would cost a result that comes alone 6 % (README.md, "Names of
-- functions").
create or replace function _CompleteTasks(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, outcome smallint, token bigint, seq bigint, at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_worker bigint := p_batch ->> 'worker';
  v_keys bigint[] := p_batch ->> 'key';
  v_tasks bigint[] := p_batch ->> 'task';
  v_tokens bigint[] := p_batch ->> 'token';
  v_generations int[] := p_batch ->> 'generation';
  v_at bigint[] := p_batch ->> 'at';
  v_bytes bytea[] := p_bytes;
  v_message_generations int[] := p_batch ->> 'message_generation';
  v_types smallint[] := p_batch ->> 'type';
  v_events int[] := p_batch ->> 'event';
  v_deleted int[];
  v_live int[];
  v_live_tokens bigint[];
  v_instance_tokens bigint[] := p_batch ->> 'instance_token';
  v_inline int[];
  v_locked bigint[];
  v_foreign boolean;
  v_seqs bigint[];
  v_outcomes smallint[];
begin
  select coalesce(array_agg(l.instance_key), '{}') into v_locked
  from (select r.instance_key from ReadyInstances r where r.instance_key = any (v_keys)
        order by r.instance_key for no key update) l;

  if v_instance_tokens is not null then
    v_inline := __EndInlineTasks(v_keys, (p_batch ->> 'task_id')::int[], v_instance_tokens);
  end if;
  if cardinality(v_inline) is distinct from cardinality(v_keys) then
    select * into v_deleted, v_live, v_live_tokens, v_foreign
    from __EndStoredTasks(v_keys, v_tasks, v_tokens, v_generations, v_worker, v_locked);
  end if;
  if v_inline is not null then
    v_deleted := v_deleted || v_inline;
    v_live := v_live || v_inline;
    v_live_tokens := v_live_tokens
      || array(select v_instance_tokens[i.ord] from unnest(v_inline) i(ord));
    v_foreign := coalesce(v_foreign, false)
      or exists (select from unnest(v_inline) i(ord)
                 where v_instance_tokens[i.ord] >> 40 <> v_worker);
  end if;

  if v_live is not null then
    if p_batch ? 'payloads' then
      perform __StorePayloads((select array_agg(case when n.ord = any (v_live) then n.key end
                                                order by n.ord)
                               from unnest(v_keys) with ordinality n(key, ord)),
                              p_batch -> 'payloads', p_bytes);
    end if;
    with inserted as (
      insert into NewEvents (instance_key, visible_at, generation, event_type, event)
      select v_keys[l.ord], greatest(v_now, __Time(v_at[l.ord])), v_message_generations[l.ord],
             v_types[l.ord], v_bytes[v_events[l.ord]]
      from unnest(v_live) l(ord)
      returning seq)
    select array_agg(n.seq) into v_seqs from inserted n;
    if v_foreign then
      perform __WakeInstances((select array_agg(v_keys[l.ord]) from unnest(v_live) l(ord)),
                              (select array_agg(greatest(v_now, __Time(v_at[l.ord])))
                               from unnest(v_live) l(ord)), v_worker);
    end if;
  end if;
  if cardinality(v_live) = cardinality(v_keys) then
    return query select l.ord::int, 0::smallint, l.token, l.seq,
             greatest(v_now, __Time(v_at[l.ord]))
      from unnest(v_live, v_live_tokens, v_seqs) l(ord, token, seq);
    return;
  end if;
  v_outcomes := array_fill(1::smallint, array[cardinality(v_keys)]);
  for v_index in 1 .. coalesce(cardinality(v_deleted), 0) loop
    v_outcomes[v_deleted[v_index]] := 2;
  end loop;
  for v_index in 1 .. coalesce(cardinality(v_live), 0) loop
    v_outcomes[v_live[v_index]] := 0;
  end loop;
  return query
    select c.ord::int, c.outcome, l.token, l.seq, greatest(v_now, __Time(v_at[c.ord]))
    from unnest(v_outcomes) with ordinality c(outcome, ord)
    left join unnest(v_live, v_live_tokens, v_seqs) l(ord, token, seq) on l.ord = c.ord;
end $$;

-- __EndStoredTasks: the part of _CompleteTasks for those that have a row: takes them out. deleted:
-- their positions; live: those whose parents live in the generation of the task, and live_tokens
-- the leases of these, alike; is_foreign: whether a parent is not leased by p_worker. Null = none.
-- Locks: class 3 by key. Caller holds the hot rows p_locked; the call is repeated if that is not
-- all.
create or replace function __EndStoredTasks(p_keys bigint[], p_tasks bigint[], p_tokens bigint[],
                                            p_generations int[], p_worker bigint, p_locked bigint[],
                                            out deleted int[], out live int[],
                                            out live_tokens bigint[], out is_foreign boolean)
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_unlocked bigint;
begin
  -- By key: hot rows do not order those whose instances have ended. One probe of the primary key
  -- each, in the order of the sorted list.
  with parents as materialized (  -- each once, for all of its tasks
    select r.instance_key, r.generation, r.lease_token from ReadyInstances r
    where r.instance_key = any (p_keys)),
  ended as (
    delete from NewTasks t
    using (select * from unnest(p_keys, p_tasks, p_tokens, p_generations) with ordinality
             u(key, task, token, generation, ord) order by u.key, u.task) c
    where t.instance_key = any (array[c.key]) and t.task_key = c.task
      and __Holds(t.lease_token, c.token)
    returning c.ord, c.key, c.generation)
  select array_agg(e.ord),
         array_agg(e.ord order by e.ord) filter (where p.instance_key is not null),
         array_agg(p.lease_token order by e.ord) filter (where p.instance_key is not null),
         bool_or(p.lease_token is null or p.lease_token >> 40 <> p_worker)
           filter (where p.instance_key is not null),
         max(p.instance_key) filter (where p.instance_key <> all (p_locked))
    into deleted, live, live_tokens, is_foreign, v_unlocked
  from ended e
  left join parents p on p.instance_key = e.key and p.generation = e.generation;

  if cardinality(deleted) > coalesce(cardinality(live), 0) then
    -- Some have no live parent in the snapshot of that statement. A rewind, which locks the tasks,
    -- may have committed meanwhile: looked at once more.
    select coalesce(v_unlocked, max(r.instance_key)) into v_unlocked
    from unnest(deleted) d(ord)
    join ReadyInstances r on r.instance_key = any (array[p_keys[d.ord]])
      and r.generation = p_generations[d.ord]
    where r.instance_key <> all (p_locked);
  end if;
  if v_unlocked is not null then
    perform __RepeatCall(v_unlocked);
  end if;
end $$;

-- _AbandonTasks: gives leased tasks back, free after "delay" microseconds; without a delay they
-- have their old places again. One row per item: outcome
-- 0 released, 1 lease lost.
--   p_batch {items: [{key, task, token, delay, lost, task_id, instance_token}], inline}; "lost" is
--           left out when it is false, the last two where the task surely has a row (see
--           _CompleteTasks), "inline" where all have
-- Locks: hot rows of inline tasks by key; class 3 by key. Repeat: the second time is "lease lost".
create or replace function _AbandonTasks(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, outcome smallint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_released bigint[];
  v_inline int[];
begin
  if p_batch ? 'inline' then
    v_inline := __AbandonInlineTasks(p_batch -> 'items', v_now);
  end if;
  perform 1
  from NewTasks t
  join jsonb_to_recordset(p_batch -> 'items') c(key bigint, task bigint, token bigint)
    on t.instance_key = any (array[c.key]) and t.task_key = c.task
      and __Holds(t.lease_token, c.token)
  order by c.key, c.task for no key update of t;
  with released as (
    update NewTasks t
    set lease_token = null, ready_at = v_now + c.delay * interval '1 microsecond',
        place = case when c.delay > 0 then null else t.place end,
        lost_leases = least(t.lost_leases + coalesce(c.lost, false)::int, 32767)
    from jsonb_to_recordset(p_batch -> 'items')
      c(key bigint, task bigint, token bigint, delay bigint, lost boolean)
    where t.instance_key = any (array[c.key]) and t.task_key = c.task
      and __Holds(t.lease_token, c.token)
    returning t.task_key)
  select array_agg(r.task_key) into v_released from released r;
  return query
    select c.ord::int,
           (case when c.task = any (v_released) or c.ord = any (v_inline)
                 then 0 else 1 end)::smallint
    from rows from (jsonb_to_recordset(p_batch -> 'items') as (task bigint)) with ordinality
      c(task, ord);
end $$;

-- __AbandonInlineTasks: the part of _AbandonTasks for those that have no row: they get free ones.
-- Returns the positions of those that were inline.
create or replace function __AbandonInlineTasks(p_items jsonb, p_now timestamptz) returns int[]
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_keys bigint[];
  v_ids int[];
  v_tokens bigint[];
  v_free_from timestamptz[];
  v_lost int[];
  v_found int[];
begin
  select array_agg(c.key order by c.ord), array_agg(c.task_id order by c.ord),
         array_agg(c.instance_token order by c.ord),
         array_agg(case when c.delay > 0 then p_now + c.delay * interval '1 microsecond' end
                   order by c.ord),
         array_agg(coalesce(c.lost, false)::int order by c.ord)
    into v_keys, v_ids, v_tokens, v_free_from, v_lost
  from rows from (jsonb_to_recordset(p_items) as (key bigint, task_id int, instance_token bigint,
                                                  delay bigint, lost boolean))
    with ordinality c(key, task_id, instance_token, delay, lost, ord);
  perform 1 from ReadyInstances r where r.instance_key = any (v_keys)
    order by r.instance_key for no key update;
  v_found := __FindInlineTasks(v_keys, v_ids, v_tokens);
  perform __StoreInlineTasks(array_agg(v_keys[f.ord]), array_agg(v_ids[f.ord]),
                             array_agg(null::bigint), array_agg(null::bigint),
                             array_agg(v_lost[f.ord]), array_agg(v_free_from[f.ord]))
  from unnest(v_found) f(ord)
  having count(*) > 0;
  return v_found;
end $$;
