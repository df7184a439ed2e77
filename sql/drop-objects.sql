-- Drops the views, functions and tables of durabletask-postgres in the first schema of search_path;
-- the functions by the names that this project gives, the tables and views one by one. No CASCADE.
drop view vInstances, vHistory;
drop function GetInstanceHistory(text, boolean);
drop view _InstanceHistory;
drop table Versions, GlobalSettings, TaskHubs, Workers, Instances, ReadyInstances, NewEvents,
  NewTasks, History, Payloads, Entities, EntityLockRequests;
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = quote_ident(current_schema())::regnamespace
      and (p.proname like '\_%' or p.proname in ('currenttaskhub', 'setglobalsetting'))
    order by p.oid desc
  loop
    execute format('drop function %s', v_function);
  end loop;
end $$;

-- The roles go as well, unless something elsewhere in the cluster depends on them.
do $$
declare
  v_role text;
begin
  foreach v_role in array array['_daemon', '_runtime', '_reader'] loop
    v_role := current_schema() || v_role;
    continue when to_regrole(quote_ident(v_role)) is null;
    begin
      execute format('revoke all on schema %I from %I', current_schema(), v_role);
      execute format('drop role %I', v_role);
    exception
      when dependent_objects_still_exist or insufficient_privilege then null;
    end;
  end loop;
end $$;
