-- Inline tasks: activity tasks without a row in NewTasks. A daemon that runs an activity at once,
-- under the lease that it has on the instance anyway, spares the row: the hot row names the task
-- (inline_tasks, ranges of ids), and the turn's history says what it is. Most such tasks end before
-- anybody else could want to know of them. Whoever gives up the lease of the instance makes rows of
-- those that are left, so that an inline task exists only under a lease.

-- __IdRange: one id as a multirange; null = none. __IdsIn: the ids in a multirange, in order.
create or replace function __IdRange(p_id int) returns int4multirange
language sql immutable parallel safe
return case when p_id is null then '{}'::int4multirange
            else int4multirange(int4range(p_id, p_id, '[]')) end;

-- __InlineAfter: the inline tasks after a turn that ends one of them and begins others, in text
-- form; null = none. Most turns have one task, which follows another. Stable like the cast of a
-- text, else it would not become a part of the statement.
create or replace function __InlineAfter(p_tasks int4multirange, p_done int, p_new text)
returns int4multirange language sql stable parallel safe
return case when p_done is null and p_new is null then p_tasks
            when p_tasks = __IdRange(p_done) then p_new::int4multirange
            else coalesce(p_tasks - __IdRange(p_done), '{}')
                 + coalesce(p_new::int4multirange, '{}') end;

create or replace function __IdsIn(p_ids int4multirange) returns setof int
language plpgsql immutable strict parallel safe set search_path from current as $$
begin
  return query select i.id from unnest(p_ids) r(ids)
    cross join generate_series(lower(r.ids), upper(r.ids) - 1) i(id);
end $$;

-- __ScheduledTasks: what a chunk of history says of the activities with these ids: an event
-- TaskScheduled (6) in HistoryEvent (1 = the id), with name (1), version (2), input (3),
-- parentTraceContext (4), tags (5). "request" is the ActivityRequest that tasks are stored with:
-- version (2), input (3), parentTraceContext (6), tags (7). One pass over the bytes, since a dead
-- daemon may leave thousands of tasks. Over 70 lines: one loop, since a call for each field of each
-- event would cost a multiple of the rest.
create or replace function __ScheduledTasks(p_chunk bytea, p_ids int[])
returns table (task_id int, name text, version bytea, request bytea)
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  -- A copy in memory: a compressed or long value would be read whole for every byte.
  v_chunk bytea := p_chunk || '';
  v_at int := 0;
  v_total int := length(v_chunk);
  v_event_end int := 0;  -- of the event that is read
  v_body_end int := 0;   -- of its TaskScheduled, if that is read
  v_start int;
  v_tag int;
  v_number bigint;
  v_shift int;
begin
  while v_at < v_total loop
    -- A field: its tag, and its number or its length.
    v_start := v_at;
    v_tag := get_byte(v_chunk, v_at);
    v_at := v_at + 1;
    if v_tag > 127 then  -- no event has a field above 30
      v_tag := (v_tag & 127) | (get_byte(v_chunk, v_at) << 7);
      v_at := v_at + 1;
    end if;
    v_number := get_byte(v_chunk, v_at);
    v_at := v_at + 1;
    if v_number > 127 then
      v_number := v_number & 127;
      v_shift := 7;
      loop
        v_number := v_number | ((get_byte(v_chunk, v_at) & 127)::bigint << v_shift);
        v_at := v_at + 1;
        v_shift := v_shift + 7;
        exit when get_byte(v_chunk, v_at - 1) < 128;
      end loop;
    end if;

    if v_start >= v_event_end then  -- an event
      v_event_end := v_at + v_number;
      task_id := 0;
    elsif v_start >= v_body_end then  -- a field of it
      if v_tag = 8 then
        task_id := v_number;
      elsif v_tag = 50 and task_id = any (p_ids) then
        v_body_end := v_at + v_number;
        name := '';
        version := null;
        request := '';
      elsif v_tag & 7 = 2 then
        v_at := v_at + v_number;
      end if;
    else  -- a field of its TaskScheduled
      v_at := v_at + v_number;
      case v_tag
        when 10 then
          name := convert_from(substr(v_chunk, v_at - v_number::int + 1, v_number::int), 'UTF8');
        when 18 then
          version := coalesce(
            __PbField(substr(v_chunk, v_at - v_number::int + 1, v_number::int), 1), '');
          request := request || substr(v_chunk, v_start + 1, v_at - v_start);
        when 26 then request := request || substr(v_chunk, v_start + 1, v_at - v_start);
        when 34 then request := request || E'\\x32'::bytea
                                || substr(v_chunk, v_start + 2, v_at - v_start - 1);
        when 42 then request := request || E'\\x3a'::bytea
                                || substr(v_chunk, v_start + 2, v_at - v_start - 1);
        else null;
      end case;
    end if;
    if v_body_end > 0 and v_at >= v_body_end then
      v_body_end := 0;
      return next;
    end if;
  end loop;
exception when data_exception then
  -- A history that is no message: what was found so far. Whoever frees leases must not stop at it.
end $$;

-- __StoreInlineTasks: makes rows of inline tasks. Parallel arrays: the instances, the ids of their
-- tasks, the keys of the rows (null = new ones), their leases (null = free), how many leases they
-- have lost, and from when on they are free (null = at once). Those that are not inline are passed
-- over. Caller holds the hot rows. Locks: nothing but rows that it adds. Repeat: yes.
create or replace function __StoreInlineTasks(p_keys bigint[], p_ids int[], p_task_keys bigint[],
                                              p_tokens bigint[], p_lost int[],
                                              p_free_from timestamptz[])
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_last boolean;
begin
  -- Most were scheduled by the last turn. The others are looked for in all of the history.
  foreach v_last in array '{t,f}'::boolean[] loop
    with left_over as (
      select u.key, u.id, u.task_key, u.token, u.lost, u.free_from, r.turn, r.hub_id, r.generation,
             r.version
      from unnest(p_keys, p_ids, p_task_keys, p_tokens, p_lost, p_free_from)
        u(key, id, task_key, token, lost, free_from)
      join ReadyInstances r on r.instance_key = any (array[u.key])
      where r.inline_tasks @> u.id),
    found as materialized (
      select l.key, h.committed_time, s.task_id, s.name, s.version, s.request
      from (select o.key, min(o.turn) as turn, array_agg(o.id) as ids from left_over o
            group by o.key) l
      join History h on h.instance_key = any (array[l.key]) and (not v_last or h.turn = l.turn)
      cross join lateral __ScheduledTasks(__Read(l.key, h.events), l.ids) s),
    stored as (
      insert into NewTasks (instance_key, task_key, hub_id, generation, task_id, name, version,
                            request, lease_token, lost_leases, ready_at, place)
        overriding system value
      select l.key, coalesce(l.task_key, nextval('newtasks_task_key_seq')), l.hub_id, l.generation,
             l.id, f.name,
             -- Without one, that of its orchestration (RULES.md 9.6).
             coalesce(f.version, nullif(l.version, '')),
             f.request, l.token, l.lost,
             coalesce(l.free_from, f.committed_time),
             case when l.free_from is null then f.committed_time end
      from left_over l
      join found f on f.key = l.key and f.task_id = l.id
      order by l.key, l.id
      returning instance_key, task_id)
    update ReadyInstances r
      set inline_tasks = r.inline_tasks - s.ids
    from (select n.instance_key, range_agg(int4range(n.task_id, n.task_id, '[]')) as ids
          from stored n group by 1) s
    where r.instance_key = any (array[s.instance_key]);
  end loop;
end $$;

-- __KeepInlineTasks: makes leased rows of the inline tasks that a checkpoint names (kept_*), of its
-- committed items; p_outcomes null: of all. As __StoreInlineTasks.
create or replace function __KeepInlineTasks(p_keys bigint[], p_outcomes smallint[], p_batch jsonb)
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  perform __StoreInlineTasks(array_agg(p_keys[c.item]), array_agg(c.id), array_agg(c.task),
                             array_agg(c.token), array_agg(0), array_agg(null::timestamptz))
  from unnest((p_batch ->> 'kept_item')::int[], (p_batch ->> 'kept_id')::int[],
              (p_batch ->> 'kept_task')::bigint[], (p_batch ->> 'kept_token')::bigint[])
    c(item, id, task, token)
  where coalesce(p_outcomes[c.item], 0) = 0
  having count(*) > 0;
end $$;

-- __FreeInlineTasks: makes free rows of all inline tasks of these instances. With p_lost = 1 each
-- counts as lost once: no daemon has lost it before. As __StoreInlineTasks.
create or replace function __FreeInlineTasks(p_keys bigint[], p_lost int) returns void
language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  perform __StoreInlineTasks(array_agg(r.instance_key), array_agg(i.id), array_agg(null::bigint),
                             array_agg(null::bigint), array_agg(p_lost),
                             array_agg(null::timestamptz))
  from ReadyInstances r cross join __IdsIn(r.inline_tasks) i(id)
  where r.instance_key = any (p_keys)
  having count(*) > 0;
end $$;

-- __FindInlineTasks: which of these are inline tasks now, under these leases of their instances:
-- positions in the arrays, in order; null = none. One that is named twice is found once.
-- __EndInlineTasks: the same, and they are no more. Callers hold the hot rows.
create or replace function __FindInlineTasks(p_keys bigint[], p_ids int[], p_leases bigint[])
returns int[] language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  return (
    with held as materialized (  -- each once, for all of its tasks
      select r.instance_key, r.lease_token, r.inline_tasks from ReadyInstances r
      where r.instance_key = any (p_keys))
    select array_agg(f.ord order by f.ord)
    from (select min(u.ord)::int as ord
          from unnest(p_keys, p_ids, p_leases) with ordinality u(key, id, lease, ord)
          join held r on r.instance_key = u.key and __Holds(r.lease_token, u.lease)
          where r.inline_tasks @> u.id
          group by u.key, u.id) f);
end $$;

create or replace function __EndInlineTasks(p_keys bigint[], p_ids int[], p_leases bigint[])
returns int[] language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_found int[] := __FindInlineTasks(p_keys, p_ids, p_leases);
begin
  update ReadyInstances r
    set inline_tasks = r.inline_tasks - c.ids
  from (select p_keys[f.ord] as key,
               range_agg(int4range(p_ids[f.ord], p_ids[f.ord], '[]')) as ids
        from unnest(v_found) f(ord)
        group by 1) c
  where r.instance_key = any (array[c.key]);
  return v_found;
end $$;
