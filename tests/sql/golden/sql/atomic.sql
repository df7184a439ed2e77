-- The functions belong to the transaction of their caller: all of it or nothing, with its business
-- data.
\set SHOW_CONTEXT never
\pset null '(null)'
create table orders (id int primary key, state text);
grant all on orders to app;
create function left_behind() returns table (hubs bigint, instances bigint, ready bigint,
                                             messages bigint) language sql as $$
  select (select count(*) from dt.TaskHubs), (select count(*) from dt.Instances),
         (select count(*) from dt.ReadyInstances), (select count(*) from dt.NewEvents)
$$;
\c - app

-- A rollback leaves nothing, the hub included.
begin;
insert into orders values (1, 'new');
select InstanceID from dt.CreateInstance('Ship', InstanceID => 'order-1');
select dt.RaiseEvent('paid', 'order-1');
select InstanceID, RuntimeStatus from dt.vInstances;
rollback;
select * from orders;
\c - postgres
select * from left_behind();
\c - app

-- A commit shows everything; what an order does that fails takes the orchestration with it.
begin;
insert into orders values (1, 'new');
select InstanceID from dt.CreateInstance('Ship', InstanceID => 'order-1');
commit;
begin;
select InstanceID from dt.CreateInstance('Ship', InstanceID => 'order-2');
insert into orders values (1, 'again');
commit;
select o.id, o.state, v.InstanceID, v.RuntimeStatus
from orders o full join dt.vInstances v on v.InstanceID = 'order-' || o.id;

-- Back to a savepoint.
begin;
select dt.RaiseEvent('paid', 'order-1', '1');
savepoint before_more;
select dt.RaiseEvent('paid', 'order-1', '2');
select dt.TerminateInstance('order-1');
rollback to before_more;
commit;
\c - postgres
select d.event_type, d.payload
from dt.NewEvents e, dt.__DecodeEvents(dt.__PbBytes(3, e.event)) d order by e.seq;
\c - app

-- A failed call leaves its caller a choice, as any statement does.
begin;
insert into orders values (3, 'new');
savepoint before_start;
select InstanceID from dt.CreateInstance('Ship', InstanceID => 'order-1');
rollback to before_start;
commit;
select count(*) from orders where id = 3;

-- From a trigger of the business table, with the rights of whoever writes there.
\c - postgres
create function ship() returns trigger language plpgsql as $$
begin
  perform dt.CreateInstance('Ship', InstanceID => 'order-' || new.id, InputText => new.state);
  return new;
end $$;
create trigger ship after insert on orders for each row execute function ship();
\c - app
insert into orders select n, 'bulk' from generate_series(10, 12) n;
select InstanceID, InputText from dt.vInstances where InputText = 'bulk' order by InstanceID;

-- Isolation levels. Above read committed only what would delete the inbox of a live instance is
-- refused.
begin isolation level serializable;
insert into orders values (20, 'serializable');
select dt.RaiseEvent('paid', 'order-20');
select dt.TerminateInstance('order-20');
\echo :SQLSTATE
rollback;
begin isolation level repeatable read;
select InstanceID from dt.CreateInstance('Ship', InstanceID => 'order-10', DedupeStatuses => '');
\echo :SQLSTATE
rollback;
begin isolation level repeatable read;
select InstanceID from dt.CreateInstance('Ship', InstanceID => 'order-30');
select dt.RaiseEvent('paid', 'order-30');
commit;
begin read only;
select dt.RaiseEvent('paid', 'order-30');
\echo :SQLSTATE
rollback;
select count(*) from dt.vInstances where InstanceID in ('order-20', 'order-30');
