-- Daemon processes and their leases. A lease token is worker id << 40 plus a counter, so the leases
-- of a worker are a range of tokens; all of them live and die with the row of Workers.

-- __OwnSession: the caller's session as Workers keeps it; null if p_own is false.
create or replace function __OwnSession(p_own boolean, out pid int, out start timestamptz)
language sql stable set search_path from current as $$
  select a.pid, a.backend_start from pg_catalog.pg_stat_activity a
  where p_own and a.pid = pg_catalog.pg_backend_pid()
$$;

-- _SessionIsGone: whether a session of Workers is known to have ended. Where the caller may not
-- see whose the process is that has its number now, it is not known. The function below
-- pg_stat_activity looks for one process only: the view lists all of them for each worker.
create or replace function _SessionIsGone(p_pid int, p_start timestamptz) returns boolean
language sql stable
return p_pid is not null and not exists (
  select from pg_catalog.pg_stat_get_activity(p_pid) a
  where a.backend_start is null or a.backend_start = p_start);

-- _RegisterWorker: a new row for a process; returns its worker id. p_lease: how long without
-- renewal. p_own_session: the process keeps this session as long as it lives, or renews from
-- another one; false behind a pooler. p_served, p_load: as Workers keeps them.
create or replace function _RegisterWorker(p_host text, p_process text, p_version text,
                                           p_lease interval, p_own_session boolean default false,
                                           p_served jsonb default null,
                                           p_load jsonb default null)
returns table (worker_id bigint, now timestamptz)
language plpgsql set search_path from current as $$
#variable_conflict use_column
begin
  return query
    insert into Workers as w (host, process, version, started, lease_until, session_pid,
                              session_start, renewed_at, served, served_at, load)
      select p_host, p_process, p_version, _Now(), _Now() + p_lease, s.pid, s.start, _Now(),
             p_served, _Now(), p_load
      from __OwnSession(p_own_session) s
      returning w.worker_id, w.started;
end $$;

-- _RenewWorker: prolongs the leases of a worker, which has this session from now on. renewed is
-- false when its row was swept: all its leases are gone then, and it must register again.
-- p_own_session as above; p_served and p_load too, null = as it was. Locks: own row. Repeat: yes.
create or replace function _RenewWorker(p_worker bigint, p_lease interval,
                                        p_own_session boolean default false,
                                        p_served jsonb default null, p_load jsonb default null)
returns table (renewed boolean, now timestamptz)
language plpgsql set search_path from current as $$
#variable_conflict use_column
begin
  now := _Now();
  update Workers w set lease_until = now + p_lease, session_pid = s.pid, session_start = s.start,
      silent_since = null, renewed_at = now, load = coalesce(p_load, w.load),
      served = coalesce(p_served, w.served),
      served_at = case when p_served is null then w.served_at else now end
    from __OwnSession(p_own_session) s
    where w.worker_id = p_worker and w.lease_until > '-infinity';
  renewed := found;
  return next;
end $$;

-- _UnregisterWorker: frees what the worker still holds, without counting a lost lease, and forgets
-- it. What somebody keeps locked is left to the sweeps of other daemons, as of a dead one. For a
-- process that writes nothing any more. Returns how many items were freed. Repeat: yes.
-- Locks: own row, as a sweep does first; then as __FreeWorkers.
create or replace function _UnregisterWorker(p_worker bigint) returns bigint
language plpgsql set search_path from current as $$
declare
  v_freed bigint;
begin
  perform 1 from Workers w where w.worker_id = p_worker for update;
  v_freed := __FreeWorkers(array[p_worker], 0);
  update Workers w set lease_until = '-infinity', started = _Now(), swept_at = _Now()
    where w.worker_id = p_worker;
  delete from Workers w where w.worker_id = p_worker and not __HoldsLeases(w.worker_id);
  return v_freed;
end $$;

-- __HoldsLeases: whether anything is still leased by the worker. Scans both tables.
create or replace function __HoldsLeases(p_worker bigint) returns boolean
language plpgsql stable set search_path from current as $$
begin
  return exists (select from ReadyInstances r where r.lease_token >> 40 = p_worker)
    or exists (select from NewTasks t where t.lease_token >> 40 = p_worker);
end $$;

-- __LockLeasedInstances: locks the hot rows that are leased by workers and returns their keys. A
-- last statement of a dead process may still hold some of them for a moment, which is waited for.
-- What is locked for longer, by an SQL user's transaction, does not keep the others from their next
-- holder: it is left out.
create or replace function __LockLeasedInstances(p_workers bigint[]) returns bigint[]
language plpgsql set search_path from current set lock_timeout = '200ms' as $$
begin
  return array(select r.instance_key from ReadyInstances r
               where r.lease_token >> 40 = any (p_workers)
               order by r.instance_key for no key update);
exception when lock_not_available then
  return array(select r.instance_key from ReadyInstances r
               where r.lease_token >> 40 = any (p_workers)
               order by r.instance_key for no key update skip locked);
end $$;

-- __LockLeasedTasks: the same for tasks, by both keys.
create or replace function __LockLeasedTasks(p_workers bigint[], out instances bigint[],
                                             out tasks bigint[])
language plpgsql set search_path from current set lock_timeout = '200ms' as $$
begin
  select array_agg(l.instance_key), array_agg(l.task_key) into instances, tasks
  from (select t.instance_key, t.task_key from NewTasks t
        where t.lease_token >> 40 = any (p_workers)
        order by t.instance_key, t.task_key for no key update) l;
exception when lock_not_available then
  select array_agg(l.instance_key), array_agg(l.task_key) into instances, tasks
  from (select t.instance_key, t.task_key from NewTasks t
        where t.lease_token >> 40 = any (p_workers)
        order by t.instance_key, t.task_key for no key update skip locked) l;
end $$;

-- __RedeliveryDelay: how long something waits that was lost so many times in a row: the first time
-- not at all (null), then 1 s, 2 s, 4 s and so on, up to a minute. What kills its daemon must not
-- go round at the speed of the sweeps.
create or replace function __RedeliveryDelay(p_lost int) returns interval
language sql immutable parallel safe
return case when p_lost > 1 then least(60, 1 << least(p_lost - 2, 10)) * interval '1 second' end;

-- __FreeWorkers: frees all instances and tasks leased by workers; returns how many. With p_lost = 1
-- they count as lost, and those that were lost before wait for a while. Scans both tables: they
-- have no index of leased rows, because only this rare call needs it.
-- Inline tasks count like the tasks that they become. What others keep locked is left leased.
-- Locks: hot rows by key, of all workers in one order, then tasks by key; SKIP LOCKED after a
-- moment.
create or replace function __FreeWorkers(p_workers bigint[], p_lost int) returns bigint
language plpgsql set search_path from current as $$
declare
  v_now timestamptz := _Now();
  v_keys bigint[];
  v_not_before timestamptz[];
  v_locked record;
  v_tasks bigint;
begin
  select array_agg(r.instance_key),
         array_agg(case when p_lost > 0 then v_now + __RedeliveryDelay(r.lost_leases + p_lost) end)
    into v_keys, v_not_before
  from unnest(__LockLeasedInstances(p_workers)) l(key)
  join ReadyInstances r on r.instance_key = any (array[l.key]);
  if v_keys is not null then
    perform __FreeInlineTasks(v_keys, p_lost);
    perform __FreeInstances(v_keys, v_not_before, array_fill(p_lost, array[cardinality(v_keys)]));
  end if;
  select * into v_locked from __LockLeasedTasks(p_workers);
  update NewTasks t
    set lease_token = null, lost_leases = least(t.lost_leases + p_lost, 32767),
        ready_at = v_now + coalesce(d.delay, '0'),
        place = case when d.delay is null then t.place end
    from unnest(v_locked.instances, v_locked.tasks) l(instance_key, task_key)
    join NewTasks o on o.instance_key = any (array[l.instance_key]) and o.task_key = l.task_key
    cross join lateral (
      select case when p_lost > 0 then __RedeliveryDelay(o.lost_leases + p_lost) end as delay) d
    where t.instance_key = o.instance_key and t.task_key = o.task_key;
  get diagnostics v_tasks = row_count;
  return coalesce(cardinality(v_keys), 0) + v_tasks;
end $$;

-- _SweepIsDue: whether a worker is to be swept by its lease: it has run out, and no sweep, which
-- scans for all that the worker holds, was just there.
create or replace function _SweepIsDue(p_lease_until timestamptz, p_swept_at timestamptz,
                                        p_now timestamptz) returns boolean
language sql immutable parallel safe
return p_lease_until < p_now
  and (p_swept_at is null or p_swept_at < p_now - interval '5 seconds');

-- __NoteSilentWorkers: notes since when the sessions of workers are gone.
-- Locks: rows of Workers (SKIP LOCKED).
create or replace function __NoteSilentWorkers(p_now timestamptz) returns void
language sql set search_path from current as $$
  update Workers w set silent_since = p_now
  from (select s.worker_id from Workers s
        where s.silent_since is null and s.lease_until > '-infinity'
          and _SessionIsGone(s.session_pid, s.session_start)
        order by s.worker_id for update skip locked) l
  where w.worker_id = l.worker_id
$$;

-- _SweepExpired: frees what dead workers held: those of p_dead (which the caller found dead on its
-- own host), those whose session is gone and has not come back for p_silence, and those whose lease
-- has run out. Returns how many items were freed. A swept row stays for a while, marked by
-- lease_until = -infinity, and is swept again now and then: a statement of the dead process may
-- still have been running and have left new leases behind, or somebody had locked what it held.
-- Locks: rows of Workers (SKIP LOCKED), then as __FreeWorkers. Repeat: yes.
create or replace function _SweepExpired(p_dead bigint[],
                                         p_silence interval default interval '2 seconds')
returns bigint
language plpgsql set search_path from current as $$
declare
  v_now timestamptz := _Now();
  v_workers bigint[];
  v_freed bigint;
begin
  perform __NoteSilentWorkers(v_now);
  select array_agg(l.worker_id) into v_workers
  from (select w.worker_id from Workers w
        where _SweepIsDue(w.lease_until, w.swept_at, v_now) or w.worker_id = any (p_dead)
          or (w.silent_since <= v_now - p_silence and w.lease_until > '-infinity')
        order by w.worker_id for update skip locked) l;
  if v_workers is null then
    return 0;
  end if;
  v_freed := __FreeWorkers(v_workers, 1);
  delete from Workers w
    where w.worker_id = any (v_workers) and w.lease_until = '-infinity'
      and w.started < v_now - interval '2 minutes' and not __HoldsLeases(w.worker_id);
  update Workers w set lease_until = '-infinity', swept_at = v_now,
      started = case when w.lease_until > '-infinity' then v_now else w.started end
    where w.worker_id = any (v_workers);
  return v_freed;
end $$;
