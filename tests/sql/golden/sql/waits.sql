-- GetInstanceWaits: what test_waits.py cannot bring about with a worker, and who may ask.
\set SHOW_CONTEXT never
\pset null '(null)'
\c - app
-- No hub, then an instance that is not there.
select Kind, State, ID, Sentence from dt.GetInstanceWaits('nobody');
select InstanceID from dt.CreateInstance('Pay', InstanceID => 'pay');
select Kind, State, ID, Sentence from dt.GetInstanceWaits('nobody');
select Kind, State, ID, Sentence from dt.GetInstanceWaits(null);

-- Sentences hold times, and so do columns.
\c - postgres
create view waits_of as
select i.instance_id, w.Kind, w.State, w.Name, w.ID, w.Since <= now() as since,
       w.Until > now() as until, w.WorkerID, w.Host, w.Detail,
       regexp_replace(w.Sentence, '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC', 'TIME', 'g') as sentence
from dt.Instances i
cross join lateral dt.__InstanceWaits(i.hub_id, i.instance_id) w;
create procedure set_hot(p_what text) language plpgsql as $$
begin
  execute 'update dt.ReadyInstances r set ' || p_what || ' from dt.Instances i
           where i.instance_key = r.instance_key and i.instance_id = ''pay''';
end $$;
create procedure add_history(p_turn int, p_events bytea[]) language sql as $$
  insert into dt.History (instance_key, turn, committed_time, first_event, event_count, events)
    select i.instance_key, p_turn, now() - interval '1 hour', 10 * (p_turn - 1),
           cardinality(p_events), string_agg(dt.__PbBytes(3, e.event), '' order by e.number)
    from dt.Instances i, unnest(p_events) with ordinality e(event, number)
    where i.instance_id = 'pay' group by 1;
$$;
create function event(p_id int, p_type int, p_body bytea) returns bytea language sql
return dt.__PbNumber(1, p_id) || dt.__PbBytes(p_type, p_body);
\x on

-- Workers: none; of another hub; dead; of other work; of other names, more than are told; of it.
select Kind, State, Name, since, sentence from waits_of;
insert into dt.TaskHubs (name) values ('bank');
select worker_id from dt._RegisterWorker('host a', 'a', '1.0', '1 h', false,
  '[{"hub": 2, "kind": 0, "streams": 1, "credits": 9}]', null);
select worker_id from dt._RegisterWorker('host b', 'b', '1.0', '-1 h', false,
  '[{"hub": 1, "kind": 0, "streams": 1, "credits": 9}]', null);
select sentence from waits_of;
select worker_id from dt._RegisterWorker('host c', 'c', '1.0', '1 h', false,
  '[{"hub": 1, "kind": 2, "streams": 1, "credits": 9}]', null);
select sentence from waits_of;
update dt.Workers set served =
  '[{"hub": 1, "kind": 0, "streams": 1, "credits": 9, "names": ["a", "b", "c", "d", "e", "f", "g",
     "h", "i", "j", "k"]}]'
  where host = 'host c';
select State, sentence from waits_of;
update dt.Workers set served =
  '[{"hub": 1, "kind": 0, "streams": 1, "credits": 9, "names": ["pay"]}]' where host = 'host c';
select State, sentence from waits_of;

-- Versions: others only; its own, which is none; any.
update dt.Workers set served = '[{"hub": 1, "kind": 0, "streams": 1, "credits": 9,
  "names": ["pay", "a"], "versions": {"pay": ["1.0", "2.0"]}}]' where host = 'host c';
select State, sentence from waits_of;
update dt.Workers set served = '[{"hub": 1, "kind": 0, "streams": 1, "credits": 9,
  "names": ["pay"], "versions": {"pay": ["", "2.0"]}}]' where host = 'host c';
select State from waits_of;
call set_hot('version = ''3.0''');
select State, sentence from waits_of;
call set_hot('version = ''2.0''');
select State from waits_of;
call set_hot('version = ''''');

-- Leased by who lives and by who is gone; lost, and so given out later.
call set_hot('lease_token = 3::bigint << 40, next_due = null');
select Kind, State, WorkerID, Host, since, sentence from waits_of;
call set_hot('lease_token = 2::bigint << 40');
select State, WorkerID, Host, sentence from waits_of;
call set_hot('lease_token = null, lost_leases = 3, not_before = now() + interval ''1 h'',
              next_due = now() + interval ''1 h''');
select State, until, Detail, sentence from waits_of;

-- Its first turn is done, and its inbox empty.
call set_hot('turn = 1, lost_leases = 0, not_before = null, next_due = null');
delete from dt.NewEvents;
call add_history(1, array[event(-1, 3, dt.__PbText(1, 'Pay')),
  event(0, 6, dt.__PbText(1, 'Charge') || dt.__PbStringValue(2, '1.0')
              || dt.__PbStringValue(3, repeat('x', 300)))]);
select Kind, State, since, Detail, sentence from waits_of;
-- Activities in every state, of this generation and of another one.
insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, ready_at, place,
                         lease_token, lost_leases)
  select i.instance_key, i.hub_id, t.generation, t.id, t.name, now() + t.later, now(), t.token,
         t.lost
  from dt.Instances i,
       (values (0, 4, 'Free', interval '-4 s', null, 0),
               (0, 5, 'Leased', '-3 s', 3::bigint << 40, 1),
               (0, 6, 'Left', '-2 s', 2::bigint << 40, 0), (0, 7, 'Later', '1 h', null, 2),
               (-1, 8, 'Old', '-5 s', null, 0))
         t(generation, id, name, later, token, lost);
-- And inline ones, one of which the history does not tell of.
call set_hot('lease_token = 3::bigint << 40, inline_tasks = ''{[0,1),[99,100)}''');
select Kind, State, Name, ID, since, until, WorkerID, Host, Detail, sentence from waits_of;
delete from dt.NewTasks;
call set_hot('lease_token = null, inline_tasks = null');

-- Calls of entities in the JSON dialect: answered, open, a signal, a lock, no JSON, another name.
call add_history(2, array[
  event(1, 16, dt.__PbText(1, '@Stock@Lima') || dt.__PbText(2, 'op')
               || dt.__PbStringValue(3, '{"op": "add", "id": "one"}')),
  event(2, 16, dt.__PbText(1, '@stock@Lima') || dt.__PbText(2, 'op')
               || dt.__PbStringValue(3, '{"op": "count", "id": "two"}')),
  event(3, 16, dt.__PbText(1, '@stock@Lima') || dt.__PbText(2, 'op')
               || dt.__PbStringValue(3, '{"op": "count", "id": "three", "signal": true}')),
  event(4, 16, dt.__PbText(1, '@stock@Lima') || dt.__PbText(2, 'op')
               || dt.__PbStringValue(3, '{"id": "four", "lockset": []}')),
  event(5, 16, dt.__PbText(1, '@stock@Lima') || dt.__PbText(2, 'op')
               || dt.__PbStringValue(3, 'no JSON')),
  event(6, 16, dt.__PbText(1, 'another') || dt.__PbText(2, 'op')
               || dt.__PbStringValue(3, '{"op": "count", "id": "six"}')),
  event(-1, 17, dt.__PbText(1, 'one') || dt.__PbStringValue(2, '{"result": "1"}'))]);
\c - app
\x on
select dt.SignalEntity('@stock@Lima', 'add', '1');
select dt.SignalEntity('@stock@Lima', 'add', '1', now() + interval '1 day');
select dt.RaiseEvent('remind', 'pay', DeliveryTime => now() + interval '1 day');
\c - postgres
\x on
select instance_id, Kind, State, Name, ID, since, until, sentence from waits_of;

-- Locks: an earlier request of another one, an entity that is ready, one whose batch is not done.
\c - app
\x on
select dt.SignalEntity('@stock@Oslo', 'add', '1');
select InstanceID from dt.CreateInstance('Move', InstanceID => 'move');
\c - postgres
\x on
delete from dt.History where turn = 2;
delete from dt.NewEvents n using dt.Instances i
  where i.instance_key = n.instance_key and (i.instance_id = 'pay' or i.name = 'Move'
                                             or n.visible_at > now());
insert into dt.EntityLockRequests (instance_key, seq, visible_at, owner_key, owner_generation,
                                   members, arrived, critical_section)
  select e.instance_key, q.seq, now() - q.ago, o.instance_key, 0, 2, q.arrived, q.section
  from (values ('@stock@Lima', 'move', 1001, interval '2 s', true, 'm'),
               ('@stock@Lima', 'pay', 1002, interval '1 s', false, 'p'),
               ('@stock@Oslo', 'pay', 1003, interval '1 s', false, 'p'))
         q(entity, owner, seq, ago, arrived, section)
  join dt.Instances e on e.instance_id = q.entity
  join dt.Instances o on o.instance_id = q.owner;
select instance_id, Kind, State, ID, since, Detail, sentence from waits_of order by 1, ID;

-- A history that is too long to be read whole.
delete from dt.EntityLockRequests;
call add_history(3, array[event(-1, 17, dt.__PbText(1, 'big')
                                        || dt.__PbStringValue(2, repeat('x', 4200000)))]);
select Kind, Detail, sentence from waits_of where instance_id = 'pay';

-- Another hub, those who may read, and those who may not.
\c - bank_viewer
\x on
select Kind, ID from dt.GetInstanceWaits('pay');
\c - viewer
\x on
select Kind, State from dt.GetInstanceWaits('pay');
select dt.__InstanceWaits(1, 'pay');
\echo :SQLSTATE
\c - manager
\x on
select Kind, State from dt.GetInstanceWaits('pay');
\c - stranger
\x on
select Kind from dt.GetInstanceWaits('pay');
\echo :SQLSTATE
