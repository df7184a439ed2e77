-- _SampleWork: what waits and what there is in all hubs, up to its limits, by one daemon at a time.
\set SHOW_CONTEXT never
\pset null '(null)'
create function sample(p_worker bigint, p_hubs int, p_rows int, p_live int, p_count int)
returns table (leads boolean, hub text, series smallint, label smallint, value bigint)
language sql as $$
  select s.leads, s.hub, s.series, s.label,
         case when s.series = 1 then (s.value >= 3600000)::int else s.value end
  from dt._SampleWork(0, jsonb_build_object('worker', p_worker, 'hubs', p_hubs, 'rows_max', p_rows,
                                            'live_max', p_live, 'count_max', p_count), '{}') s
$$;

-- Nobody leads before a daemon is registered.
select * from sample(1, 10, 1000, 100, 100);
select worker_id from dt._RegisterWorker('host a', 'a', '1.0', '1 h', false, '[]', '{}');
select worker_id from dt._RegisterWorker('host b', 'b', '1.0', '1 h', false, '[]', '{}');
select * from sample(1, 10, 1000, 100, 100);
-- The other one does not.
select * from sample(2, 10, 1000, 100, 100);
select role, worker_id from dt.Leaders order by role;

-- Two turns of which one waits for its time, five activities of which two are leased and one waits
-- for its time, an entity; and instances of each status. The first turn has waited for an hour.
\c - app
select count(*) from generate_series(1, 5) n
cross join lateral dt.CreateInstance('Pay', InstanceID => 'pay-' || n);
select dt.SignalEntity('@counter@1', 'add');
\c - postgres
update dt.ReadyInstances r
  set next_due = now() + case i.instance_id when 'pay-1' then interval '-1 hour'
                                            when 'pay-2' then '1 hour' end
  from dt.Instances i
  where i.instance_key = r.instance_key and i.kind = 0;
update dt.ReadyInstances r set turn = 1 from dt.Instances i
  where i.instance_key = r.instance_key and i.instance_id = 'pay-2';
update dt.Instances set stored_status = 7 where instance_id = 'pay-3';
update dt.Instances set stored_status = 1, completed_time = now() where instance_id = 'pay-4';
update dt.Instances set stored_status = 3, completed_time = now() where instance_id = 'pay-5';
insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, ready_at, place,
                         lease_token)
  select 1, (select hub_id from dt.TaskHubs where name = 'shop'), 0, n, 'Act',
         now() + case n when 5 then interval '1 hour' else '-1 minute' end,
         case when n < 4 then now() end, case when n < 3 then 1 << 20 end
  from generate_series(1, 5) n;
insert into dt.TaskHubs (name) values ('elsewhere');
select * from sample(1, 10, 1000, 100, 100);

-- The limits: of hubs; of live instances and of each count; of all together.
select * from sample(1, 1, 1000, 1, 1) where series is distinct from 1;
select * from sample(1, 10, 3, 100, 100) where series = 2;

-- When the leader is gone another one follows.
update dt.Workers set lease_until = '-infinity' where worker_id = 1;
select * from sample(2, 0, 1000, 100, 100);
select role, worker_id from dt.Leaders order by role;
