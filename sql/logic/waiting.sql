-- Work that waits for a worker: due, free, and in nobody's hands. For the daemon's log and for SQL
-- users.

-- _UnacceptedWork: what of a hub's due and free work none of the daemon's workers accepts, a row
-- per name and version. "kind" is 0 for turns, 1 for activity tasks and 2 for entities, "name" one
-- that is written so, "count" stops at the limit, "since" and "instance_id" are those of the one
-- that has been due for longest. Work that is accepted costs one probe of an index for each of its
-- names and versions.
--   p_batch {turns, tasks, entities: what is accepted, [{name, versions}] as in a claim; without
--            the member everything is, and nothing is looked for; age_ms: due for so long at least;
--            groups: rows of each kind at most; count: where counting stops; names: where looking
--            through names and versions stops}
-- Locks: none. Repeat: yes.
create or replace function _UnacceptedWork(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (kind smallint, name text, version bytea, count bigint, since timestamptz,
               instance_id text)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_until timestamptz := _Now() - (p_batch ->> 'age_ms')::bigint * interval '1 millisecond';
  v_groups int := p_batch ->> 'groups';
  v_count int := p_batch ->> 'count';
  v_names int := p_batch ->> 'names';
begin
  p_hub := __LiveHub(p_hub);
  if p_batch ? 'turns' then
    return query select 0::smallint, u.* from __UnacceptedInstances(
      p_hub, 0::smallint, p_batch -> 'turns', v_until, v_groups, v_count, v_names) u;
  end if;
  if p_batch ? 'entities' then
    return query select 2::smallint, u.* from __UnacceptedInstances(
      p_hub, 1::smallint, p_batch -> 'entities', v_until, v_groups, v_count, v_names) u;
  end if;
  if p_batch ? 'tasks' then
    return query select * from __UnacceptedTasks(p_hub, p_batch -> 'tasks', v_until, v_groups,
                                                 v_count, v_names);
  end if;
end $$;

-- __UnacceptedInstances, __UnacceptedTasks: the parts of _UnacceptedWork: what has been due since
-- p_until and is not accepted. p_kind: of the instances; p_groups, p_count, p_names: its groups,
-- count and names.

create or replace function __UnacceptedInstances(p_hub int, p_kind smallint, p_filters jsonb,
                                                 p_until timestamptz, p_groups int, p_count int,
                                                 p_names int)
returns table (name text, version bytea, count bigint, since timestamptz, instance_id text)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_accepted record;
begin
  select * into v_accepted from __SplitFilters(p_filters);
  return query
    -- The first name and version, then the next one, and so on.
    with recursive named as (
      (select r.lower_name, r.version, 1 as number from ReadyInstances r
       where r.hub_id = p_hub and r.kind = p_kind and r.lease_token is null
         and r.next_due is not null
       order by r.lower_name, r.version limit 1)
      union all
      select f.lower_name, f.version, n.number + 1
      from named n
      cross join lateral (
        select r.lower_name, r.version from ReadyInstances r
        where r.hub_id = p_hub and r.kind = p_kind and r.lease_token is null
          and r.next_due is not null
          and (r.lower_name, r.version) > (n.lower_name, n.version)
        order by r.lower_name, r.version limit 1) f
      where n.number < p_names)
    select i.name, n.version, w.count, o.next_due, i.instance_id
    from named n
    cross join lateral (
      select r.instance_key, r.next_due from ReadyInstances r
      where r.hub_id = p_hub and r.kind = p_kind and r.lower_name = n.lower_name
        and r.version = n.version and r.lease_token is null and r.next_due <= p_until
      order by r.next_due limit 1) o
    join Instances i on i.instance_key = any (array[o.instance_key])
    cross join lateral (
      select count(*) as count
      from (select from ReadyInstances r
            where r.hub_id = p_hub and r.kind = p_kind and r.lower_name = n.lower_name
              and r.version = n.version and r.lease_token is null and r.next_due <= p_until
            limit p_count) c) w
    where not __Accepts(v_accepted.names, v_accepted.versions, v_accepted.any_version,
                        n.lower_name, n.version)
    limit p_groups;
end $$;

create or replace function __UnacceptedTasks(p_hub int, p_filters jsonb, p_until timestamptz,
                                             p_groups int, p_count int, p_names int)
returns table (kind smallint, name text, version bytea, count bigint, since timestamptz,
               instance_id text)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_accepted record;
begin
  select * into v_accepted from __SplitFilters(p_filters);
  return query
    with recursive named as (
      (select lower(t.name) as lower_name, coalesce(t.version, '') as version, 1 as number
       from NewTasks t
       where t.hub_id = p_hub and t.lease_token is null and t.place is not null
       order by lower(t.name), coalesce(t.version, '') limit 1)
      union all
      select f.lower_name, f.version, n.number + 1
      from named n
      cross join lateral (
        select lower(t.name) as lower_name, coalesce(t.version, '') as version from NewTasks t
        where t.hub_id = p_hub and t.lease_token is null and t.place is not null
          and (lower(t.name), coalesce(t.version, '')) > (n.lower_name, n.version)
        order by lower(t.name), coalesce(t.version, '') limit 1) f
      where n.number < p_names)
    -- The place of a task of a large fan-out may be in the future.
    select 1::smallint, o.name, n.version, w.count, o.ready_at, i.instance_id
    from named n
    cross join lateral (
      select t.instance_key, t.name, t.ready_at from NewTasks t
      where t.hub_id = p_hub and lower(t.name) = n.lower_name
        and coalesce(t.version, '') = n.version and t.lease_token is null
        and t.place is not null and t.ready_at <= p_until
      order by t.place limit 1) o
    join Instances i on i.instance_key = any (array[o.instance_key])
    cross join lateral (
      select count(*) as count
      from (select from NewTasks t
            where t.hub_id = p_hub and lower(t.name) = n.lower_name
              and coalesce(t.version, '') = n.version and t.lease_token is null
              and t.place is not null and t.ready_at <= p_until
            limit p_count) c) w
    where not __Accepts(v_accepted.names, v_accepted.versions, v_accepted.any_version,
                        n.lower_name, n.version)
    limit p_groups;
end $$;

-- __Accepts: whether filters, as __SplitFilters gives them (null = an empty list), accept a name in
-- lower case and a version.
create or replace function __Accepts(p_names text[], p_versions bytea[], p_any_version text[],
                                     p_name text, p_version bytea) returns boolean
language sql immutable set search_path from current as $$
  select coalesce(p_name = any (p_any_version), false)
    or exists (select from unnest(p_names, p_versions) a(name, version)
               where a.name = p_name and a.version = p_version)
$$;
