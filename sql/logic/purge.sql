-- Purge: ended orchestrations are removed, whole, a batch per call and so per transaction. What is
-- live is never touched, but for entities that are named and have nothing to do.

-- _PurgeInstances: purges ended orchestrations named by id, or the first in order that a filter
-- finds, and with "recursive" their ended descendants too; a live child stops at itself and keeps
-- its subtree. An entity that is named goes if it is not locked and no message waits for it.
-- Returns how many are gone, and whether there may be more of the kind: then call again.
--   p_batch {ids: [...], recursive, rows}
--           or {completed, statuses, from, to, prefix, recursive, rows}, see __SearchCondition
--   rows bounds the instances purged by one call.
-- Locks: hot rows of named entities by key; rows of Instances, of those and of ended instances
-- only, which have no hot rows: those of a filter with SKIP LOCKED (whoever holds one is purging or
-- replacing it), the named ones, and with "recursive" all together, by key. That they have ended is
-- checked again under the lock. Then their tasks by key.
-- Repeat: yes; what an earlier call purged is not counted again.
create or replace function _PurgeInstances(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (deleted bigint, more boolean)
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_max int := p_batch ->> 'rows';
  v_keys bigint[];
  v_entities bigint[];
begin
  if p_batch ? 'ids' then
    v_keys := __FindInstances(p_hub, p_batch -> 'ids');
    v_entities := __LockIdleEntities(v_keys);
    select array_agg(f.instance_key) into v_keys
    from (select i.instance_key from Instances i
          where i.instance_key = any (v_keys) and i.kind <> 1
            and i.stored_status not in (0, 6, 7)
          order by i.instance_key limit v_max) f;
  else
    v_keys := __FindEnded(p_hub, p_batch, v_max);
  end if;
  deleted := 0;
  more := coalesce(cardinality(v_keys) = v_max, false);
  if p_batch ? 'recursive' then
    select d.keys, d.cut or more into v_keys, more from __AddDescendants(v_keys, v_max) d;
  end if;
  if p_batch ?| '{ids,recursive}' then
    select l.keys, l.again or more into v_keys, more from __LockEnded(v_keys) l;
  end if;
  v_keys := v_keys || v_entities;
  if v_keys is not null then
    deleted := cardinality(v_keys);
    perform __DeleteInstances(v_keys);
  end if;
  return next;
end $$;

-- __LockIdleEntities: those of these instances that are entities with nothing to do: not locked,
-- and without messages. Whoever has one in memory finds it gone. Locks: their hot rows, by key.
create or replace function __LockIdleEntities(p_keys bigint[]) returns bigint[]
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_locked bigint[];
begin
  select array_agg(l.instance_key) into v_locked
  from (select r.instance_key from ReadyInstances r
        where r.instance_key = any (p_keys) and r.kind = 1
        order by r.instance_key for no key update) l;
  return (select array_agg(e.instance_key)
          from Entities e
          where e.instance_key = any (v_locked) and e.locked_by_key is null
            and not exists (select from NewEvents n where n.instance_key = e.instance_key));
end $$;

-- __FindEnded: the first p_max ended orchestrations that a filter finds, status by status where it
-- is for completed times, so that an index has their order. Without "recursive" they are locked,
-- and those that somebody else has locked are passed by.
create or replace function __FindEnded(p_hub int, p_batch jsonb, p_max int) returns bigint[]
language plpgsql set search_path from current set enable_seqscan = off
set enable_sort = off as $$
declare
  v_status smallint;
  v_found bigint[];
  v_keys bigint[];
begin
  perform __PlanSearch(p_batch);
  foreach v_status in array case when p_batch ? 'completed' then __EndedStatuses(p_batch)
                                 else array[null::smallint] end loop
    execute 'select array_agg(f.instance_key)
             from (select i.instance_key from Instances i
                   where ' || concat_ws(' and ', 'i.completed_time is not null',
                                        __SearchCondition(p_batch),
                                        'i.stored_status = ' || v_status) || '
                   order by ' || __SearchTime(p_batch) || ' limit $9'
            || case when p_batch ? 'recursive' then '' else ' for update skip locked' end || ') f'
      into v_found
      using __LiveHub(p_hub), (p_batch ->> 'statuses')::int, __Time((p_batch ->> 'from')::bigint),
            __Time((p_batch ->> 'to')::bigint), p_batch ->> 'prefix',
            __PrefixEnd(p_batch ->> 'prefix'),
            __Time((p_batch ->> 'after_time')::bigint), p_batch ->> 'after_id',
            p_max - coalesce(cardinality(v_keys), 0);
    v_keys := v_keys || v_found;
    exit when cardinality(v_keys) >= p_max;
  end loop;
  return v_keys;
end $$;

-- __AddDescendants: instances and their ended descendants, found level by level. Of more than p_max
-- only a lower part, whose own descendants are all in it, is returned, with "cut": purging that
-- first never leaves children behind without their parent.
create or replace function __AddDescendants(p_keys bigint[], p_max int,
                                            out keys bigint[], out cut boolean)
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_level bigint[] := p_keys;
begin
  keys := p_keys;
  cut := false;
  loop
    -- A filter may have found children beside their parents.
    select array_agg(l.instance_key) into v_level
    from (select i.instance_key from Instances i
          where i.parent_key = any (v_level) and i.parent_key is not null
            and i.stored_status not in (0, 6, 7) and i.instance_key <> all (keys)
          limit p_max) l;
    exit when v_level is null;
    if cardinality(keys) + cardinality(v_level) > p_max then
      keys := '{}';
      cut := true;
    end if;
    keys := keys || v_level;
  end loop;
end $$;

-- __LockEnded: locks ended instances, all in one order, and returns those that are still there. If
-- one came to life meanwhile (it was rewound), what is below it must stay: then none are returned,
-- and "again" tells to look for them anew.
create or replace function __LockEnded(p_keys bigint[], out keys bigint[], out again boolean)
language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  select array_agg(l.instance_key) into keys
  from (select i.instance_key from Instances i
        where i.instance_key = any (p_keys) and i.stored_status not in (0, 6, 7)
        order by i.instance_key for update) l;
  select coalesce(bool_or(i.stored_status in (0, 6, 7)), false) into again
  from Instances i where i.instance_key = any (p_keys);
  if again then
    keys := null;
  end if;
end $$;
