-- Drops the views, functions and tables of durabletask-postgres in the first schema of search_path;
-- the functions by the names that this project gives, the tables and views one by one. No CASCADE.
drop function GetInstanceHistory(text, boolean),
  QuerySingleOrchestration(text, text, boolean, boolean), GetInstanceWaits(text),
  __InstanceWaits(int, text), __OrchestrationWaits(int, bigint, timestamptz),
  __EntityWaits(int, bigint, timestamptz), __LockWaits(int, bigint, timestamptz),
  __ChildWaits(bigint), __TurnWaits(int, bigint, text, timestamptz),
  __SuspensionWaits(timestamptz[], int[], bytea[]),
  __ActivityWaits(int, bigint, timestamptz, timestamptz[], int[], int[], bytea[]),
  __TimerWaits(bigint, timestamptz, bigint[], timestamptz[], int[], int[], bytea[]),
  __CallWaits(int, bigint, timestamptz, timestamptz[], int[], bytea[]),
  __EventWaits(bigint, timestamptz, boolean, boolean, timestamptz[], int[], bytea[]);
drop view vInstances, vEntities, vHistory, vRetention, vWaitingWork, vWorkers, __InstanceHistory,
  __Wait, __HubWorkers, __Instances, __RetentionPlan;
drop table Versions, GlobalSettings, TaskHubBindings, TaskHubs, Workers, Instances, ReadyInstances,
  NewEvents, NewTasks, History, Payloads, Entities, EntityLockRequests, Leaders, RetentionPolicies,
  RetentionWalks, HubDeletions;
do $$
declare
  v_routine regprocedure;
begin
  for v_routine in
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = quote_ident(current_schema())::regnamespace
      and (left(p.proname, 1) = '_' or p.proname in (
        'bindtaskhub', 'createinstance', 'currenttaskhub', 'getentity', 'getscalemetric',
        'getscalerecommendation', 'gettaskhubbindings', 'purgeinstancestate',
        'purgeinstancestatebyid', 'purgeinstancestatebytime', 'raiseevent', 'removeretention',
        'resumeinstance', 'setglobalsetting', 'setretention', 'signalentity', 'suspendinstance',
        'terminateinstance', 'unbindtaskhub'))
    order by p.oid desc
  loop
    execute format('drop routine %s', v_routine);
  end loop;
end $$;

-- The roles go as well, unless something elsewhere in the cluster depends on them.
do $$
declare
  v_role text;
begin
  foreach v_role in array array['_daemon', '_runtime', '_reader', '_admin', '_owner'] loop
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
