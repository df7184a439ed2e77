-- Orchestrations on their way: claimed, checkpointed, given back. Lock order: README.md.
--
-- Flags and outcomes are numbers of storage/records.h: DeliveryOutcome, CreateOutcome,
-- CheckpointOutcome, RuntimeStatus.

-- __WakeInstances: after messages were added to these instances (parallel arrays): a free instance
-- becomes ready no later than its message, one that is held (not_before = infinity) only by a
-- message that ends that, see __EndsHold; the holder of a lease, unless it is the caller, is told
-- to read its inbox. Caller holds the hot rows' locks.
create or replace function __WakeInstances(p_keys bigint[], p_at timestamptz[], p_worker bigint)
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  update ReadyInstances r
  set next_due = case when r.lease_token is null
                      then least(r.next_due, greatest(m.at, nullif(r.not_before, 'infinity')))
                      else r.next_due end,
      not_before = nullif(r.not_before, 'infinity'),
      owner_wake = case when r.lease_token is null then null else least(r.owner_wake, m.at) end
  from (select n.key, min(n.at) as at from unnest(p_keys, p_at) n(key, at) group by n.key) m
  where r.instance_key = any (array[m.key])
    and case when r.lease_token is null
             then (r.not_before is distinct from 'infinity' or __EndsHold(m.key))
                  and (r.next_due is null or r.next_due > greatest(m.at, r.not_before))
             else r.lease_token >> 40 is distinct from p_worker
                  and (r.owner_wake is null or r.owner_wake > m.at) end;
end $$;

-- __EndsHold: whether a message for this instance waits that goes on with what is held. A suspended
-- orchestration is held until it is resumed or terminated: ExecutionTerminated (5) or
-- ExecutionResumed (22). An entity is held until a message comes in front of all (RULES.md 7.24):
-- EntityLockGranted (28), EntityUnlockSent (29), or what the holder of its lock asks.
create or replace function __EndsHold(p_key bigint) returns boolean
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  return exists (select from NewEvents e where e.instance_key = p_key
                 and (e.event_type in (5, 22)
                      or (e.event_type in (23, 24, 28, 29) and e.visible_at = '-infinity')));
end $$;

-- __FreeInstances: gives up the leases of these instances and recomputes when they are due, by a
-- statement of its own, so that it sees every message. Inline tasks get free rows. Caller holds the
-- hot rows' locks.
--   p_not_before  per instance: back-off, null = none; infinity: until it is resumed or terminated
--   p_lost        per instance: 1 adds to lost_leases
create or replace function __FreeInstances(p_keys bigint[], p_not_before timestamptz[],
                                           p_lost int[])
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  if exists (select from ReadyInstances r
             where r.instance_key = any (p_keys) and r.inline_tasks <> '{}') then
    perform __FreeInlineTasks(p_keys, 0);
  end if;
  update ReadyInstances r
  set lease_token = null, owner_wake = null, inline_tasks = null, not_before = f.not_before,
      lost_leases = least(r.lost_leases + f.lost, 32767),
      -- greatest() ignores nulls, but an empty inbox is never due, whatever the back-off.
      next_due = case when f.due is not null and f.not_before is distinct from 'infinity'
                      then greatest(f.due, f.not_before) end
  from (select n.key, n.lost,
               case when n.not_before is distinct from 'infinity' or not __EndsHold(n.key)
                    then n.not_before end as not_before,
               (select min(e.visible_at) from NewEvents e where e.instance_key = n.key) as due
        from unnest(p_keys, p_not_before, p_lost) n(key, not_before, lost)) f
  where r.instance_key = any (array[f.key]);
end $$;

-- __LockFreeInstances: locks up to p_max due instances of the hub and kind, earliest first,
-- whatever their names. keys: those, none = null; next_due: when nothing is due, the time when
-- something is. The first probe of the index is the whole of an idle poll.
create or replace function __LockFreeInstances(p_hub int, p_kind smallint, p_max int,
                                               p_excluded bigint[], p_now timestamptz,
                                               out keys bigint[], out next_due timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  select r.next_due into next_due from ReadyInstances r
    where r.hub_id = p_hub and r.kind = p_kind and r.lease_token is null
      and r.next_due is not null and r.instance_key <> all (p_excluded)
    order by r.next_due limit 1;
  if next_due <= p_now then
    next_due := null;
    select array_agg(c.instance_key) into keys
    from (select r.instance_key from ReadyInstances r
          where r.hub_id = p_hub and r.kind = p_kind and r.lease_token is null
            and r.next_due is not null and r.next_due <= p_now
            and r.instance_key <> all (p_excluded)
          order by r.next_due limit p_max
          for no key update skip locked) c;
  end if;
end $$;

-- __SplitFilters: filters as pairs of a name and an accepted version, and names of which any
-- version is accepted. An absent version is the same as an empty one.
--   p_filters [{name, versions}], names in lower case
create or replace function __SplitFilters(p_filters jsonb, out names text[], out versions bytea[],
                                          out any_version text[])
language plpgsql immutable set search_path from current as $$
begin
  select array_agg(f.name) filter (where v.version is not null),
         array_agg(convert_to(v.version, 'UTF8')) filter (where v.version is not null),
         array_agg(f.name) filter (where v.version is null)
    into names, versions, any_version
  from jsonb_to_recordset(p_filters) f(name text, versions text[])
  left join lateral unnest(f.versions) v(version) on true;
end $$;

-- __LockNamedInstances: as __LockFreeInstances, for the names and versions that filters accept: one
-- probe of the index for each, and for a name of any version one for each version that has free
-- instances. Work that no filter accepts costs nothing.
-- Over 70 lines: a call more would cost an idle poll 7 % (README.md, "Names of functions").
create or replace function __LockNamedInstances(p_hub int, p_kind smallint, p_filters jsonb,
                                                p_max int, p_excluded bigint[], p_now timestamptz,
                                                out keys bigint[], out next_due timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_split record;
  v_names text[];
  v_versions bytea[];
  v_tried bigint[] := p_excluded;
  v_found bigint[];
  v_locked bigint[];
begin
  select * into v_split from __SplitFilters(p_filters);
  with recursive any_version as (
    -- The earliest of the first version, then of the next one, and so on.
    select n.name, f.version, f.next_due
    from unnest(v_split.any_version) n(name)
    cross join lateral (
      select r.version, r.next_due from ReadyInstances r
      where r.hub_id = p_hub and r.kind = p_kind and r.lower_name = n.name
        and r.lease_token is null and r.next_due is not null
        and r.instance_key <> all (p_excluded)
      order by r.version, r.next_due limit 1) f
    union all
    select v.name, f.version, f.next_due
    from any_version v
    cross join lateral (
      select r.version, r.next_due from ReadyInstances r
      where r.hub_id = p_hub and r.kind = p_kind and r.lower_name = v.name
        and r.version > v.version and r.lease_token is null and r.next_due is not null
        and r.instance_key <> all (p_excluded)
      order by r.version, r.next_due limit 1) f)
  select array_agg(p.name) filter (where p.next_due <= p_now),
         array_agg(p.version) filter (where p.next_due <= p_now),
         min(p.next_due) filter (where p.next_due > p_now)
    into v_names, v_versions, next_due
  from (select v.name, v.version, v.next_due from any_version v
        union all
        select n.name, n.version, f.next_due
        from unnest(v_split.names, v_split.versions) n(name, version)
        cross join lateral (
          select r.next_due from ReadyInstances r
          where r.hub_id = p_hub and r.kind = p_kind and r.lower_name = n.name
            and r.version = n.version and r.lease_token is null and r.next_due is not null
            and r.instance_key <> all (p_excluded)
          order by r.next_due limit 1) f) p;
  if v_names is null then
    return;
  end if;

  -- Found first and locked then: locked while they are found, up to p_max rows of every name would
  -- be. Those that somebody else has locked are left to him, and others are looked for.
  keys := '{}';
  for v_round in 1 .. 3 loop
    select array_agg(c.instance_key) into v_found
    from (select f.instance_key
          from unnest(v_names, v_versions) n(name, version)
          cross join lateral (
            select r.instance_key, r.next_due from ReadyInstances r
            where r.hub_id = p_hub and r.kind = p_kind and r.lower_name = n.name
              and r.version = n.version and r.lease_token is null and r.next_due is not null
              and r.next_due <= p_now and r.instance_key <> all (v_tried)
            order by r.next_due limit p_max - cardinality(keys)) f
          order by f.next_due limit p_max - cardinality(keys)) c;
    exit when v_found is null;
    select array_agg(l.instance_key) into v_locked
    from (select r.instance_key from ReadyInstances r
          where r.instance_key = any (v_found) and coalesce(r.lease_token, 0) = 0
            and r.next_due <= p_now
          order by r.next_due for no key update skip locked) l;
    keys := keys || v_locked;
    exit when cardinality(v_locked) = cardinality(v_found);
    v_tried := v_tried || v_found;
  end loop;
end $$;

-- __TurnsWithin: the first of these instances, in their order, whose next turns read p_bytes
-- together at most, and how many that are; with p_first, the first whatever it reads. None = null.
create or replace function __TurnsWithin(p_keys bigint[], p_until timestamptz, p_max_messages int,
                                         p_bytes bigint, p_first boolean,
                                         out keys bigint[], out bytes bigint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  select array_agg(s.key order by s.ord), sum(s.bytes) into keys, bytes
  from (select c.key, c.ord, w.bytes, sum(w.bytes) over (order by c.ord) as total
        from unnest(p_keys) with ordinality c(key, ord)
        cross join lateral (
          select coalesce(sum(l.length), 0) as bytes
          from ((select __WholeLength(e.event) as length from NewEvents e
                 where e.instance_key = c.key and e.visible_at <= p_until
                 order by e.visible_at, e.seq limit p_max_messages)
                union all
                select __WholeLength(h.events) from History h where h.instance_key = c.key) l) w) s
  where s.total <= p_bytes or (p_first and s.ord = 1);
end $$;

-- _LockNextOrchestration: leases due instances of the hub, earliest first, and reads what their
-- next turn needs. Each group takes up to its own "max": of what its filters accept, or without
-- filters of everything. Rows by "part": 0 an instance, 1 a message of it (due ones, in inbox
-- order), 2 a chunk of its history, 4 what an entity has beside that (data = state, number = the
-- key of who holds it locked, name = his instance id, execution_id his execution that does, null =
-- it has ended, instance_id = the critical section), 3 a group (number, from 1; count = how many it
-- took; due = when the next free instance for it is due, where that is known; more = the bytes of
-- the claim have cut it). Of an instance, "due" is its earliest message that was not read, and
-- "more" tells that the limits cut due ones.
--   p_batch {token, kind, groups: [{max, filters: [{name, versions}], excluded: keys that are not
--            taken}], max_messages, max_bytes, total_bytes, repeat, again}
-- total_bytes: of all messages and chunks together, but for the first instance; absent = no limit.
-- P0D02: the hub was deleted. Locks: hot rows, SKIP LOCKED. Repeat: with "again" set, what the
-- token already holds is returned instead of something new; with "repeat" set, nothing new is ever
-- taken.
-- Over 70 lines: a call more would cost an idle poll 7 % (README.md, "Names of functions").
create or replace function _LockNextOrchestration(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (part smallint, key bigint, number bigint, generation int, type int, count int,
               due timestamptz, data bytea, instance_id text, execution_id text, name text,
               version bytea, status smallint, custom_status bytea, saved_custom_status bytea,
               trace_context bytea, parent_key bigint, parent_generation int, parent_task_id int,
               parent_instance_id text, lost_leases smallint, more boolean)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_token bigint := p_batch ->> 'token';
  v_kind smallint := p_batch ->> 'kind';
  v_max_messages int := p_batch ->> 'max_messages';
  v_max_bytes bigint := p_batch ->> 'max_bytes';
  v_bytes_left bigint := coalesce(p_batch ->> 'total_bytes', '9223372036854775807');
  v_group record;
  v_taken record;
  v_within record;
  v_keys bigint[];
begin
  perform __RequireHub(p_hub);
  if p_batch ?| '{again,repeat}' then
    select array_agg(r.instance_key) into v_keys
    from ReadyInstances r where r.hub_id = p_hub and __Holds(r.lease_token, v_token);
  end if;
  if v_keys is null and not p_batch ? 'repeat' then
    part := 3;
    for v_group in
      select g.ord, (g.item ->> 'max')::int as max, g.item -> 'filters' as filters,
             coalesce(g.item ->> 'excluded', '{}')::bigint[] as excluded
      from jsonb_array_elements(p_batch -> 'groups') with ordinality g(item, ord)
    loop
      if v_group.filters is null then
        select * into v_taken
        from __LockFreeInstances(p_hub, v_kind, v_group.max, v_group.excluded, v_now);
      else
        select * into v_taken
        from __LockNamedInstances(p_hub, v_kind, v_group.filters, v_group.max, v_group.excluded,
                                  v_now);
      end if;
      select * into v_within
      from __TurnsWithin(v_taken.keys, v_now, v_max_messages, v_bytes_left, v_keys is null);
      if v_within.keys is not null then
        update ReadyInstances r
        set lease_token = v_token, next_due = null, not_before = null, owner_wake = null
        where r.instance_key = any (v_within.keys);
        v_keys := v_keys || v_within.keys;
        v_bytes_left := v_bytes_left - v_within.bytes;
      end if;
      number := v_group.ord;
      count := coalesce(cardinality(v_within.keys), 0);
      due := v_taken.next_due;
      more := count < coalesce(cardinality(v_taken.keys), 0);
      return next;
    end loop;
  end if;

  if v_keys is not null then
    -- New statements from here on: they see what was committed before the locks were taken.
    return query
      select 0::smallint, r.instance_key, r.turn, r.generation, r.kind::int, 0,
             case when m.more then m.more_due else f.due end, null::bytea,
             i.instance_id, i.execution_id, i.name, i.version, __StatusNow(i.stored_status, r.turn),
             i.custom_status, i.saved_custom_status, i.orchestration_trace_context, i.parent_key,
             i.parent_generation, i.parent_task_id, i.parent_instance_id, r.lost_leases, m.more
      from unnest(v_keys) with ordinality c(key, ord)
      join ReadyInstances r on r.instance_key = any (array[c.key])
      join Instances i on i.instance_key = any (array[c.key])
      cross join lateral (select min(e.visible_at) as due from NewEvents e
                          where e.instance_key = c.key and e.visible_at > v_now) f
      cross join lateral (
        select coalesce(bool_or(not w.taken), false) as more,
               min(w.visible_at) filter (where not w.taken) as more_due
        from __DueMessages(c.key, v_now, v_max_messages, v_max_bytes) w) m
      order by c.ord;
    return query
      select 1::smallint, c.key, w.seq, w.generation, w.event_type::int, 0, w.visible_at,
             __Read(c.key, w.event),
             null, null, null, null::bytea, null::smallint, null::bytea, null::bytea, null::bytea,
             null::bigint, null::int, null::int, null, null::smallint, null::boolean
      from unnest(v_keys) with ordinality c(key, ord)
      cross join lateral __DueMessages(c.key, v_now, v_max_messages, v_max_bytes) w
      where w.taken
      order by c.ord, w.visible_at, w.seq;
    return query
      select 2::smallint, h.instance_key, h.turn, null::int, h.first_event, h.event_count,
             null::timestamptz, __Read(c.key, h.events),
             null, null, null, null::bytea, null::smallint, null::bytea, null::bytea, null::bytea,
             null::bigint, null::int, null::int, null, null::smallint, null::boolean
      from unnest(v_keys) with ordinality c(key, ord)
      join History h on h.instance_key = any (array[c.key])
      order by c.ord, h.turn;
    if v_kind = 1 then
      return query
        select 4::smallint, e.key, e.owner_key, null::int, null::int, null::int, null::timestamptz,
               e.state, e.critical_section, e.owner_execution_id, e.owner_id, null::bytea,
               null::smallint, null::bytea, null::bytea, null::bytea, null::bigint, null::int,
               null::int, null, null::smallint, null::boolean
        from __ReadEntities(v_keys) e;
    end if;
  end if;
end $$;

-- __DueMessages: the messages of one instance that are due at p_until, in inbox order, up to one
-- more than p_max; "taken" is false for those beyond the limits. The first is always taken. The
-- events are as they are stored, perhaps cut. Stable: as of the statement that calls it, so that
-- __Read finds their payloads.
create or replace function __DueMessages(p_key bigint, p_until timestamptz, p_max int,
                                         p_max_bytes bigint)
returns table (seq bigint, visible_at timestamptz, generation int, event_type smallint,
               event bytea, taken boolean)
language plpgsql stable set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select d.seq, d.visible_at, d.generation, d.event_type, d.event,
           d.number = 1 or (d.number <= p_max and d.total_bytes <= p_max_bytes)
    from (select e.seq, e.visible_at, e.generation, e.event_type, e.event,
                 row_number() over w as number, sum(__WholeLength(e.event)) over w as total_bytes
          from (select n.* from NewEvents n
                where n.instance_key = p_key and n.visible_at <= p_until
                order by n.visible_at, n.seq limit p_max + 1) e
          window w as (order by e.visible_at, e.seq)) d;
end $$;

-- _ReadNewMessages: the inboxes of the instances leased by a worker that somebody else wrote to,
-- and forgets that they are new. Rows as _ReadInbox.
--   p_batch {worker, max_messages, max_bytes, all, again}
-- Locks: hot rows, SKIP LOCKED; with "again" or "all", before that and only until it has them, all
-- of the worker by key. Repeat: with "again" or "all" set, every instance of the worker is read.
create or replace function _ReadNewMessages(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (key bigint, token bigint, seq bigint, generation int, event_type smallint,
               visible_at timestamptz, event bytea, more boolean)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_first bigint := (p_batch ->> 'worker')::bigint << 40;
  v_last bigint := v_first + (1::bigint << 40) - 1;
  v_all bigint[];
  v_keys bigint[];
begin
  if p_batch ?| '{again,all}' then
    -- A lost session of this daemon may still commit what it has written; whoever has locked its
    -- rows has seen its end. Kept while thousands of inboxes are read, the locks would hold up
    -- every checkpoint beyond its patience; so they go at once, with a subtransaction that is
    -- rolled back.
    select array_agg(r.instance_key) into v_all from ReadyInstances r
    where r.lease_token between v_first and v_last;
    begin
      perform 1 from ReadyInstances r where r.instance_key = any (v_all)
        order by r.instance_key for no key update;
      raise exception 'nobody else writes' using errcode = 'DT000';
    exception when sqlstate 'DT000' then
    end;
  end if;
  -- Found without an order, so that no other index than the one for this query is of use; an idle
  -- poll ends here. A row that somebody keeps locked, as SQL users may, does not hold up the
  -- others: its owner_wake stays, and the next poll finds it.
  select array_agg(l.instance_key) into v_keys
  from (select r.instance_key from ReadyInstances r
        where r.lease_token between v_first and v_last and r.owner_wake is not null
        for no key update skip locked) l;
  if v_keys is not null then
    update ReadyInstances r set owner_wake = null
      where r.instance_key = any (v_keys) and r.owner_wake is not null
        and r.lease_token between v_first and v_last;
  end if;
  v_keys := v_all || v_keys;  -- the marks of some that were leased meanwhile may be gone, too
  if v_keys is null then
    return;
  end if;
  return query
    select r.instance_key, r.lease_token, w.seq, w.generation, w.event_type, w.visible_at,
           __Read(r.instance_key, w.event), not w.taken
    from ReadyInstances r
    cross join lateral __DueMessages(r.instance_key, 'infinity', (p_batch ->> 'max_messages')::int,
                                     (p_batch ->> 'max_bytes')::bigint) w
    where r.instance_key = any (v_keys) and r.lease_token between v_first and v_last
    order by r.instance_key, w.visible_at, w.seq;
end $$;

-- _ReadInbox: all messages, due and future, of leased instances, in inbox order and capped; rows
-- with "more" are beyond the cap and not to be delivered. No rows: an empty inbox or a lost lease.
--   p_batch {items: [{key, token}], max_messages, max_bytes}
-- Locks: none. Repeat: yes.
create or replace function _ReadInbox(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (key bigint, token bigint, seq bigint, generation int, event_type smallint,
               visible_at timestamptz, event bytea, more boolean)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select r.instance_key, r.lease_token, w.seq, w.generation, w.event_type, w.visible_at,
           __Read(r.instance_key, w.event), not w.taken
    from jsonb_to_recordset(p_batch -> 'items') c(key bigint, token bigint)
    join ReadyInstances r on r.instance_key = any (array[c.key]) and __Holds(r.lease_token, c.token)
    cross join lateral __DueMessages(r.instance_key, 'infinity', (p_batch ->> 'max_messages')::int,
                                     (p_batch ->> 'max_bytes')::bigint) w
    order by c.key, w.visible_at, w.seq;
end $$;

-- _AbandonOrchestrations: gives leases up. One row per item: outcome 0 released, 1 lease lost.
--   p_batch {items: [{key, token, delay, held, lost}], kept: [{item, id, task, token}]}
-- delay in microseconds; held: until it is resumed or terminated, whatever the delay; "held" and
-- "lost" are left out when false; kept: inline tasks that somebody runs, which get rows under these
-- keys and leases
-- Locks: hot rows by key. Repeat: the second time is "lease lost".
create or replace function _AbandonOrchestrations(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, outcome smallint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_items int[];
  v_keys bigint[];
  v_not_before timestamptz[];
  v_lost int[];
begin
  select array_agg(l.ord), array_agg(l.key), array_agg(l.not_before), array_agg(l.lost)
    into v_items, v_keys, v_not_before, v_lost
  from (select c.ord, c.key, coalesce(c.lost, false)::int as lost,
               case when c.held then 'infinity'
                    when c.delay > 0 then v_now + c.delay * interval '1 microsecond' end
                 as not_before
        from rows from (jsonb_to_recordset(p_batch -> 'items')
                          as (key bigint, token bigint, delay bigint, held boolean, lost boolean))
          with ordinality c(key, token, delay, held, lost, ord)
        join ReadyInstances r on r.instance_key = any (array[c.key])
          and __Holds(r.lease_token, c.token)
        order by c.key for no key update of r) l;
  if v_keys is not null then
    if p_batch ? 'kept' then
      perform __StoreInlineTasks(array_agg(v_keys[array_position(v_items, c.item)]),
                                 array_agg(c.id), array_agg(c.task), array_agg(c.token),
                                 array_agg(0), array_agg(null::timestamptz))
      from jsonb_to_recordset(p_batch -> 'kept') c(item int, id int, task bigint, token bigint)
      where c.item = any (v_items);
    end if;
    perform __FreeInstances(v_keys, v_not_before, v_lost);
  end if;
  return query
    select n, (case when n = any (v_items) then 0 else 1 end)::smallint
    from generate_series(1, jsonb_array_length(p_batch -> 'items')) n;
end $$;

-- _DiscardEventsAndUnlockInstance: consumes messages that no turn wants, and gives the lease up
-- where "release" is set. One row per item: outcome 0 done, 1 lease lost.
--   p_batch {items: [{key, token, seqs, release}]}
-- Locks: hot rows by key, then the messages. Repeat: yes while the lease stands.
create or replace function _DiscardEventsAndUnlockInstance(p_hub int, p_batch jsonb,
                                                           p_bytes bytea[])
returns table (item int, outcome smallint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_items int[];
  v_keys bigint[];
  v_release bigint[];
begin
  select array_agg(l.ord), array_agg(l.key), array_agg(l.key) filter (where l.release)
    into v_items, v_keys, v_release
  from (select c.ord, c.key, c.release
        from rows from (jsonb_to_recordset(p_batch -> 'items')
                          as (key bigint, token bigint, release boolean))
          with ordinality c(key, token, release, ord)
        join ReadyInstances r on r.instance_key = any (array[c.key])
          and __Holds(r.lease_token, c.token)
        order by c.key for no key update of r) l;
  if v_keys is not null then
    delete from NewEvents e
    using (select c.key, s.seq
           from rows from (jsonb_to_recordset(p_batch -> 'items') as (key bigint, seqs bigint[]))
             with ordinality c(key, seqs, ord)
           cross join unnest(c.seqs) s(seq)
           where c.ord = any (v_items)) d
    where e.instance_key = any (array[d.key]) and e.seq = d.seq;
  end if;
  if v_release is not null then
    perform __FreeInstances(v_release, array_fill(null::timestamptz, array[cardinality(v_release)]),
                            array_fill(0, array[cardinality(v_release)]));
  end if;
  return query
    select n, (case when n = any (v_items) then 0 else 1 end)::smallint
    from generate_series(1, jsonb_array_length(p_batch -> 'items')) n;
end $$;
