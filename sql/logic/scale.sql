-- How much work waits, for scalers: of the caller's own hub. Locks: none. Repeat: yes.

-- __CountWork: the live instances of a hub that have a message due, suspended ones and entities
-- too, and its activity tasks that are due; leased or not, so that busy workers are not scaled
-- away. Two counts of their own: an instance that waits for a time-out counts by its activity
-- alone. A back-off or a scheduled start makes a free instance due later, and a free entity whose
-- messages wait for the end of a lock is not due: no worker could take it. Free ones are a range of
-- an index; of leased ones the table is read, because an index of them would cost every claim more
-- than this, which is asked for now and then.
create or replace function __CountWork(p_hub int, out instances bigint, out tasks bigint)
language plpgsql set search_path from current as $$
declare
  v_now timestamptz := _Now();
begin
  instances :=
    (select count(*) from ReadyInstances r
     where r.hub_id = p_hub and r.kind in (0, 1) and r.lease_token is null
       and r.next_due is not null and r.next_due <= v_now)
    + (select count(*) from ReadyInstances r
       where r.hub_id = p_hub and r.lease_token is not null
         and exists (select from NewEvents e
                     where e.instance_key = r.instance_key and e.visible_at <= v_now));
  tasks := (select count(*) from NewTasks t where t.hub_id = p_hub and t.ready_at <= v_now)
    + (select coalesce(sum(upper(i.ids) - lower(i.ids)), 0)
       from ReadyInstances r cross join unnest(r.inline_tasks) i(ids)
       where r.hub_id = p_hub and r.lease_token is not null);
end $$;

-- GetScaleMetric: how many work items there are for the workers of the caller's hub.
create or replace function GetScaleMetric() returns int
language plpgsql security definer set search_path from current as $$
begin
  return (select least(w.instances + w.tasks, 2147483647) from __CountWork(__OwnHub(false)) w);
end $$;

-- GetScaleRecommendation: how many workers the caller's hub needs, when each takes so many
-- orchestrations and activities at a time (at least 1); 0 when there is nothing to do.
create or replace function GetScaleRecommendation(MaxOrchestrationsPerWorker real,
                                                  MaxActivitiesPerWorker real) returns int
language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
declare
  v_orchestrations constant float8 := GetScaleRecommendation.MaxOrchestrationsPerWorker;
  v_activities constant float8 := GetScaleRecommendation.MaxActivitiesPerWorker;
begin
  if v_orchestrations is null or v_orchestrations = 'NaN'
     or v_activities is null or v_activities = 'NaN' then
    raise exception
      'MaxOrchestrationsPerWorker is % and MaxActivitiesPerWorker is %, not two numbers',
      coalesce(v_orchestrations::text, 'null'), coalesce(v_activities::text, 'null')
      using errcode = '22023';
  end if;
  return (select least(ceil(w.instances / greatest(v_orchestrations, 1))
                       + ceil(w.tasks / greatest(v_activities, 1)), 2147483647)
          from __CountWork(__OwnHub(false)) w);
end $$;
