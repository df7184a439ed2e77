-- Retention: ended orchestrations go when they have been kept long enough, whole, in small batches,
-- one transaction each, by one daemon at a time. A policy looks at one instance: its status, and
-- how long ago it ended.
--
-- What is live is never touched, nor is a part of it: an ended child stays as long as the
-- generation of the orchestration that started it is live, or that of one further up, since a
-- rewind resumes failed children where they were and people follow a running orchestration down to
-- them. A parent that continued as new, ended or was purged keeps nothing back, so what an eternal
-- orchestration leaves behind is bounded. A live child does not keep its ended parent.

-- __RetentionPlan: what applies, a row per hub and status of ended instances: the hub's policy for
-- that status, else the hub's for all, else what the leading daemon was told. keep null = for ever.
create or replace view __RetentionPlan as
select h.hub_id, h.name as hub, s.status,
       case when p.hub_id is not null then p.keep
            when d.hub_id is not null then d.keep
            else (l.settings ->> s.status::text)::bigint * interval '1 microsecond' end as keep,
       coalesce(p.set_by, d.set_by) as set_by
from TaskHubs h
cross join unnest('{1,3,4,5}'::smallint[]) s(status)
join Leaders l on l.role = 'retention'
left join RetentionPolicies p on p.hub_id = h.hub_id and p.status = s.status
left join RetentionPolicies d on d.hub_id = h.hub_id and d.status = -1;

-- _ApplyRetention: one batch of retention in all hubs, if the caller leads. A row for each hub and
-- status of which something was purged, then one row without hub that tells whether the caller
-- leads, else who does, and whether more may be due now.
--   p_batch {worker, keep: {status: microseconds, ...}, rows, pause, grace}
--           keep: for hubs and statuses without a policy of their own; a missing status is kept
--           rows bounds the instances looked at, pause (microseconds) is how long a hub and status
--           rests after nothing was left; no instance goes within grace (microseconds) after its
--           end
-- Costs one probe of an index for each hub and status that has nothing due.
-- Locks: the row of Leaders with SKIP LOCKED, which fences and serializes the batches of all
-- daemons; per hub and status as __WalkEnded; then the tasks of all that goes, by key. Repeat: yes;
-- what an earlier call purged is not counted again.
create or replace function _ApplyRetention(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (leads boolean, leader text, more boolean, hub text, status smallint, purged bigint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_left int := p_batch ->> 'rows';
  v_pause interval := (p_batch ->> 'pause')::bigint * interval '1 microsecond';
  v_grace interval := (p_batch ->> 'grace')::bigint * interval '1 microsecond';
  c_walks_max constant int := 1000;  -- that one call looks at, whether they find something or not
  v_walks int := 0;
  v_walk record;
  v_looked int;
  v_keys bigint[];
  v_gone bigint[] := '{}';
begin
  select l.leads, l.leader into leads, leader
  from __Lead('retention', (p_batch ->> 'worker')::bigint, p_batch -> 'keep', v_now) l;
  if leads then
    for v_walk in
      select p.hub_id, p.hub, p.status, p.keep from __RetentionPlan p
      left join RetentionWalks w on w.hub_id = p.hub_id and w.status = p.status
      where p.keep is not null and coalesce(w.next_run, '-infinity') <= v_now
      order by w.next_run nulls first, p.hub_id, p.status limit c_walks_max
    loop
      v_walks := v_walks + 1;
      begin
        select w.looked, w.keys into v_looked, v_keys
        from __WalkEnded(v_walk.hub_id, v_walk.status,
                         __Earlier(v_now, greatest(v_walk.keep, v_grace)),
                         v_left, v_now, v_pause) w;
      exception when data_exception then
        -- What is wrong with the rows of one hub must not keep the others from theirs.
        raise warning
          'retention of % instances in task hub "%" failed, and goes on with the others: %',
          __StatusName(v_walk.status), v_walk.hub, sqlerrm;
        insert into RetentionWalks as w (hub_id, status, last_run, next_run)
          values (v_walk.hub_id, v_walk.status, v_now, v_now + v_pause)
          on conflict (hub_id, status) do update set last_run = v_now, next_run = v_now + v_pause;
        v_looked := 0;
        v_keys := '{}';
      end;
      if v_keys <> '{}' then
        hub := v_walk.hub;
        status := v_walk.status;
        purged := cardinality(v_keys);
        return next;
        v_gone := v_gone || v_keys;
      end if;
      v_left := v_left - v_looked;
      exit when v_left = 0;
    end loop;
    if v_gone <> '{}' then
      perform __DeleteInstances(v_gone);
    end if;
  end if;
  more := v_left = 0 or v_walks = c_walks_max;
  hub := null;
  status := null;
  purged := null;
  return next;
end $$;

-- __Lead: takes or renews the role unless another live worker holds it; returns whether it leads,
-- else who does.
-- p_settings is noted for who looks at the table.
-- Locks: the row of Leaders, until the end of the transaction, with SKIP LOCKED: whoever finds it
-- locked does not lead now. So two that both believe to lead never act at the same time.
create or replace function __Lead(p_role text, p_worker bigint, p_settings jsonb, p_now timestamptz,
                                  out leads boolean, out leader text)
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_holder bigint;
begin
  leads := false;
  select w.worker_id, w.host || ', worker ' || w.worker_id into v_holder, leader
  from Leaders l join Workers w on w.worker_id = l.worker_id
  where l.role = p_role and w.lease_until >= p_now;
  if v_holder <> p_worker
     or not exists (select from Workers w
                    where w.worker_id = p_worker and w.lease_until >= p_now) then
    return;
  end if;
  perform 1 from Leaders l where l.role = p_role for update skip locked;
  if not found then
    return;
  end if;
  -- Somebody else may have been faster; this statement sees it.
  leads := not exists (
    select from Leaders l join Workers w on w.worker_id = l.worker_id
    where l.role = p_role and l.worker_id <> p_worker and w.lease_until >= p_now);
  if leads then
    update Leaders l
      set worker_id = p_worker, settings = p_settings,
          since = case when l.worker_id = p_worker then l.since else p_now end
      where l.role = p_role and (l.worker_id, l.settings) is distinct from (p_worker, p_settings);
  end if;
end $$;

-- __WalkEnded: locks, of the orchestrations of a hub and status that ended up to p_until, the next
-- p_rows in the order of their ends, but for those that belong to a live one and those that
-- somebody else has locked. Returns how many were looked at, and those that it locked and counted
-- as purged, which the caller does. What is left is passed over and looked at again by a later
-- walk, the sooner the fewer they are: a walk over many of them must not be repeated all the time.
-- That walk also finds what was committed behind this one.
-- Locks: rows of Instances with SKIP LOCKED, by key; that they have ended is checked again under
-- the lock. Then the row of RetentionWalks. Caller holds the row of Leaders.
create or replace function __WalkEnded(p_hub int, p_status smallint, p_until timestamptz,
                                       p_rows int,
                                       p_now timestamptz, p_pause interval,
                                       out looked int, out keys bigint[])
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  -- Some hundred times what it takes to look at one.
  c_pause_per_passed constant interval := '1 ms';
  v_walk RetentionWalks;
  v_found bigint[];
  v_last_time timestamptz;
begin
  select w.* into v_walk from RetentionWalks w where w.hub_id = p_hub and w.status = p_status;
  if not found then
    insert into RetentionWalks as w (hub_id, status, last_run, next_run)
      values (p_hub, p_status, p_now, p_now) returning w.* into v_walk;
  end if;
  if v_walk.restart_at <= p_now then
    v_walk.position_time := '-infinity';
    v_walk.position_key := 0;
    v_walk.passed_over := 0;
    v_walk.restart_at := 'infinity';  -- not before this walk has come to its end
  end if;

  select e.keys, e.last_time into v_found, v_last_time
  from __EndedAfter(p_hub, p_status, v_walk.position_time, v_walk.position_key, p_until, p_rows) e;
  looked := cardinality(v_found);
  keys := '{}';
  if looked > 0 then
    v_walk.position_time := v_last_time;
    v_walk.position_key := v_found[looked];
    v_found := __WithoutLiveAncestors(v_found);
    keys := array(
      select i.instance_key from Instances i
      where i.instance_key = any (v_found) and i.stored_status = p_status
        and coalesce(i.completed_time, 'infinity') <= p_until
      order by i.instance_key for update skip locked);
  end if;

  v_walk.passed_over := v_walk.passed_over + looked - cardinality(keys);
  if looked < p_rows and v_walk.restart_at = 'infinity' then
    v_walk.restart_at := __Later(p_now, v_walk.passed_over * c_pause_per_passed);
  end if;
  update RetentionWalks w
    set purged_total = w.purged_total + cardinality(keys), last_run = p_now,
        next_run = case when looked < p_rows then p_now + p_pause else p_now end,
        position_time = v_walk.position_time, position_key = v_walk.position_key,
        passed_over = v_walk.passed_over, restart_at = v_walk.restart_at
    where w.hub_id = p_hub and w.status = p_status;
end $$;

-- __EndedAfter: the orchestrations of a hub and status that ended up to p_until, the next p_rows
-- after a position, in order, and when the last of them ended. Sorting is off, so that
-- instances_ended, which has this order, is the only index for it.
create or replace function __EndedAfter(p_hub int, p_status smallint, p_time timestamptz,
                                        p_key bigint,
                                        p_until timestamptz, p_rows int,
                                        out keys bigint[], out last_time timestamptz)
language plpgsql stable set search_path from current set enable_seqscan = off set enable_sort = off
set enable_incremental_sort = off as $$
begin
  select coalesce(array_agg(e.instance_key order by e.completed_time, e.instance_key), '{}'),
         max(e.completed_time)
    into keys, last_time
  from (select i.instance_key, i.completed_time from Instances i
        where i.hub_id = p_hub and i.stored_status = p_status and i.completed_time is not null
          and i.completed_time <= p_until and i.kind = 0
          and (i.completed_time, i.instance_key) > (p_time, p_key)
        order by i.completed_time, i.instance_key limit p_rows) e;
end $$;

-- __WithoutLiveAncestors: of ended instances those that no live generation has started, directly or
-- by others. Not checked under locks: an ancestor that is rewound meanwhile finds an ended child
-- gone, as after any purge.
create or replace function __WithoutLiveAncestors(p_keys bigint[]) returns bigint[]
language plpgsql stable set search_path from current set enable_seqscan = off as $$
declare
  v_keys bigint[];
begin
  with recursive ancestors as (
    select i.instance_key, i.parent_key as key, i.parent_generation as generation
    from Instances i where i.instance_key = any (p_keys)
    union all
    select a.instance_key, p.parent_key, p.parent_generation
    from ancestors a
    join Instances p on p.instance_key = any (array[a.key]) and p.generation = a.generation)
  select array_agg(k.key) into v_keys
  from unnest(p_keys) k(key)
  where k.key not in (select a.instance_key from ancestors a
                      join ReadyInstances r on r.instance_key = any (array[a.key])
                        and r.generation = a.generation);
  return coalesce(v_keys, '{}');
end $$;

-- SetRetention: how long a hub keeps instances of a status after their end: Completed, Failed,
-- Canceled, Terminated, or Default for those without a policy of their own. An interval of 0 = not
-- at all, at most 100 years, null = for ever. The hub is that of the caller unless named. For
-- operators only. Repeat: yes.
create or replace function SetRetention(Status text, Keep interval, TaskHub text default null)
returns void
language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
declare
  c_keep_max constant interval := '100 years';  -- as the settings of the daemon
  v_hub int := __RetentionHub($3);
  v_status smallint := __RetentionStatus($1);
begin
  if $2 < interval '0' then
    raise exception 'Keep is %, and nothing can be kept for less than 0; null keeps for ever', $2
      using errcode = 'DT002';
  -- By its time, too: the parts of an interval may have different signs.
  elsif $2 > c_keep_max or __Earlier(now(), $2) < now() - c_keep_max then
    raise exception 'Keep is %, the limit is %; null keeps for ever', $2, c_keep_max
      using errcode = '22023';
  end if;
  insert into RetentionPolicies as p (hub_id, status, keep) values (v_hub, v_status, $2)
    on conflict (hub_id, status) do update
      set keep = excluded.keep, set_time = clock_timestamp(), set_by = session_user;
  perform __LogAction('SetRetention', coalesce($3, CurrentTaskHub()),
                      format('%s is kept for %s', $1, coalesce($2::text, 'ever')));
  if not exists (select from Leaders l join Workers w on w.worker_id = l.worker_id
                 where l.role = 'retention' and w.lease_until >= _Now()) then
    raise notice 'no daemon applies retention now: start one with retention.enabled = true';
  end if;
end $$;

-- RemoveRetention: takes a policy of SetRetention back. For operators only.
create or replace function RemoveRetention(Status text, TaskHub text default null) returns void
language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
declare
  v_hub int := __RetentionHub($2);
  v_status smallint := __RetentionStatus($1);
begin
  delete from RetentionPolicies p where p.hub_id = v_hub and p.status = v_status;
  if not found then
    raise exception 'task hub "%" has no policy for "%": vRetention shows what applies',
      coalesce($2, CurrentTaskHub()), $1 using errcode = 'DT001';
  end if;
  perform __LogAction('RemoveRetention', coalesce($2, CurrentTaskHub()), $1);
end $$;

-- __RetentionHub: the id of the hub that an operator means, which must exist, and be that of a
-- login that is bound to one. Locks: the hubs, shared, until the caller's commit: whoever deletes
-- the hub sees its policies.
create or replace function __RetentionHub(p_name text) returns int
language plpgsql set search_path from current as $$
declare
  v_name text := coalesce(p_name, CurrentTaskHub());
  v_hub int;
begin
  if v_name <> CurrentTaskHub() then
    if exists (select from TaskHubBindings b where b.role_name = session_user::text) then
      raise exception '"%" is bound to task hub "%", and this concerns task hub "%"', session_user,
        CurrentTaskHub(), v_name using errcode = '42501',
        hint = 'Call it as a login that is bound to that task hub, or to none.';
    end if;
  end if;
  perform __LockHubs(p_alone => false);
  select h.hub_id into v_hub from TaskHubs h where h.name = v_name;
  if v_hub is null then
    raise exception 'there is no task hub "%": name one with TaskHub => ''...''', v_name
      using errcode = 'DT001';
  end if;
  return v_hub;
end $$;

-- __RetentionStatus: the number of a status as SetRetention takes it.
create or replace function __RetentionStatus(p_name text) returns smallint
language plpgsql immutable set search_path from current as $$
declare
  c_names constant text[] := '{Default,Completed,Failed,Canceled,Terminated}';
  c_numbers constant smallint[] := '{-1,1,3,4,5}';
  v_place int := array_position(c_names, p_name);
begin
  if v_place is null then
    raise exception 'Status is "%", but only %, %, %, % and % have a policy', p_name, c_names[1],
      c_names[2], c_names[3], c_names[4], c_names[5] using errcode = 'DT002';
  end if;
  return c_numbers[v_place];
end $$;
