-- Hubs, who is in which of them, settings and versions.

-- CurrentTaskHub: the hub of an SQL user: the one that the login is bound to (BindTaskHub); else,
-- in TaskHubMode 1 (default), the one with the name of the login; in TaskHubMode 0 the one with the
-- application name, which the client sets itself and which therefore is no security boundary. A
-- name longer than 50 characters becomes its first 16, "__" and its MD5 as 32 upper-case hex
-- digits. SET ROLE does not change the login, which is session_user.
create or replace function CurrentTaskHub() returns text language plpgsql stable security definer
set search_path from current as $$
declare
  v_name text;
begin
  select b.task_hub into v_name from TaskHubBindings b where b.role_name = session_user::text;
  if found then
    return v_name;
  elsif (select s.value from GlobalSettings s where s.name = 'TaskHubMode') = '0' then
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

-- BindTaskHub: from the next statement on, the login RoleName is in TaskHub and no other, whatever
-- TaskHubMode says. The hub need not exist yet. Locks: the binding. Repeat: yes.
create or replace function BindTaskHub(RoleName text, TaskHub text) returns void
language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
begin
  perform __RequireUnbound('BindTaskHub');
  if not exists (select from pg_roles r where r.rolname = BindTaskHub.RoleName) then
    raise exception 'no role "%"', BindTaskHub.RoleName using errcode = 'DT001';
  elsif coalesce(BindTaskHub.TaskHub, '') = '' then
    raise exception 'TaskHub is %', case when BindTaskHub.TaskHub is null then 'null'
                                         else 'empty' end using errcode = '22023';
  end if;
  perform __CheckText('TaskHub', BindTaskHub.TaskHub, 100);
  insert into TaskHubBindings as b (role_name, task_hub)
    values (BindTaskHub.RoleName, BindTaskHub.TaskHub)
    on conflict (role_name) do update
      set task_hub = excluded.task_hub, timestamp = clock_timestamp(),
          last_modified_by = session_user;
  perform __LogAction('BindTaskHub', BindTaskHub.TaskHub,
                      format('login "%s"', BindTaskHub.RoleName));
end $$;

-- UnbindTaskHub: TaskHubMode is in force again for the login, which may be dropped by now. False if
-- it was not bound. A login that has bound itself may take that back. Locks: the binding. Repeat:
-- yes.
create or replace function UnbindTaskHub(RoleName text) returns boolean
language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
begin
  delete from TaskHubBindings b
    where b.role_name = UnbindTaskHub.RoleName
      and b.role_name = session_user::text and b.last_modified_by = session_user::text;
  if not found then
    perform __RequireUnbound('UnbindTaskHub');
    delete from TaskHubBindings b where b.role_name = UnbindTaskHub.RoleName;
    if not found then
      return false;
    end if;
  end if;
  perform __LogAction('UnbindTaskHub', null, format('login "%s"', UnbindTaskHub.RoleName));
  return true;
end $$;

-- GetTaskHubBindings: all bindings.
create or replace function GetTaskHubBindings()
returns table (RoleName text, TaskHub text, LastModifiedTime timestamptz, LastModifiedBy text)
language plpgsql stable security definer set search_path from current as $$
#variable_conflict use_column
begin
  perform __RequireUnbound('GetTaskHubBindings');
  return query select b.role_name, b.task_hub, b.timestamp, b.last_modified_by
               from TaskHubBindings b order by b.role_name;
end $$;

-- __RequireUnbound: what concerns all hubs is refused to a login that is bound to one of them.
create or replace function __RequireUnbound(p_what text) returns void
language plpgsql stable set search_path from current as $$
declare
  v_hub text;
  v_by text;
begin
  select b.task_hub, b.last_modified_by into v_hub, v_by
  from TaskHubBindings b where b.role_name = session_user::text;
  if found then
    raise exception '% concerns all task hubs, and "%" is bound to task hub "%"', p_what,
      session_user, v_hub using errcode = '42501',
      hint = case when v_by = session_user::text
        then format('You have bound it yourself: select UnbindTaskHub(%L) takes that back.', v_by)
        else format('Call it as a login that is bound to no task hub. "%s" has bound this one; any '
                    'unbound administrator can take that back by UnbindTaskHub.', v_by) end;
  end if;
end $$;

-- __LogAction: a line of PostgreSQL's log for what somebody does by SQL, as the daemon logs what
-- comes by gRPC. p_hub: null for what concerns all hubs.
create or replace function __LogAction(p_action text, p_hub text, p_what text) returns void
language plpgsql set search_path from current as $$
begin
  raise log 'ManagementAction (316): %, %: %; by "%"', p_action,
    case when p_hub is null then 'all hubs' else format('hub "%s"', p_hub) end, p_what,
      session_user;
end $$;

-- SetGlobalSetting: for administrators. Known names and values are checked.
--   TaskHubMode     1: the hub of an SQL user has the name of the login; 0: the application name
--   NotifyOnCommit  1: what the SQL API starts or signals is told to the daemons at the commit; 0:
--                   they find it by polling. A commit that notifies holds a lock of the whole
--   cluster
-- Locks: the setting. Repeat: yes.
create or replace function SetGlobalSetting(Name text, Value text) returns void
language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
begin
  perform __RequireUnbound('SetGlobalSetting');
  if $1 is null or $1 not in ('TaskHubMode', 'NotifyOnCommit') then
    raise exception 'unknown setting "%": there are TaskHubMode and NotifyOnCommit', $1
      using errcode = 'DT001';
  elsif $2 is null or $2 not in ('0', '1') then
    raise exception '% is 0 or 1, not "%"', $1, $2 using errcode = '22023';
  end if;
  insert into GlobalSettings as s (name, value) values ($1, $2)
    on conflict (name) do update
      set value = excluded.value, timestamp = clock_timestamp(), last_modified_by = session_user;
  perform __LogAction('SetGlobalSetting', null, format('%s = %s', $1, $2));
end $$;

-- _GetVersions: the installed versions, newest first by their numbers, not by time.
create or replace function _GetVersions()
returns table (semantic_version text, min_daemon_version text, upgrade_time timestamptz)
language sql stable security definer set search_path from current as $$
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

-- __LockHubs: whoever creates the first instances of a tree in a hub holds the table of hubs shared
-- until its commit, and whoever deletes a hub alone: so nothing is created that the deletion does
-- not see. A lock on the row of the hub would be written by every creation; and an advisory lock
-- can be taken by whoever can connect, so an SQL user of another hub could keep it.
create or replace function __LockHubs(p_alone boolean) returns void
language plpgsql set search_path from current as $$
begin
  if p_alone then
    lock table TaskHubs in exclusive mode;
  else
    lock table TaskHubs in row share mode;
  end if;
end $$;
