-- How much there is of everything, for metrics: of all hubs, asked by one daemon at a time.

-- _SampleWork: what waits and what there is in each hub, if the daemon leads; else one row that
-- says so. The first row has no hub. Of the others "series" says what "value" is, and "label" of
-- what:
--   0  work that is due and that nobody has, of the kind 0 turns, 1 activities, 2 entities
--   1  for how long the first of it has been due, in milliseconds; no row when there is none
--   2  orchestrations of the RuntimeStatus, live ones and ended ones
-- Counting stops at limits, so that the call costs the same however much there is: a value that has
-- reached its limit means "so many at least", and what is beyond the limit of all has no row.
--   p_batch {worker; hubs: how many, in the order of their ids; rows_max: that all counts together
--            look at; live_max: live orchestrations of a hub, whose rows are read; count_max: of
--            each other count}
-- Locks: the row of Leaders with SKIP LOCKED. Repeat: yes.
create or replace function _SampleWork(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (leads boolean, hub text, series smallint, label smallint, value bigint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  c_role constant text := 'metrics';
  v_now timestamptz := _Now();
  v_hubs int := p_batch ->> 'hubs';
  v_count_max int := p_batch ->> 'count_max';
  v_live_max int := p_batch ->> 'live_max';
  v_left int := p_batch ->> 'rows_max';
  v_found bigint;
  v_since timestamptz;
  v_hub record;
  v_kind smallint;
begin
  if not exists (select from Leaders l where l.role = c_role) then
    insert into Leaders (role, worker_id, since, settings) values (c_role, 0, v_now, '{}')
      on conflict do nothing;
  end if;
  select l.leads into leads
  from __Lead(c_role, (p_batch ->> 'worker')::bigint, '{}', v_now) l;
  return next;
  if not leads then
    return;
  end if;

  -- What waits comes first, of all hubs: it is what alerts and scalers look at.
  for v_hub in select h.hub_id, h.name from TaskHubs h order by h.hub_id limit v_hubs loop
    hub := v_hub.name;
    foreach v_kind in array array[0, 1, 2]::smallint[] loop
      select w.waiting, w.since into v_found, v_since
      from __SampleWaiting(v_hub.hub_id, v_kind, v_now, least(v_count_max, v_left)) w;
      v_left := v_left - v_found;
      series := 0;
      label := v_kind;
      value := v_found;
      return next;
      if v_since is not null then
        series := 1;
        value := extract(epoch from v_now - v_since) * 1000;
        return next;
      end if;
    end loop;
  end loop;

  series := 2;
  for hub, label, value in
    select i.hub, i.status, i.instances
    from __SampleInstances(v_hubs, v_count_max, v_live_max, v_left) i loop
    return next;
  end loop;
end $$;

-- __SampleWaiting: the work of a kind in a hub that is due and free, counted up to a limit, and
-- since when the first of it is due. Activities stand in the order of their places, so the first of
-- those is the first one of the oldest fan-out.
create or replace function __SampleWaiting(p_hub int, p_kind smallint, p_now timestamptz,
                                           p_limit int, out waiting bigint, out since timestamptz)
language plpgsql stable set search_path from current set enable_seqscan = off as $$
declare
  v_row_kind smallint := case p_kind when 2 then 1 else 0 end;
begin
  if p_kind <> 1 then
    waiting := (select count(*)
                from (select from ReadyInstances r
                      where r.hub_id = p_hub and r.kind = v_row_kind and r.lease_token is null
                        and r.next_due is not null and r.next_due <= p_now
                      limit greatest(p_limit, 0)) w);
    since := (select r.next_due from ReadyInstances r
              where r.hub_id = p_hub and r.kind = v_row_kind and r.lease_token is null
                and r.next_due is not null and r.next_due <= p_now
              order by r.next_due limit 1);
    return;
  end if;
  -- The next claim gives those a place that have waited for a time, and without workers there is
  -- none.
  waiting := (select count(*)
              from (select from NewTasks t
                    where t.hub_id = p_hub and t.lease_token is null and t.place is not null
                    limit greatest(p_limit, 0)) w)
    + (select count(*)
       from (select from NewTasks t
             where t.hub_id = p_hub and t.lease_token is null and t.place is null
               and t.ready_at <= p_now
             limit greatest(p_limit, 0)) d);
  since := least(
    (select t.ready_at from NewTasks t
     where t.hub_id = p_hub and t.lease_token is null and t.place is not null
     order by t.place, t.task_key limit 1),
    (select t.ready_at from NewTasks t
     where t.hub_id = p_hub and t.lease_token is null and t.place is null and t.ready_at <= p_now
     order by t.ready_at limit 1));
end $$;

-- __SampleInstances: the orchestrations of the first hubs by status, each count up to its limit,
-- until so many rows have been looked at.
create or replace function __SampleInstances(p_hubs int, p_count_max int, p_live_max int,
                                             p_rows_max int)
returns table (hub text, status smallint, instances bigint)
language plpgsql stable set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_left bigint := p_rows_max;
  v_hub record;
begin
  for v_hub in select h.hub_id, h.name from TaskHubs h order by h.hub_id limit p_hubs loop
    exit when v_left <= 0;
    hub := v_hub.name;
    for status, instances in
      select l.status, l.instances
      from __SampleLive(v_hub.hub_id, least(p_live_max, v_left)::int) l loop
      v_left := v_left - instances;
      return next;
    end loop;
    -- Completed, failed, canceled, terminated.
    foreach status in array array[1, 3, 4, 5]::smallint[] loop
      instances := (select count(*)
                    from (select from Instances i
                          where i.hub_id = v_hub.hub_id and i.stored_status = status
                            and i.kind = 0 and i.completed_time is not null
                          limit least(p_count_max, greatest(v_left, 0))) e);
      v_left := v_left - instances;
      return next;
    end loop;
  end loop;
end $$;

-- __SampleLive: the live orchestrations of a hub by status, among the first ones up to a limit.
create or replace function __SampleLive(p_hub int, p_limit int)
returns table (status smallint, instances bigint)
language sql stable set search_path from current set enable_seqscan = off as $$
  select s.status, s.instances
  from (select count(*) filter (where l.status = 6) as pending,
               count(*) filter (where l.status = 0) as running,
               count(*) filter (where l.status = 7) as suspended
        from (select __StatusNow(i.stored_status, r.turn) as status
              from (select i.instance_key, i.stored_status from Instances i
                    where i.hub_id = p_hub and i.kind = 0 and i.completed_time is null
                    order by i.created_time limit p_limit) i
              left join ReadyInstances r on r.instance_key = i.instance_key) l) c
  cross join lateral (values (6::smallint, c.pending), (0::smallint, c.running),
                             (7::smallint, c.suspended)) s(status, instances)
$$;
