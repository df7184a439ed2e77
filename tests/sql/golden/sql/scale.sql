-- GetScaleMetric and GetScaleRecommendation: known values, and what counts.
\set SHOW_CONTEXT never
\pset null '(null)'
create function tasks(p_count int, p_ready_at timestamptz, p_token bigint) returns void
language sql as $$
  insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, ready_at, lease_token)
  select 1, (select hub_id from dt.TaskHubs where name = 'shop'), 0, n, 'Act', p_ready_at, p_token
  from generate_series(1, p_count) n
$$;
create procedure set_hot(p_id text, p_what text) language plpgsql as $$
begin
  execute 'update dt.ReadyInstances r set ' || p_what || ' from dt.Instances i
           where i.instance_key = r.instance_key and i.instance_id = $1' using p_id;
end $$;

-- No hub, and an empty hub: 0.
\c - viewer
select dt.GetScaleMetric(), dt.GetScaleRecommendation(1, 1);
\c - postgres
insert into dt.TaskHubs (name) values ('shop'), ('elsewhere');
\c - viewer
select dt.GetScaleMetric(), dt.GetScaleRecommendation(1, 1);

-- 10 activities with limit 3: 4; 99 with 3: 33.
\c - postgres
select tasks(10, now(), null);
\c - viewer
select dt.GetScaleMetric(), dt.GetScaleRecommendation(1, 3);
\c - postgres
select tasks(80, now(), null), tasks(9, now(), 1 << 20);
\c - viewer
select dt.GetScaleMetric(), dt.GetScaleRecommendation(1, 3), dt.GetScaleRecommendation(1, 100),
       dt.GetScaleRecommendation(1, 'infinity'), dt.GetScaleRecommendation(0, 0),
       dt.GetScaleRecommendation(-5, 2.5);

-- Tasks that are not due do not count.
\c - postgres
delete from dt.NewTasks;
select tasks(5, now() + interval '1 hour', null);
\c - viewer
select dt.GetScaleMetric(), dt.GetScaleRecommendation(1, 1);

-- An activity with a time-out: the instance waits for a timer in the future and the task counts.
-- Several events of one instance do not multiply anything.
\c - app
select InstanceID from dt.CreateInstance('Pay', InstanceID => 'waits');
select InstanceID from dt.CreateInstance('Pay', InstanceID => 'due');
select dt.RaiseEvent('e', 'due'), dt.RaiseEvent('e', 'due');
select InstanceID
from dt.CreateInstance('Pay', InstanceID => 'scheduled', StartTime => now() + interval '1 hour');
\c - postgres
delete from dt.NewTasks;
select tasks(3, now(), null);
update dt.NewEvents e set visible_at = now() + interval '1 hour' from dt.Instances i
  where i.instance_key = e.instance_key and i.instance_id = 'waits';
call set_hot('waits', 'next_due = now() + interval ''1 hour''');
\c - viewer
select dt.GetScaleMetric(), dt.GetScaleRecommendation(1, 2);

-- Leased ones count while they have a message due, idle residents do not. Suspended ones count.
\c - postgres
call set_hot('due', 'lease_token = 1 << 20, next_due = null');
call set_hot('waits', 'lease_token = 1 << 20, next_due = null');
\c - viewer
select dt.GetScaleMetric();
\c - postgres
delete from dt.NewEvents e using dt.Instances i
  where i.instance_key = e.instance_key and i.instance_id = 'due';
\c - viewer
select dt.GetScaleMetric();
\c - app
select dt.RaiseEvent('e', 'due');
\c - postgres
update dt.Instances set stored_status = 7 where instance_id = 'due';
\c - viewer
select dt.GetScaleMetric(), dt.GetScaleRecommendation(1, 1), dt.GetScaleRecommendation(5, 5);

-- Other hubs do not count. The clamp to an int is real: a float of 3e9 workers is no int.
\c - postgres
update dt.NewTasks set hub_id = (select hub_id from dt.TaskHubs where name = 'elsewhere');
\c - viewer
select dt.GetScaleMetric();
select dt.GetScaleRecommendation('nan', 1);
\echo :SQLSTATE
select dt.GetScaleRecommendation(1, null);
