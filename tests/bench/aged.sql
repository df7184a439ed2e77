-- Fills a hub with ended and waiting instances, as dtbench leaves them behind: run by aged.py
-- through psql with the variables instances, waiting, batch and days. What an ended instance looks
-- like is copied from one that dtbench ran; every second has one chunk of history, the others two,
-- and one of ten thousand has FAILED. Ids are random, and the times of creation lie evenly in the
-- days before the first instance of dtbench.
set search_path = dt, pg_temp;

create temporary table Template as
select i.*, (select min(o.created_time) from Instances o) as until
from Instances i where i.completed_time is not null and i.kind = 0
order by i.instance_key limit 1;
create temporary table TemplateChunks as
select h.*, row_number() over (order by h.turn) as place
from History h join Template t on t.instance_key = h.instance_key;

-- Keys are drawn in batches, so that the sequence stays ahead of what is inserted.
create procedure pg_temp.fill(p_first bigint, p_last bigint, p_all bigint, p_days int)
language plpgsql as $$
declare
  v_base bigint := nextval(pg_get_serial_sequence('dt.Instances', 'instance_key'));
begin
  perform setval(pg_get_serial_sequence('dt.Instances', 'instance_key'),
                 v_base + p_last - p_first + 1);
  insert into Instances (instance_key, created_time, hub_id, generation, kind, instance_id,
                         execution_id, name, version, stored_status, last_updated_time,
                         completed_time, last_token, last_turn, output, input, trace_context, tags)
    overriding system value
    select v_base + n - p_first, c.created, t.hub_id, 0, 0, md5('aged' || n), md5('execution' || n),
           t.name, t.version, case when n % 10000 = 0 then 3 else t.stored_status end,
           c.created + interval '1 s',
           c.created + interval '1 s', t.last_token, t.last_turn, t.output, t.input,
           t.trace_context, t.tags
    from generate_series(p_first, p_last) n
    cross join Template t
    cross join lateral (
      select t.until - p_days * interval '1 day' * (p_all - n) / p_all as created) c;
  insert into History (instance_key, turn, committed_time, first_event, event_count, events)
    select v_base + n - p_first, h.turn, h.committed_time, h.first_event, h.event_count, h.events
    from generate_series(p_first, p_last) n
    join TemplateChunks h on h.place <= 1 + n % 2;
end $$;

select format('call pg_temp.fill(%s, %s, %s, %s)', f, least(f + :batch - 1, :instances), :instances,
              :days)
from generate_series(1, :instances, :batch) f \gexec

-- Half of the waiting instances have a timer, half wait for an event.
with waiting as (
  insert into Instances (created_time, hub_id, instance_id, execution_id, name, stored_status,
                         last_updated_time, input)
    select t.until, t.hub_id, 'waiting-' || n, md5('waiting' || n), t.name, 6, t.until, t.input
    from Template t cross join generate_series(1, :waiting) n
    returning instance_key, hub_id, name),
ready as (
  insert into ReadyInstances (instance_key, hub_id, next_due, turn, lower_name)
    select w.instance_key, w.hub_id,
           case when w.instance_key % 2 = 0 then now() + interval '30 days' end, 1, lower(w.name)
    from waiting w),
timers as (
  insert into NewEvents (instance_key, visible_at, generation, event_type, event)
    select w.instance_key, now() + interval '30 days', 0, 13, '\x0801'
    from waiting w where w.instance_key % 2 = 0)
insert into History (instance_key, turn, committed_time, first_event, event_count, events)
  select w.instance_key, h.turn, h.committed_time, h.first_event, h.event_count, h.events
  from waiting w join TemplateChunks h on h.place = 1;
