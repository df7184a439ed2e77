-- What an instance waits for: GetInstanceWaits for SQL users, and what it is made of. The tables
-- say what is outstanding (tasks, timers, children, locks, messages) and what the workers that are
-- connected take; the history says what the tables do not: names of inline tasks, calls of entities
-- that are not answered, and what failed when a timer was set. Which events an orchestration waits
-- for, no SDK tells the server.
--
-- All only read, as the statement that calls them sees the tables. Each list ends after 50 rows
-- with one that counts the rest.

-- __Wait: one thing that an instance waits for, the row type of the functions here.
--   Kind, State  what it is: 'activity', 'queued'; sql/README.md has the list
--   Name, ID     of the activity, timer, child, event, operation or entity
--   Since        when it began to wait for it; Until: when that ends by itself, null = not known
--   WorkerID     the daemon whose worker has it, as in vWorkers; Host: where that one runs
--   Detail       what else is known, as text
--   Sentence     the same for people, with times in UTC
create or replace view __Wait as
select null::text as Kind, null::text as State, null::text as Name, null::text as ID,
       null::timestamptz as Since, null::timestamptz as Until, null::bigint as WorkerID,
       null::text as Host, null::text as Detail, null::text as Sentence
where false;

-- __Moment: a time as the sentences have it.
create or replace function __Moment(p_time timestamptz) returns text
language sql stable parallel safe
return to_char(p_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS" UTC"');

-- __Takes: whether workers take a name, in (ASCII) lower case, and a version ('' = none), by what
-- Workers.served says of them.
create or replace function __Takes(p_names text[], p_versions jsonb, p_name text, p_version text)
returns boolean language sql immutable parallel safe
return p_names is null
  or (p_name = any (p_names) and coalesce((p_versions -> p_name) ? p_version, true));

-- __WhoTakes: which connected workers take free work of a name and version ('' = none): state is
-- 'queued', or 'unaccepted' if there is none; phrase says so, after a subject.
--   p_work  0 turns, 1 activities, 2 entities
create or replace function __WhoTakes(p_hub int, p_work int, p_name text, p_version text,
                                      p_now timestamptz, out state text, out phrase text)
language plpgsql stable set search_path from current as $$
#variable_conflict use_column
declare
  v_what constant text := (array['orchestrations', 'activities', 'entities'])[p_work + 1];
  v_name constant text := lower(p_name collate "C");
  v_of_kind bigint;
  v_others bigint;
  v_hosts text;
  v_versions text;
  v_names text;
begin
  select count(*) filter (where s.kind = p_work), count(*) filter (where s.kind <> p_work),
         string_agg(distinct w.host, ', ')
           filter (where s.kind = p_work and __Takes(s.names, s.versions, v_name, p_version))
    into v_of_kind, v_others, v_hosts
  from Workers w
  cross join lateral jsonb_to_recordset(w.served)
    s(hub int, kind int, names text[], versions jsonb)
  where w.lease_until >= p_now and s.hub = p_hub;
  state := case when v_hosts is null then 'unaccepted' else 'queued' end;
  if v_hosts is not null then
    phrase := format('waits for a free worker; workers that take it are connected to the daemon '
                     'on %s', v_hosts);
  elsif v_of_kind = 0 then
    phrase := case when v_others > 0 then format('waits, and no connected worker runs %s', v_what)
                   else 'waits, and no worker is connected to the task hub' end;
  else
    select string_agg(distinct case v.version when '' then 'none' else v.version end, ', ')
             filter (where u.name = v_name),
           string_agg(distinct u.name, ', ') filter (where u.number <= 10)
      into v_versions, v_names
    from (select n.name, s.versions, dense_rank() over (order by n.name) as number
          from Workers w
          cross join lateral jsonb_to_recordset(w.served)
            s(hub int, kind int, names text[], versions jsonb)
          cross join lateral unnest(s.names) n(name)
          where w.lease_until >= p_now and s.hub = p_hub and s.kind = p_work) u
    left join lateral jsonb_array_elements_text(u.versions -> u.name) v(version)
      on u.name = v_name;
    phrase := case
      when v_versions is not null
      then format('waits, and no connected worker accepts it %s; accepted versions: %s',
                  case p_version when '' then 'without a version'
                                 else format('in version "%s"', p_version) end, v_versions)
      else format('waits, and no connected worker accepts it; accepted %s: %s', v_what,
                  coalesce(v_names, 'none')) end;
  end if;
end $$;

-- __EventsOf: the events of one chunk of history, whole and in order, of these types: id, type and
-- the serialized message of the type. One pass over the bytes, as __ScheduledTasks.
create or replace function __EventsOf(p_chunk bytea, p_types int[])
returns table (event_id int, event_type int, body bytea)
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_chunk bytea := p_chunk || '';  -- in memory, as there
  v_at int := 0;
  v_total int := length(v_chunk);
  v_event_end int := 0;
  v_start int;
  v_tag int;
  v_number bigint;
  v_shift int;
begin
  while v_at < v_total loop
    v_start := v_at;
    v_tag := get_byte(v_chunk, v_at);
    v_at := v_at + 1;
    if v_tag > 127 then
      v_tag := (v_tag & 127) | (get_byte(v_chunk, v_at) << 7);
      v_at := v_at + 1;
    end if;
    v_number := 0;
    v_shift := 0;
    loop
      v_number := v_number | ((get_byte(v_chunk, v_at) & 127)::bigint << v_shift);
      v_at := v_at + 1;
      v_shift := v_shift + 7;
      exit when get_byte(v_chunk, v_at - 1) < 128 or v_shift > 63;
    end loop;
    if v_start >= v_event_end then  -- an event
      v_event_end := v_at + v_number;
      event_id := 0;
    elsif v_tag = 8 then
      event_id := v_number;
    elsif v_tag & 7 = 2 then
      if v_tag >> 3 = any (p_types) then
        event_type := v_tag >> 3;
        body := substr(v_chunk, v_at + 1, v_number::int);
        return next;
      end if;
      v_at := v_at + v_number;
    end if;
  end loop;
exception when data_exception then
  -- A history that is no message: what was found so far.
end $$;

-- __RecentEvents: what the history of an instance says lately that its waits are told from, in
-- order, as parallel arrays: the last 10,000 events at most, and no more than 4 MiB. whole: that is
-- all of it.
create or replace function __RecentEvents(p_key bigint, out whole boolean, out turns bigint[],
                                          out times timestamptz[], out ids int[], out types int[],
                                          out bodies bytea[])
language plpgsql stable set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  -- Scheduled, failed, child created, child failed, timer created, sent, raised, suspended; calls
  -- of entities and their answers.
  c_types constant int[] := '{6, 8, 9, 11, 12, 16, 17, 21, 24, 25, 26}';
begin
  with recent as materialized (
    select h.turn, h.committed_time, h.events, h.first_event,
           sum(h.event_count) over (order by h.turn desc) <= 10000
             and sum(__WholeLength(h.events)::bigint) over (order by h.turn desc) <= 4194304 as read
    from (select n.turn, n.committed_time, n.events, n.first_event, n.event_count from History n
          where n.instance_key = p_key order by n.turn desc limit 10000) h)
  select coalesce(bool_or(r.read and r.first_event = 0), not exists (select from recent)),
         array_agg(r.turn order by r.turn, e.number) filter (where e.number is not null),
         array_agg(r.committed_time order by r.turn, e.number) filter (where e.number is not null),
         array_agg(e.event_id order by r.turn, e.number) filter (where e.number is not null),
         array_agg(e.event_type order by r.turn, e.number) filter (where e.number is not null),
         array_agg(e.body order by r.turn, e.number) filter (where e.number is not null)
    into whole, turns, times, ids, types, bodies
  from recent r
  left join lateral __EventsOf(case when r.read then __Read(p_key, r.events) end, c_types)
    with ordinality e(event_id, event_type, body, number) on true;
end $$;

-- __TurnWaits: the turn that is due or runs, if there is one, or the time of the start. For an
-- entity: the batch of its operations.
--   p_what  how sentences call it: 'The next turn'
create or replace function __TurnWaits(p_hub int, p_key bigint, p_what text, p_now timestamptz)
returns setof __Wait language plpgsql stable set search_path from current
set enable_seqscan = off as $$
declare
  v_row record;
  v_takes record;
begin
  select i.name, r.version, i.scheduled_start, r.turn, r.kind, r.next_due, r.not_before,
         r.lost_leases, r.lease_token is not null as leased, w.worker_id, w.host, d.since
    into v_row
  from Instances i
  join ReadyInstances r on r.instance_key = i.instance_key
  left join Workers w on w.worker_id = r.lease_token >> 40 and w.lease_until >= p_now
  cross join lateral (
    select min(n.visible_at) as since from NewEvents n
    where n.instance_key = i.instance_key and n.visible_at <= p_now
      -- An entity that is locked, or ready to be, looks at what comes in front of all only.
      and (i.kind = 0 or n.visible_at = '-infinity'
           or not (exists (select from Entities e where e.instance_key = i.instance_key
                           and e.locked_by_key is not null)
                   or exists (select from EntityLockRequests q
                              where q.instance_key = i.instance_key and q.arrived)))) d
  where i.instance_key = any (array[p_key]);
  if not found then
    return;
  end if;
  if v_row.turn = 0 and v_row.scheduled_start > p_now then
    return query select 'start', 'scheduled', v_row.name, null, null::timestamptz,
      v_row.scheduled_start, null::bigint, null, null,
      format('It starts at %s.', __Moment(v_row.scheduled_start));
    return;
  end if;
  if v_row.since is null or v_row.not_before = 'infinity' then
    return;
  end if;
  v_row.since := nullif(v_row.since, '-infinity');
  if v_row.leased and v_row.worker_id is not null then
    return query select 'turn', 'running', v_row.name, null, v_row.since, null::timestamptz,
      v_row.worker_id, v_row.host, null,
      format('%s is with the daemon on %s, whose worker has it or gets it next%s.', p_what,
             v_row.host, ', since ' || __Moment(v_row.since));
  elsif v_row.leased then
    return query select 'turn', 'lost', v_row.name, null, v_row.since, null::timestamptz,
      null::bigint, null, null,
      format('%s was with a daemon that is gone; another one gets it within seconds.', p_what);
  elsif v_row.not_before > p_now then
    return query select 'turn', 'delayed', v_row.name, null, v_row.since, v_row.not_before,
      null::bigint, null, format('lost leases: %s', v_row.lost_leases),
      format('%s was lost %s times with a worker or daemon, and is given out again at %s.', p_what,
             v_row.lost_leases, __Moment(v_row.not_before));
  elsif v_row.next_due <= p_now then
    v_takes := __WhoTakes(p_hub, 2 * v_row.kind, v_row.name, __AsText(v_row.version), p_now);
    return query select 'turn', v_takes.state, v_row.name, null, v_row.since, null::timestamptz,
      null::bigint, null, null,
      format('%s of "%s" %s%s.', p_what, v_row.name, v_takes.phrase,
             '; since ' || __Moment(v_row.since));
  end if;
end $$;

-- __SuspensionWaits: since when an orchestration is suspended, and why.
create or replace function __SuspensionWaits(p_times timestamptz[], p_types int[], p_bodies bytea[])
returns setof __Wait language plpgsql stable set search_path from current as $$
declare
  v_since timestamptz;
  v_reason text;
begin
  select u.at, __AsText(__PbWrapped(u.body, 1)) into v_since, v_reason
  from unnest(p_times, p_types, p_bodies) with ordinality u(at, type, body, number)
  where u.type = 21 order by u.number desc limit 1;
  return query select 'suspended', 'suspended', null, null, v_since, null::timestamptz,
    null::bigint, null, v_reason,
    concat('It is suspended', ' since ' || __Moment(v_since), ' ("' || nullif(v_reason, '') || '")',
           ', and goes on when it is resumed.');
end $$;

-- __ActivityWaits: the activities of this generation that have not ended, with and without a row.
create or replace function __ActivityWaits(p_hub int, p_key bigint, p_now timestamptz,
                                           p_times timestamptz[], p_ids int[], p_types int[],
                                           p_bodies bytea[])
returns setof __Wait language plpgsql stable set search_path from current
set enable_seqscan = off as $$
begin
  return query
    with scheduled as materialized (
      select distinct on (u.id) u.id, u.at, u.body
      from unnest(p_times, p_ids, p_types, p_bodies) with ordinality u(at, id, type, body, number)
      where u.type = 6 order by u.id, u.number desc),
    tasks as materialized (
      select t.task_id, t.name, t.version, null::bytea as body, t.ready_at as since, t.lost_leases,
             t.lease_token
      from ReadyInstances r
      join NewTasks t on t.instance_key = any (array[r.instance_key])
        and t.generation = r.generation
      where r.instance_key = any (array[p_key])
      union all
      select i.id, null, null, s.body, s.at, 0::smallint, r.lease_token
      from ReadyInstances r
      cross join __IdsIn(r.inline_tasks) i(id)
      left join scheduled s on s.id = i.id
      where r.instance_key = any (array[p_key])),
    listed as materialized (
      select k.task_id, coalesce(k.name, __AsText(__PbField(k.body, 1))) as name,
             coalesce(__AsText(k.version), '') as version, k.since, k.lost_leases,
             k.lease_token is not null as leased, w.worker_id, w.host
      from tasks k
      left join Workers w on w.worker_id = k.lease_token >> 40 and w.lease_until >= p_now
      order by k.since, k.task_id limit 50),
    told as (
      select l.*, case when l.leased and l.worker_id is null then 'lost'
                       when l.leased then 'running' when l.since > p_now then 'delayed'
                       else t.state end as state, t.phrase,
             case when l.name is null then format('The activity of task %s', l.task_id)
                  else format('Activity "%s" (task %s)', l.name, l.task_id) end as who
      from listed l
      cross join lateral __WhoTakes(p_hub, 1, coalesce(l.name, ''), l.version, p_now) t)
    select 'activity', t.state, t.name, t.task_id::text,
           case when t.state <> 'delayed' then t.since end,
           case when t.state = 'delayed' then t.since end, t.worker_id, t.host,
           case when t.lost_leases > 0 then format('lost leases: %s', t.lost_leases) end,
           t.who || case t.state
             when 'running' then format(' is with the daemon on %s, at one of its workers%s.',
                                        t.host, '; it was scheduled at ' || __Moment(t.since))
             when 'lost' then ' was with a daemon that is gone; another one gets it within seconds.'
             when 'delayed' then format(' was lost %s times with a worker or daemon, and is given '
                                        'out again at %s.', t.lost_leases, __Moment(t.since))
             else format(' %s; since %s.', t.phrase, __Moment(t.since)) end
    from told t
    union all
    select 'activity', 'more', null, null, null, null, null, null, null,
           format('%s more activities have not ended.', c.count - 50)
    from (select count(*) as count from tasks) c where c.count > 50;
end $$;

-- __TimerWaits: the timers that have not fired. One that was set by the turn that heard of a
-- failure is most likely the pause before a retry, as the SDKs make them, and is told so.
create or replace function __TimerWaits(p_key bigint, p_now timestamptz, p_turns bigint[],
                                        p_times timestamptz[], p_ids int[], p_types int[],
                                        p_bodies bytea[])
returns setof __Wait language plpgsql stable set search_path from current
set enable_seqscan = off as $$
begin
  return query
    with events as materialized (
      select * from unnest(p_turns, p_times, p_ids, p_types, p_bodies) with ordinality
        u(turn, at, id, type, body, number)),
    timers as materialized (
      select __PbNumberField(__PbField(n.event, 13), 2)::int as id, n.visible_at as until
      from NewEvents n
      join ReadyInstances r on r.instance_key = any (array[n.instance_key])
        and r.generation = coalesce(n.generation, r.generation)
      where n.instance_key = any (array[p_key]) and n.event_type = 13 and n.visible_at > p_now),
    listed as (select t.id, t.until from timers t order by t.until, t.id limit 50)
    select case when f.name is null then 'timer' else 'retry' end, 'set', f.name, l.id::text, c.at,
           l.until, null::bigint, null, f.failure,
           case when f.name is null
                then format('Timer %s fires at %s.', l.id, __Moment(l.until))
                else format('Timer %s fires at %s: most likely the pause before "%s" is tried '
                            'again, which had failed (%s) in the turn that set it.', l.id,
                            __Moment(l.until), f.name, f.failure) end
    from listed l
    left join lateral (
      select e.turn, e.at, (select count(*) from events o where o.turn = e.turn and o.type = 12
                            and o.number < e.number) as before
      from events e where e.type = 12 and e.id = l.id order by e.number desc limit 1) c on true
    -- The n-th timer of a turn belongs to its n-th failure; more timers to none of them.
    left join lateral (
      select __AsText(__PbField(s.body, case s.type when 6 then 1 else 2 end)) as name,
             concat_ws(': ', __AsText(__PbField(__PbField(e.body, 2), 1)),
                       __AsText(__PbField(__PbField(e.body, 2), 2))) as failure
      from events e
      join events s on s.id = __PbNumberField(e.body, 1)::int and s.number < e.number
        and s.type = case e.type when 8 then 6 else 9 end
      where e.turn = c.turn and e.type in (8, 11)
      order by e.number offset c.before limit 1) f on true
    union all
    select 'timer', 'more', null, null, null, null, null, null, null,
           format('%s more timers are set.', t.count - 50)
    from (select count(*) as count from timers) t where t.count > 50;
end $$;

-- __ChildWaits: the children whose end is awaited.
create or replace function __ChildWaits(p_key bigint)
returns setof __Wait language plpgsql stable set search_path from current
set enable_seqscan = off as $$
begin
  return query
    with children as materialized (
      select c.instance_id, c.name, c.created_time,
             __StatusName(__StatusNow(c.stored_status, r.turn)) as status
      from ReadyInstances p
      join Instances c on c.parent_key = any (array[p.instance_key])
        and c.parent_generation = p.generation and c.parent_task_id is not null
      join ReadyInstances r on r.instance_key = any (array[c.instance_key])
      where p.instance_key = any (array[p_key]))
    (select 'child', c.status, c.name, c.instance_id, c.created_time, null::timestamptz,
            null::bigint, null, null,
            format('Child orchestration "%s" ("%s") is %s; it was created at %s. Ask what that one '
                   'waits for.', c.instance_id, c.name, c.status, __Moment(c.created_time))
     from children c order by c.created_time, c.instance_id limit 50)
    union all
    select 'child', 'more', null, null, null, null, null, null, null,
           format('%s more child orchestrations have not ended.', c.count - 50)
    from (select count(*) as count from children) c where c.count > 50;
end $$;

-- __EntityProgress: what keeps an entity from an operation or lock request that p_for, the key of
-- an orchestration, sent it: state, and a phrase for who it is sent to.
create or replace function __EntityProgress(p_hub int, p_key bigint, p_for bigint,
                                            p_now timestamptz, out state text, out worker_id bigint,
                                            out host text, out phrase text)
language plpgsql stable set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_locked_by bigint;
  v_row record;
begin
  select e.locked_by_key into v_locked_by from Entities e where e.instance_key = p_key;
  if v_locked_by <> p_for then
    state := 'locked';
    phrase := format('orchestration "%s" holds its lock', __EntityLockedBy(v_locked_by));
    return;
  end if;
  for v_row in select t.* from __TurnWaits(p_hub, p_key, 'Its batch', p_now) t loop
    state := v_row.state;
    worker_id := v_row.workerid;
    host := v_row.host;
    phrase := left(v_row.sentence, -1);
    phrase := lower(left(phrase, 1)) || substr(phrase, 2);
    return;
  end loop;
  state := 'queued';
  phrase := format('%s operations wait there', __EntityBacklog(p_key, p_now));
end $$;

-- __JsonEntityCall: what a message of the JSON dialect to an entity asks, if it is an operation
-- whose caller awaits the answer (RULES.md 7.29): its id and operation.
create or replace function __JsonEntityCall(p_name text, p_text text, out id text,
                                            out operation text)
language plpgsql immutable parallel safe set search_path from current as $$
#variable_conflict use_column
declare
  v_request jsonb;
begin
  if p_name like 'op%' then
    v_request := p_text;
    if not coalesce((v_request ->> 'signal')::boolean, false) and v_request ? 'op' then
      id := v_request ->> 'id';
      operation := v_request ->> 'op';
    end if;
  end if;
exception when data_exception then
  -- No message of the dialect.
end $$;

-- __CallWaits: the calls of entities that the history says nothing of an answer to, in both
-- dialects (RULES.md 7.18, 7.28).
create or replace function __CallWaits(p_hub int, p_key bigint, p_now timestamptz,
                                       p_times timestamptz[], p_types int[], p_bodies bytea[])
returns setof __Wait language plpgsql stable set search_path from current
set enable_seqscan = off as $$
begin
  return query
    with events as materialized (
      select * from unnest(p_times, p_types, p_bodies) with ordinality u(at, type, body, number)
      where u.type in (16, 17, 24, 25, 26)),
    answered as materialized (
      select __AsText(__PbField(e.body, 1)) as id from events e where e.type in (17, 25, 26)),
    called as (
      select e.number, e.at, __AsText(__PbField(e.body, 1)) as id,
             __AsText(__PbField(e.body, 2)) as operation,
             __AsText(__PbWrapped(e.body, 7)) as target, __PbTime(__PbField(e.body, 3)) as until
      from events e where e.type = 24
      union all
      select e.number, e.at, j.id, j.operation, __AsText(__PbField(e.body, 1)), null
      from events e
      cross join lateral __JsonEntityCall(__AsText(__PbField(e.body, 2)),
                                          __AsText(__PbWrapped(e.body, 3))) j
      where e.type = 16 and substr(__PbField(e.body, 1), 1, 1) = '@'::bytea and j.id is not null),
    open as materialized (
      select c.* from called c where c.id not in (select a.id from answered a)),
    listed as materialized (
      select o.*, (__FindInstances(p_hub, jsonb_build_array(__EntityId(o.target))))[1] as key
      from open o order by o.number limit 50)
    select 'call', case when l.until > p_now then 'delayed' else e.state end, l.operation, l.target,
           l.at, case when l.until > p_now then l.until end, e.worker_id, e.host, null,
           case when l.until > p_now
                then format('It called "%s" of entity "%s", to be run at %s.', l.operation,
                            l.target, __Moment(l.until))
                else format('It called "%s" of entity "%s" at %s, which has not answered: %s.',
                            l.operation, l.target, __Moment(l.at), e.phrase) end
    from listed l
    cross join lateral __EntityProgress(p_hub, l.key, p_key, p_now) e
    union all
    select 'call', 'more', null, null, null, null, null, null, null,
           format('%s more calls of entities are not answered.', o.count - 50)
    from (select count(*) as count from open) o where o.count > 50;
end $$;

-- __LockWaits: the locks that an orchestration has asked for and does not have, a row for each
-- entity of the set.
create or replace function __LockWaits(p_hub int, p_key bigint, p_now timestamptz)
returns setof __Wait language plpgsql stable set search_path from current
set enable_seqscan = off as $$
begin
  return query
    select 'lock', case when q.arrived then 'ready' when o.owner is not null then 'locked'
                        else e.state end,
           i.name, i.instance_id, q.visible_at, null::timestamptz,
           case when not q.arrived and o.owner is null then e.worker_id end,
           case when not q.arrived and o.owner is null then e.host end,
           o.owner,
           case when q.arrived
                then format('Entity "%s" is ready to be locked, as soon as all others of the set '
                            'are.', i.instance_id)
                when o.owner is not null
                then format('It waits for the lock of entity "%s", which orchestration "%s" %s; '
                            'asked for at %s.', i.instance_id, o.owner,
                            case when o.holds then 'holds' else 'asked for before' end,
                            __Moment(q.visible_at))
                else format('It waits for the lock of entity "%s", asked for at %s: %s.',
                            i.instance_id, __Moment(q.visible_at), e.phrase) end
    from ReadyInstances r
    join EntityLockRequests q on q.owner_key = any (array[r.instance_key])
      and q.owner_generation = r.generation
    join Instances i on i.instance_key = any (array[q.instance_key])
    left join lateral (
      select __EntityLockedBy(b.key) as owner, b.holds
      from (select e.locked_by_key as key, true as holds, null::timestamptz as at
            from Entities e where e.instance_key = q.instance_key and e.locked_by_key is not null
            union all
            select p.owner_key, false, p.visible_at
            from EntityLockRequests p
            where p.instance_key = q.instance_key and p.visible_at < q.visible_at) b
      order by b.holds desc, b.at limit 1) o on true
    cross join lateral __EntityProgress(p_hub, q.instance_key, p_key, p_now) e
    where r.instance_key = any (array[p_key])
    order by q.arrived, i.instance_id limit 50;
end $$;

-- __EventWaits: events that were raised for later, and, where nothing else is outstanding, that an
-- event from outside is what goes on with it. p_whole: __RecentEvents.
create or replace function __EventWaits(p_key bigint, p_now timestamptz, p_nothing_else boolean,
                                        p_whole boolean, p_times timestamptz[], p_types int[],
                                        p_bodies bytea[])
returns setof __Wait language plpgsql stable set search_path from current
set enable_seqscan = off as $$
declare
  v_since timestamptz;
  v_raised text;
begin
  return query
    select 'event', 'delayed', e.name, null, null::timestamptz, n.visible_at, null::bigint, null,
           null,
           format('Event "%s", raised before, is delivered at %s.', e.name, __Moment(n.visible_at))
    from NewEvents n
    cross join lateral (
      select __AsText(__PbField(__PbField(__Read(p_key, n.event), 17), 1)) as name) e
    where n.instance_key = any (array[p_key]) and n.event_type = 17 and n.visible_at > p_now
    order by n.visible_at, n.seq limit 50;
  if not p_nothing_else then
    return;
  end if;
  select h.committed_time into v_since from History h
    where h.instance_key = p_key order by h.turn desc limit 1;
  select string_agg(format('"%s"', r.name), ', ' order by r.number) into v_raised
  from (select __AsText(__PbField(u.body, 1)) as name, u.number
        from unnest(p_types, p_bodies) with ordinality u(type, body, number)
        where u.type = 17 order by u.number desc limit 5) r;
  return query select 'event', 'expected', null, null, v_since, null::timestamptz, null::bigint,
    null, case when v_raised is not null then format('raised last: %s', v_raised) end,
    concat('It waits for an event from outside', ', since ' || __Moment(v_since), ': nothing that '
           'the server knows of is outstanding. Which one, no SDK tells; ',
           'raised so far, the last ones: ' || v_raised || '.',
           case when v_raised is null then 'none was raised so far.' end,
           case when not p_whole
                then ' Its history is too long to be read whole: it may also be the answer of an '
                     'entity that was called long ago.' end);
end $$;

-- __EntityWaits: the same for an entity: its batch, who holds its lock and who asks for it, delayed
-- operations; or nothing.
create or replace function __EntityWaits(p_hub int, p_key bigint, p_now timestamptz)
returns setof __Wait language plpgsql stable set search_path from current
set enable_seqscan = off as $$
declare
  v_owner text;
  v_section text;
  v_found boolean := false;
begin
  select __EntityLockedBy(e.locked_by_key), e.critical_section into v_owner, v_section
    from Entities e where e.instance_key = p_key;
  return query select * from __TurnWaits(p_hub, p_key, 'The batch of its operations', p_now);
  v_found := found;
  if v_owner is not null then
    return query select 'lock', 'held', v_owner, null, null::timestamptz, null::timestamptz,
      null::bigint, null, v_section,
      format('Orchestration "%s" holds its lock; %s operations wait for the end of that.', v_owner,
             __EntityBacklog(p_key, p_now));
    v_found := true;
  end if;
  return query
    select 'lock', case when q.arrived then 'ready' else 'requested' end, i.instance_id, null,
           q.visible_at, null::timestamptz, null::bigint, null, q.critical_section,
           format('Orchestration "%s" asked for its lock at %s.', i.instance_id,
                  __Moment(q.visible_at))
    from EntityLockRequests q
    join Instances i on i.instance_key = any (array[q.owner_key])
    where q.instance_key = any (array[p_key])
    order by q.visible_at limit 50;
  v_found := v_found or found;
  return query
    select 'operation', 'delayed', null, null, null::timestamptz, d.until, null::bigint, null, null,
           format('The next delayed operation is due at %s.', __Moment(d.until))
    from (select min(n.visible_at) as until from NewEvents n
          where n.instance_key = p_key and n.event_type in (23, 24) and n.visible_at > p_now) d
    where d.until is not null;
  if not (v_found or found) then
    return query select 'operation', 'expected', null, null, null::timestamptz, null::timestamptz,
      null::bigint, null, null, 'It waits for operations: it has none to run.';
  end if;
end $$;

-- __OrchestrationWaits: all of the above for a live orchestration, in the order in which people
-- ask.
create or replace function __OrchestrationWaits(p_hub int, p_key bigint, p_now timestamptz)
returns setof __Wait language plpgsql stable set search_path from current
set enable_seqscan = off as $$
declare
  v_suspended boolean;
  v_recent record;
  v_found boolean := false;
begin
  select i.stored_status = 7 into v_suspended from Instances i where i.instance_key = p_key;
  v_recent := __RecentEvents(p_key);
  if v_suspended then
    return query select * from __SuspensionWaits(v_recent.times, v_recent.types, v_recent.bodies);
  end if;
  return query select * from __TurnWaits(p_hub, p_key, 'The next turn', p_now);
  v_found := found;
  return query select * from __ActivityWaits(p_hub, p_key, p_now, v_recent.times, v_recent.ids,
                                             v_recent.types, v_recent.bodies);
  v_found := v_found or found;
  return query select * from __TimerWaits(p_key, p_now, v_recent.turns, v_recent.times,
                                          v_recent.ids, v_recent.types, v_recent.bodies);
  v_found := v_found or found;
  return query select * from __ChildWaits(p_key);
  v_found := v_found or found;
  return query select * from __CallWaits(p_hub, p_key, p_now, v_recent.times, v_recent.types,
                                         v_recent.bodies);
  v_found := v_found or found;
  return query select * from __LockWaits(p_hub, p_key, p_now);
  v_found := v_found or found;
  return query select * from __EventWaits(p_key, p_now, not v_found and not v_suspended,
                                          v_recent.whole, v_recent.times, v_recent.types,
                                          v_recent.bodies);
end $$;

-- __InstanceWaits: what an instance of a hub waits for, at least one row: also where it has ended,
-- or where there is none. p_hub null: the hub is not there.
create or replace function __InstanceWaits(p_hub int, p_id text)
returns setof __Wait language plpgsql stable set search_path from current
set enable_seqscan = off as $$
declare
  v_now constant timestamptz := _Now();
  v_key constant bigint := (__FindInstances(p_hub, jsonb_build_array(p_id)))[1];
  v_row record;
begin
  select i.kind, i.name, i.stored_status, i.completed_time,
         nullif(concat_ws(': ', __AsText(__PbField(i.failure, 1)),
                          __AsText(__PbField(i.failure, 2))), '') as failure
    into v_row from Instances i where i.instance_key = any (array[v_key]);
  if not found then
    return query select 'unknown', 'unknown', null, p_id, null::timestamptz, null::timestamptz,
      null::bigint, null, null, format('There is no instance "%s" in this task hub.', p_id);
  elsif v_row.completed_time is not null then
    return query select 'ended', __StatusName(v_row.stored_status), v_row.name, p_id,
      v_row.completed_time, null::timestamptz, null::bigint, null, v_row.failure,
      concat('It waits for nothing: it has ended at ', __Moment(v_row.completed_time), ', ',
             __StatusName(v_row.stored_status), ' (' || v_row.failure || ')', '.');
  elsif v_row.kind = 1 then
    return query select * from __EntityWaits(p_hub, v_key, v_now);
  else
    return query select * from __OrchestrationWaits(p_hub, v_key, v_now);
  end if;
end $$;

-- GetInstanceWaits: what an instance of the caller's hub, an orchestration or entity, waits for, a
-- row for each thing (__Wait says what a row is). There is at least one, also for an instance that
-- has ended or is not there.
-- Locks: none. Repeat: yes.
create or replace function GetInstanceWaits(InstanceID text)
returns setof __Wait
language plpgsql stable security definer set search_path from current
set enable_seqscan = off as $$
begin
  return query select w.* from __InstanceWaits(__OwnHub(false), GetInstanceWaits.InstanceID) w;
end $$;
