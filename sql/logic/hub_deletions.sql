-- Deleting a hub: it is gone for everybody at once, in a short transaction, and what it held is
-- removed afterwards, batch by batch, by any daemon. Until then that belongs to a hub of
-- HubDeletions.

-- _DeleteHub: deletes a hub; false if there is none. Its name is free at once. Daemons that still
-- know the old id find nothing under it and commit no turn of it (__LiveHub), and can create
-- nothing.
-- Locks: the hubs alone, and so waits for those that create. Repeat: yes.
create or replace function _DeleteHub(p_name text) returns boolean
language plpgsql set search_path from current as $$
declare
  v_hub int;
begin
  perform __LockHubs(p_alone => true);
  delete from TaskHubs h where h.name = p_name returning h.hub_id into v_hub;
  if v_hub is null then
    return false;
  end if;
  delete from RetentionPolicies p where p.hub_id = v_hub;
  insert into HubDeletions (hub_id, name, deleted_time) values (v_hub, p_name, _Now());
  return true;
end $$;

-- __LiveHub: the id itself, or null if that hub is deleted and what it held is being removed.
-- Nothing is found under null. A probe of an index that is nearly always empty. Stable: as of the
-- statement that calls it.
create or replace function __LiveHub(p_hub int) returns int
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  if exists (select from HubDeletions d where d.hub_id = p_hub) then
    return null;
  end if;
  return p_hub;
end $$;

-- __RequireHub: fails with P0D02 unless the hub is there: for claims, by which a daemon learns that
-- a hub whose workers it serves was deleted.
create or replace function __RequireHub(p_hub int) returns void
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  if not exists (select from TaskHubs h where h.hub_id = p_hub) then
    raise exception 'the task hub with id % was deleted', p_hub using errcode = 'P0D02';
  end if;
end $$;

-- _CleanHubs: removes one batch of what a deleted hub held. One row: "hub" is its name, null if
-- there is nothing to do now; "removed" instances of it are gone by this call, "total" by all;
-- "ended" tells that nothing is left, "age" microseconds after its deletion; "more" that there is
-- more to remove now: then call again.
--   p_batch {worker, rows, pause}
--           rows bounds the instances looked at; pause (microseconds) is how long a hub rests when
--           all that is left of it was locked by others
-- A hub is cleaned by one worker as long as that one lives, so that the load does not grow with the
-- daemons. Waits for nobody's transaction: what others have locked is passed over, and looked at
-- again after the pause.
-- Locks: the row of HubDeletions with SKIP LOCKED, which keeps two batches from one hub; then as
-- __LockOfHub; the tasks of all that goes, by key; at the end of the hub the row of Leaders, with
-- SKIP LOCKED. Repeat: yes; what an earlier call removed is not counted again.
create or replace function _CleanHubs(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (hub text, removed bigint, total bigint, age bigint, ended boolean, more boolean)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_worker bigint := p_batch ->> 'worker';
  v_rows int := p_batch ->> 'rows';
  v_deletion HubDeletions;
  v_found bigint[];
  v_last_time timestamptz;
  v_last_key bigint;
  v_entities bigint[];
  v_last_id text;
  v_keys bigint[];
begin
  select d.* into v_deletion from HubDeletions d
  where d.next_run <= v_now and __MayClean(d.worker_id, v_worker, v_now)
  order by d.next_run, d.hub_id limit 1 for update skip locked;
  removed := 0;
  ended := false;
  more := false;
  if not found then
    return next;
    return;
  end if;

  select f.keys, f.last_time into v_found, v_last_time
  from __OldestOfHub(v_deletion.hub_id, v_deletion.position_time, v_deletion.position_key,
                     v_rows) f;
  v_last_key := v_found[cardinality(v_found)];
  if cardinality(v_found) < v_rows then
    select f.keys, f.last_id into v_entities, v_last_id
    from __EntitiesOfHub(v_deletion.hub_id, v_deletion.position_id,
                         v_rows - cardinality(v_found)) f;
    v_found := v_found || v_entities;
  end if;
  if v_found <> '{}' then
    v_keys := __LockOfHub(v_found);
    removed := cardinality(v_keys);
    perform __DeleteInstances(v_keys);
  end if;
  hub := v_deletion.name;
  total := v_deletion.removed + removed;
  age := extract(epoch from v_now - v_deletion.deleted_time) * 1000000;
  more := cardinality(v_found) = v_rows;
  if not more then
    ended := __ForgetHub(v_deletion.hub_id);
  end if;
  update HubDeletions d
    set worker_id = v_worker, removed = total,
        next_run = case when more then v_now
                        else v_now + (p_batch ->> 'pause')::bigint * interval '1 microsecond' end,
        -- After the last one it begins anew, with those that were passed over or came behind it.
        position_time = case when more then coalesce(v_last_time, d.position_time)
                             else '-infinity' end,
        position_key = case when more then coalesce(v_last_key, d.position_key) else 0 end,
        position_id = case when more then coalesce(v_last_id, '') else '' end
    where d.hub_id = v_deletion.hub_id;
  more := more or exists (select from HubDeletions d
                          where d.next_run <= v_now and __MayClean(d.worker_id, v_worker, v_now));
  return next;
end $$;

-- __MayClean: whether a worker may clean a hub that p_holder has cleaned last: itself, or one that
-- is dead.
create or replace function __MayClean(p_holder bigint, p_worker bigint, p_now timestamptz)
returns boolean
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  return p_holder = p_worker
    or not exists (select from Workers w where w.worker_id = p_holder and w.lease_until >= p_now);
end $$;

-- __OldestOfHub: the next p_rows orchestrations of a hub after a position, in the order in which
-- they were created, and the time of the last of them. In this order those that lie together in the
-- table go together. instances_created has it but for those of one time; so nothing else may be
-- sorted.
create or replace function __OldestOfHub(p_hub int, p_time timestamptz, p_key bigint, p_rows int,
                                         out keys bigint[], out last_time timestamptz)
language plpgsql stable set search_path from current set enable_seqscan = off
set enable_sort = off as $$
begin
  select coalesce(array_agg(o.instance_key order by o.created_time, o.instance_key), '{}'),
         max(o.created_time)
    into keys, last_time
  from (select i.instance_key, i.created_time from Instances i
        where i.hub_id = p_hub and i.kind = 0 and i.created_time >= p_time
          and (i.created_time, i.instance_key) > (p_time, p_key)
        order by i.created_time, i.instance_key limit p_rows) o;
end $$;

-- __EntitiesOfHub: the next p_rows entities of a hub after an id, in the order of their ids, and
-- the last of those.
create or replace function __EntitiesOfHub(p_hub int, p_id text, p_rows int,
                                           out keys bigint[], out last_id text)
language plpgsql stable set search_path from current set enable_seqscan = off
set enable_sort = off as $$
begin
  select coalesce(array_agg(o.instance_key order by o.instance_id), '{}'), max(o.instance_id)
    into keys, last_id
  from (select i.instance_key, i.instance_id from Instances i
        where i.hub_id = p_hub and i.instance_id >= '@'
          and i.instance_id < __EntitiesEnd('@') and i.instance_id > p_id and i.kind = 1
        order by i.instance_id limit p_rows) o;
end $$;

-- __LockOfHub: locks those of these instances that nobody else has locked, live ones with their hot
-- rows, and returns them. A turn that is being committed has the hot row: it is over when that can
-- be locked, and what it has written is seen then. Locks: hot rows, then rows of Instances, by key
-- with SKIP LOCKED.
create or replace function __LockOfHub(p_keys bigint[]) returns bigint[]
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_live bigint[];
  v_keys bigint[];
begin
  v_live := array(select r.instance_key from ReadyInstances r where r.instance_key = any (p_keys)
                  order by r.instance_key for update skip locked);
  v_keys := array(select i.instance_key from Instances i where i.instance_key = any (p_keys)
                  order by i.instance_key for update skip locked);
  -- A hot row that is not locked here is another's, or is that of an instance that a rewind has
  -- just brought to life. None comes any more, since a rewind locks the row of Instances first.
  return array(select k.key from unnest(v_keys) k(key)
               where k.key = any (v_live)
                 or not exists (select from ReadyInstances r
                                where r.instance_key = any (array[k.key])));
end $$;

-- __ForgetHub: forgets a deleted hub if nothing is left of it, and tells whether. What a
-- transaction that still runs may add to it are children of an instance whose hot row, or row of
-- Instances, it holds: so that one is left, and seen here. Caller holds the row of HubDeletions.
-- Locks: the row of Leaders with SKIP LOCKED: a batch of retention that began before the deletion
-- may just write how far it has come in this hub.
create or replace function __ForgetHub(p_hub int) returns boolean
language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  if exists (select from Instances i where i.hub_id = p_hub) then
    return false;
  end if;
  perform 1 from Leaders l where l.role = 'retention' for update skip locked;
  if not found then
    return false;
  end if;
  delete from RetentionWalks w where w.hub_id = p_hub;
  delete from HubDeletions d where d.hub_id = p_hub;
  return true;
end $$;
