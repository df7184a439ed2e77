-- Rights, applied after the logic at every upgrade (a function that was dropped and made again is
-- executable by PUBLIC until this runs). Roles belong to the whole cluster; none of them can log in by
-- itself, they are granted to logins:
--   <schema>_daemon   what durabletask-sidecar needs: rows and functions, no change of the schema
--   <schema>_runtime  SQL users: the views and the functions without underscore, of their own hub
--   <schema>_reader   the views only
-- Without the right to make roles, only the rights of those that exist are set.
do $$
declare
  v_schema text := current_schema();
  v_role text;
  v_function regprocedure;
begin
  execute format('revoke all on schema %I from public', v_schema);
  execute format('revoke all on all tables in schema %I from public', v_schema);
  execute format('revoke all on all functions in schema %I from public', v_schema);

  foreach v_role in array array[v_schema || '_daemon', v_schema || '_runtime', v_schema || '_reader']
  loop
    begin
      execute format('create role %I nologin', v_role);
    exception
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        if to_regrole(quote_ident(v_role)) is null then
          continue;
        end if;
    end;
    execute format('grant usage on schema %I to %I', v_schema, v_role);
  end loop;

  v_role := v_schema || '_daemon';
  if to_regrole(quote_ident(v_role)) is not null then
    execute format('grant select, insert, update, delete on all tables in schema %I to %I',
                   v_schema, v_role);
    execute format('revoke insert, update, delete on Versions, GlobalSettings from %I', v_role);
    execute format('grant usage on all sequences in schema %I to %I', v_schema, v_role);
    execute format('grant execute on all functions in schema %I to %I', v_schema, v_role);
    execute format('revoke execute on function SetGlobalSetting(text, text) from %I', v_role);
  end if;

  foreach v_role in array array[v_schema || '_runtime', v_schema || '_reader'] loop
    continue when to_regrole(quote_ident(v_role)) is null;
    execute format('grant select on vInstances, vHistory to %I', v_role);
    -- What the views call runs with the rights of whoever reads them; it decodes and reads no table.
    for v_function in
      select p.oid::regprocedure from pg_proc p
      where p.pronamespace = quote_ident(v_schema)::regnamespace
        and (p.proname like '\_pb%' or p.proname in ('_assemble', '_astext', '_decodeevents',
                                                     '_eventtypename', '_int4', '_iscut',
                                                     '_payloadcuts', '_statusname',
                                                     'currenttaskhub'))
    loop
      execute format('grant execute on function %s to %I', v_function, v_role);
    end loop;
  end loop;
  v_role := v_schema || '_runtime';
  if to_regrole(quote_ident(v_role)) is not null then
    execute format('grant execute on function GetInstanceHistory(text, boolean) to %I', v_role);
  end if;
end $$;
