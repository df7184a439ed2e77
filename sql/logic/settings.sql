-- Hubs, settings and versions.

-- CurrentTaskHub: the hub of an SQL user. TaskHubMode 1 (default): the name of the login; 0: the
-- application name, which the client sets itself and which therefore is no security boundary. Longer
-- than 50 characters: the first 16, "__" and the MD5 as 32 upper-case hex digits.
create or replace function CurrentTaskHub() returns text language plpgsql stable security definer
set search_path from current as $$
declare
  v_name text;
begin
  if (select s.value from GlobalSettings s where s.name = 'TaskHubMode') = '0' then
    v_name := current_setting('application_name');
  else
    v_name := session_user;
  end if;
  if coalesce(v_name, '') = '' then
    return 'default';
  elsif length(v_name) > 50 then
    return left(v_name, 16) || '__' || upper(md5(v_name));
  end if;
  return v_name;
end $$;

-- SetGlobalSetting: owner only. Known names and values are checked.
create or replace function SetGlobalSetting(Name text, Value text) returns void
language plpgsql set search_path from current as $$
#variable_conflict use_column
begin
  if $1 is distinct from 'TaskHubMode' then
    raise exception 'unknown setting "%": the only one is TaskHubMode', $1 using errcode = 'DT001';
  elsif $2 is null or $2 not in ('0', '1') then
    raise exception 'TaskHubMode is 0 (application name) or 1 (login), not "%"', $2
      using errcode = 'DT002';
  end if;
  insert into GlobalSettings as s (name, value) values ($1, $2)
    on conflict (name) do update
      set value = excluded.value, timestamp = clock_timestamp(), last_modified_by = session_user;
end $$;

-- _GetVersions: the installed versions, newest first by their numbers, not by time.
create or replace function _GetVersions()
returns table (semantic_version text, min_daemon_version text, upgrade_time timestamptz)
language sql stable set search_path from current as $$
  select v.semantic_version, v.min_daemon_version, v.upgrade_time from Versions v
  order by string_to_array(split_part(v.semantic_version, '-', 1), '.')::int[] desc,
           strpos(v.semantic_version, '-') = 0 desc, v.semantic_version desc
$$;

-- _ResolveHub: the id of a hub; null if it does not exist and p_create is not set. Repeat: yes.
create or replace function _ResolveHub(p_name text, p_create boolean) returns int
language plpgsql set search_path from current as $$
declare
  v_hub int;
begin
  select h.hub_id into v_hub from TaskHubs h where h.name = p_name;
  if v_hub is null and p_create then
    insert into TaskHubs (name) values (p_name) on conflict (name) do nothing;
    -- A new statement also sees the row of somebody who was faster.
    select h.hub_id into v_hub from TaskHubs h where h.name = p_name;
  end if;
  return v_hub;
end $$;

-- _LockHub: whoever creates the first instances of a tree in a hub holds it shared until its commit, and
-- whoever deletes the hub alone: so nothing is created that the deletion does not see. A lock on the row of
-- the hub would be written by every creation.
create or replace function _LockHub(p_hub int, p_alone boolean default false) returns void
language plpgsql set search_path from current as $$
begin
  if p_alone then
    perform pg_advisory_xact_lock('TaskHubs'::regclass::int, p_hub);
  else
    perform pg_advisory_xact_lock_shared('TaskHubs'::regclass::int, p_hub);
  end if;
end $$;

-- _DeleteHub: deletes a hub and all that it holds; false if there is none. The name is free at once;
-- daemons that still know the old id find nothing under it, and can create nothing.
-- Locks: the hub, then its hot rows by key, then its rows of Instances by key. Repeat: yes.
create or replace function _DeleteHub(p_name text) returns boolean
language plpgsql set search_path from current as $$
declare
  v_hub int;
  v_keys bigint[];
begin
  select h.hub_id into v_hub from TaskHubs h where h.name = p_name for update;
  if v_hub is null then
    return false;
  end if;
  perform _LockHub(v_hub, true);
  perform 1 from ReadyInstances r where r.hub_id = v_hub order by r.instance_key for update;
  loop
    select array_agg(k.instance_key) into v_keys
    from (select i.instance_key from Instances i where i.hub_id = v_hub
          order by i.instance_key limit 10000 for update) k;
    exit when v_keys is null;
    perform _DeleteInstances(v_keys);
  end loop;
  delete from NewTasks t where t.hub_id = v_hub;
  delete from TaskHubs h where h.hub_id = v_hub;
  return true;
end $$;
