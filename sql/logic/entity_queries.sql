-- Entities for clients: read by id, listed, cleaned. Only what has a state exists for clients; the
-- rest shows in lists of transient ones. Lists and cleaning walk over the ids of a hub, which begin
-- with "@" for entities and for nothing else.

-- __EntityState: the state of an entity, wherever it is stored. __EntityLockedBy: the id of the
-- orchestration that holds its lock, '' if that is purged; null = it is free. __EntityBacklog: how
-- many of its operations are due and have not run; counting stops at 10000
-- (storage/management_records.h), so that a long inbox costs a reader no more than that.
-- Stable: see what the statement that calls them sees.
create or replace function __EntityState(p_key bigint, p_state bytea, p_payload uuid) returns bytea
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  if p_payload is null then
    return p_state;
  end if;
  return (select p.data from Payloads p
          where p.instance_key = p_key and p.payload_id = p_payload);
end $$;

create or replace function __EntityLockedBy(p_owner bigint) returns text
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  if p_owner is null then
    return null;
  end if;
  return coalesce((select i.instance_id from Instances i where i.instance_key = p_owner), '');
end $$;

create or replace function __EntityBacklog(p_key bigint, p_now timestamptz) returns int
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  return (select count(*)
          from (select from NewEvents n
                where n.instance_key = p_key and n.event_type in (23, 24)
                  and n.visible_at <= p_now limit 10000) b);
end $$;

-- _GetEntity: entities by id. One row per item that exists and has a state, which is null unless
-- the item asks for it.
--   p_batch {items: [{id, state}]}
-- Locks: none. Repeat: yes.
create or replace function _GetEntity(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, last_modified_time timestamptz, backlog int, locked_by text, state bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
begin
  return query
    select c.ord::int, e.last_modified_time, __EntityBacklog(e.instance_key, v_now),
           __EntityLockedBy(e.locked_by_key),
           case when c.state then __EntityState(e.instance_key, e.state, e.state_payload) end
    from rows from (jsonb_to_recordset(p_batch -> 'items') as (state boolean),
                    unnest(__FindInstances(p_hub, p_batch -> 'items')))
      with ordinality c(state, key, ord)
    join Entities e on e.instance_key = any (array[c.key])
    where e.state is not null or e.state_payload is not null;
end $$;

-- __EntitiesEnd: the first text after the ids of all entities that begin with p_prefix ("@" and
-- more).
create or replace function __EntitiesEnd(p_prefix text) returns text
language plpgsql immutable parallel safe set search_path from current as $$
begin
  return coalesce(__PrefixEnd(p_prefix), 'A');
end $$;

-- _QueryEntities: a page of entities in the order of their ids: at most so many rows and bytes of
-- states, but the first one whatever its state has. If entities follow, a last row says "more": it
-- has the id to go on after and nothing else. One page per call.
--   p_batch {prefix, after, from, to, states, transient, rows, bytes, looked_at}
--           from inclusive, to exclusive, of the last modification; a missing key does not bound
--           transient: those without a state, too; looked_at bounds the entities that the call
--           looks at, shown or not
-- Locks: none. Repeat: yes.
create or replace function _QueryEntities(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (instance_id text, last_modified_time timestamptz, backlog int, locked_by text,
               state bytea, more boolean)
language plpgsql set search_path from current set enable_seqscan = off
set enable_sort = off set enable_incremental_sort = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := _Now();
  v_hub int := __LiveHub(p_hub);
  v_prefix text := p_batch ->> 'prefix';
  v_end text := __EntitiesEnd(v_prefix);
  v_last text := p_batch ->> 'after';
  v_from timestamptz := coalesce(__Time((p_batch ->> 'from')::bigint), '-infinity');
  v_to timestamptz := coalesce(__Time((p_batch ->> 'to')::bigint), 'infinity');
  v_rows int := p_batch ->> 'rows';
  v_bytes bigint := p_batch ->> 'bytes';
  v_left int := p_batch ->> 'looked_at';
  v_shown int := 0;
  v_size bigint := 0;
  v_row record;
begin
  -- Rows are read as the loop goes, and not many ahead.
  for v_row in
    select i.instance_id, e.instance_key, e.last_modified_time, e.locked_by_key, e.state,
           e.state_payload
    from Instances i
    join Entities e on e.instance_key = any (array[i.instance_key])
    where i.hub_id = v_hub and i.instance_id >= v_prefix and i.instance_id < v_end
      and i.instance_id > v_last and i.kind = 1
    order by i.instance_id
  loop
    more := v_left = 0;
    exit when more;
    v_left := v_left - 1;
    if (p_batch ? 'transient' or v_row.state is not null or v_row.state_payload is not null)
       and v_row.last_modified_time >= v_from and v_row.last_modified_time < v_to then
      if p_batch ? 'states' then
        state := __EntityState(v_row.instance_key, v_row.state, v_row.state_payload);
        v_size := v_size + coalesce(length(state), 0);
      end if;
      more := v_shown > 0 and (v_shown >= v_rows or v_size > v_bytes);
      exit when more;
      v_shown := v_shown + 1;
      instance_id := v_row.instance_id;
      last_modified_time := v_row.last_modified_time;
      backlog := __EntityBacklog(v_row.instance_key, v_now);
      locked_by := __EntityLockedBy(v_row.locked_by_key);
      return next;
    end if;
    v_last := v_row.instance_id;
  end loop;
  if more then
    instance_id := v_last;
    last_modified_time := null;
    backlog := null;
    locked_by := null;
    state := null;
    return next;
  end if;
end $$;

-- _CleanEntityStorage: one batch of a walk over the entities of a hub, in the order of their ids:
-- removes those of which nothing is left, and releases locks that nobody will release any more.
-- One row; "next_after" is the id to go on after, null = the walk is over.
--   p_batch {after, remove_empty, release_orphaned, rows}
--           rows bounds the entities looked at
-- What others have locked or leased is passed over: it is in use.
-- Locks: as __RemoveEmptyEntities and __ReleaseOrphanedLocks, each of other entities. Repeat: yes;
-- what an earlier call did is not counted again.
create or replace function _CleanEntityStorage(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (removed bigint, released bigint, next_after text)
language plpgsql set search_path from current set enable_seqscan = off
set enable_sort = off set enable_incremental_sort = off as $$
#variable_conflict use_column
declare
  v_hub int := __LiveHub(p_hub);
  v_rows int := p_batch ->> 'rows';
  v_keys bigint[];
  v_last text;
begin
  select array_agg(w.instance_key), max(w.instance_id) into v_keys, v_last
  from (select i.instance_key, i.instance_id from Instances i
        where i.hub_id = v_hub and i.instance_id >= '@' and i.instance_id < __EntitiesEnd('@')
          and i.instance_id > p_batch ->> 'after' and i.kind = 1
        order by i.instance_id limit v_rows) w;
  removed := 0;
  released := 0;
  next_after := case when cardinality(v_keys) = v_rows then v_last end;
  if v_keys is not null and p_batch ? 'remove_empty' then
    removed := __RemoveEmptyEntities(v_keys);
  end if;
  if v_keys is not null and p_batch ? 'release_orphaned' then
    released := __ReleaseOrphanedLocks(v_keys, _Now());
  end if;
  return next;
end $$;

-- __EmptyEntities: those of these entities that have no state, lock, lock request and message.
-- Stable: sees what the statement that calls it sees.
create or replace function __EmptyEntities(p_keys bigint[]) returns bigint[]
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  return array(
    select e.instance_key from Entities e
    where e.instance_key = any (p_keys) and e.state is null and e.state_payload is null
      and e.locked_by_key is null
      and not exists (select from NewEvents n where n.instance_key = any (array[e.instance_key]))
      and not exists (select from EntityLockRequests l
                      where l.instance_key = any (array[e.instance_key])));
end $$;

-- __RemoveEmptyEntities: removes those of these entities that are empty and that nobody has leased
-- or locked, and returns how many. That they are empty is looked at again under the lock: a message
-- for one comes under it, too. Locks: hot rows by key with SKIP LOCKED, then rows of Instances.
create or replace function __RemoveEmptyEntities(p_keys bigint[]) returns int
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_keys bigint[] := __EmptyEntities(p_keys);
begin
  if v_keys = '{}' then
    return 0;
  end if;
  v_keys := array(select r.instance_key from ReadyInstances r
                  where r.instance_key = any (v_keys) and r.lease_token is null
                  order by r.instance_key for update skip locked);
  v_keys := __EmptyEntities(v_keys);
  if v_keys <> '{}' then
    perform 1 from Instances i where i.instance_key = any (v_keys)
      order by i.instance_key for update;
    perform __DeleteInstances(v_keys);
  end if;
  return cardinality(v_keys);
end $$;

-- __OrphanedLocks: those of these entities that are locked by an execution that is gone, without an
-- unlock on its way. Stable: sees what the statement that calls it sees.
create or replace function __OrphanedLocks(p_keys bigint[]) returns bigint[]
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  return array(
    select e.instance_key from Entities e
    where e.instance_key = any (p_keys) and e.locked_by_key is not null
      and not exists (select from ReadyInstances r
                      where r.instance_key = any (array[e.locked_by_key])
                        and r.generation = e.locked_by_generation)
      and not exists (select from NewEvents n
                      where n.instance_key = any (array[e.instance_key]) and n.event_type = 29));
end $$;

-- __ReleaseOrphanedLocks: puts an unlock (29) for any critical section in front of each of these
-- entities whose lock is orphaned, and returns how many those are. That it is orphaned is looked at
-- again under the lock: an execution that is gone never comes back. Locks: hot rows by key with
-- SKIP LOCKED.
create or replace function __ReleaseOrphanedLocks(p_keys bigint[], p_now timestamptz) returns int
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_keys bigint[] := __OrphanedLocks(p_keys);
begin
  if v_keys = '{}' then
    return 0;
  end if;
  v_keys := array(select r.instance_key from ReadyInstances r where r.instance_key = any (v_keys)
                  order by r.instance_key for no key update skip locked);
  v_keys := __OrphanedLocks(v_keys);
  if v_keys <> '{}' then
    perform __SendUnlocks(
      v_keys, array_fill('fix-orphaned-lock'::text, array[cardinality(v_keys)]),
      array(select __EntityLockedBy(e.locked_by_key)
            from unnest(v_keys) with ordinality k(key, ord)
            join Entities e on e.instance_key = any (array[k.key]) order by k.ord), p_now);
  end if;
  return cardinality(v_keys);
end $$;
