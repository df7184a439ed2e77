-- Drops the views, functions and tables of durabletask-postgres in the first schema of search_path;
-- the functions by the names that this project gives, the tables and views one by one. No CASCADE.
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
