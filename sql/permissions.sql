-- Rights, applied after the logic at every upgrade (a function that was dropped and made again is
-- executable by PUBLIC until this runs), and alone at every `schema up` of what is up to date:
-- roles may have been made since. Then it locks nothing that others hold for long. Roles belong to
-- the whole cluster; none of them can log in by itself. They are granted to logins, but for the
--   first, which is granted to nobody: <schema>_owner    owns what runs with rights of its own: the
--   views and the functions of SQL users <schema>_daemon   what durabletask-sidecar needs: rows and
--   functions, no change of the schema <schema>_reader   SQL users who look: the views and the
--   reading functions, of their own hub <schema>_runtime  SQL users who also start, signal and
--   terminate orchestrations, of their own hub <schema>_admin    SQL users who look, purge and set
--                     retention, of their own hub; those who are bound to no hub also set settings
-- and bind logins to hubs Without the right to make roles, the rights of those that exist are set,
-- and the others are named in a warning. What <schema>_owner should own then belongs to the
-- installing role: it works the same, with more rights than it needs.
do $$
declare
  v_schema text := current_schema();
  v_owner text := current_schema() || '_owner';
  v_missing text[] := '{}';
  v_role text;
  v_new_owner oid;
  v_object record;
begin
  execute format('revoke all on schema %I from public', v_schema);
  execute format('revoke all on all tables in schema %I from public', v_schema);
  execute format('revoke all on all routines in schema %I from public', v_schema);

  foreach v_role in array array['_owner', '_daemon', '_reader', '_runtime', '_admin'] loop
    v_role := v_schema || v_role;
    begin
      execute format('create role %I nologin', v_role);
    exception
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        if to_regrole(quote_ident(v_role)) is null then
          v_missing := v_missing || v_role;
          continue;
        end if;
    end;
    execute format('grant usage on schema %I to %I', v_schema, v_role);
  end loop;
  if v_missing <> '{}' then
    raise warning 'these roles are missing, and "%" may not create them: %', current_user,
      array_to_string(v_missing, ', ')
      using hint = 'Let an administrator run "create role NAME nologin" for each and "grant '
        || v_owner || ' to ' || current_user || '", and install again.';
  end if;
  if v_owner = any (v_missing) then
    return;
  end if;

  execute format('grant select on Versions, Workers, Leaders, RetentionWalks, HubDeletions to %I',
                 v_owner);
  execute format('grant select, insert, update, delete on TaskHubs, GlobalSettings, TaskHubBindings,
                  Instances, ReadyInstances, NewEvents, NewTasks, History, Payloads, Entities,
                  EntityLockRequests, RetentionPolicies to %I', v_owner);
  execute format('grant execute on all functions in schema %I to %I', v_schema, v_owner);
  -- To give something away one must be a member of the new owner, who must be allowed to have it
  -- here.
  v_new_owner := to_regrole(quote_ident(v_owner));
  if not exists (select from pg_proc p
                 where p.pronamespace = quote_ident(v_schema)::regnamespace and p.prosecdef
                   and p.proowner <> v_new_owner)
     and not exists (select from pg_class c
                     where c.relnamespace = quote_ident(v_schema)::regnamespace and c.relkind = 'v'
                       and c.relowner <> v_new_owner) then
    return;
  end if;
  begin
    if not pg_has_role(v_owner, 'usage') then
      execute format('grant %I to current_user', v_owner);
    end if;
    execute format('grant create on schema %I to %I', v_schema, v_owner);
    for v_object in
      select format('function %s', p.oid::regprocedure) as name from pg_proc p
      where p.pronamespace = quote_ident(v_schema)::regnamespace and p.prosecdef
        and p.proowner <> v_new_owner
      union all
      select format('view %s', c.oid::regclass) from pg_class c
      where c.relnamespace = quote_ident(v_schema)::regnamespace and c.relkind = 'v'
        and c.relowner <> v_new_owner
    loop
      execute format('alter %s owner to %I', v_object.name, v_owner);
    end loop;
    execute format('revoke create on schema %I from %I', v_schema, v_owner);
  exception
    when insufficient_privilege then
      raise warning '"%" is no member of "%", and so keeps the functions and views of SQL users',
        current_user, v_owner
        using hint = 'Let an administrator run "grant ' || v_owner || ' to ' || current_user
          || '", and install again.';
  end;
end $$;

-- What each role may do. A function of an administrator is not for the daemon.
do $$
declare
  v_schema text := current_schema();
  c_read constant text[] := '{currenttaskhub, getinstancehistory, getinstancewaits,
    querysingleorchestration, getentity, getscalemetric, getscalerecommendation, _getversions}';
  c_run constant text[] := '{createinstance, raiseevent, suspendinstance, resumeinstance,
    terminateinstance, signalentity}';
  c_manage constant text[] := '{purgeinstancestatebyid, purgeinstancestatebytime,
    purgeinstancestate, setglobalsetting, bindtaskhub, unbindtaskhub, gettaskhubbindings,
    setretention, removeretention}';
  -- What the views call runs with the rights of whoever reads them; it reads no table.
  c_decode constant text[] := '{__assemble, __astext, __decodeevents, __eventtypename, __int4,
    __iscut, __payloadcuts, __statusname, __statusnow, _now, __later, __clockshift, __pbfields,
    __pbfield, __pbnumberfield, __pbwrapped, __pbtime}';
  v_role text;
  v_names text[];
  v_routine record;
begin
  v_role := v_schema || '_daemon';
  if to_regrole(quote_ident(v_role)) is not null then
    execute format('grant select, insert, update, delete on all tables in schema %I to %I',
                   v_schema, v_role);
    execute format('revoke insert, update, delete on Versions, GlobalSettings, TaskHubBindings
                    from %I', v_role);
    -- The policies of a hub go with it.
    execute format('revoke insert, update on RetentionPolicies from %I', v_role);
    execute format('grant usage on all sequences in schema %I to %I', v_schema, v_role);
    execute format('grant execute on all functions in schema %I to %I', v_schema, v_role);
  end if;

  for v_role, v_names in
    select v_schema || r.role, r.names
    from (values ('_reader', c_read || c_decode), ('_runtime', c_read || c_decode || c_run),
                 ('_admin', c_read || c_decode || c_manage)) r(role, names)
  loop
    continue when to_regrole(quote_ident(v_role)) is null;
    execute format('grant select on vInstances, vEntities, vHistory, vRetention, vWaitingWork,
                    vWorkers to %I', v_role);
    for v_routine in
      select p.oid::regprocedure as name from pg_proc p
      where p.pronamespace = quote_ident(v_schema)::regnamespace and p.proname = any (v_names)
    loop
      execute format('grant execute on routine %s to %I', v_routine.name, v_role);
    end loop;
  end loop;

  v_role := v_schema || '_daemon';
  for v_routine in
    select p.oid::regprocedure as name from pg_proc p
    where p.pronamespace = quote_ident(v_schema)::regnamespace
      and p.proname in ('setglobalsetting', 'bindtaskhub', 'unbindtaskhub', 'gettaskhubbindings',
                        'setretention', 'removeretention')
      and to_regrole(quote_ident(v_role)) is not null
  loop
    execute format('revoke execute on routine %s from %I', v_routine.name, v_role);
  end loop;
end $$;
