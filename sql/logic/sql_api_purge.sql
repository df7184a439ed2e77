-- The SQL API, purge: ended orchestrations of the caller's own hub are removed, live ones never.
-- The functions do it in the caller's transaction, in steps of so many instances; the procedure
-- commits after each step. Locks: those of _PurgeInstances, until the commit. Repeat: yes.

-- PurgeInstanceStateByID: purges the ended ones of these instances, with Recursive also their ended
-- descendants, and returns how many are gone. Live and missing ones are not counted.
create or replace function PurgeInstanceStateByID(InstanceIDs text[],
                                                  Recursive boolean default false)
returns bigint language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
declare
  v_batch constant jsonb :=
    jsonb_build_object('ids', to_jsonb(coalesce(PurgeInstanceStateByID.InstanceIDs, '{}')))
    || case when PurgeInstanceStateByID.Recursive then '{"recursive": true}' else '{}' end::jsonb;
begin
  return __PurgeOwn(v_batch, null);
end $$;

-- PurgeInstanceStateByTime: purges the instances that were created (FilterType 0) or ended (1) at
-- ThresholdTime or before and have ended, and returns how many are gone. With MaxInstances it stops
-- after so many: call again until it returns 0.
create or replace function PurgeInstanceStateByTime(ThresholdTime timestamptz,
                                                    FilterType int default 0,
                                                    Recursive boolean default false,
                                                    MaxInstances int default null)
returns bigint language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
begin
  if PurgeInstanceStateByTime.ThresholdTime is null then
    raise exception 'ThresholdTime is null' using errcode = '22023';
  elsif coalesce(PurgeInstanceStateByTime.FilterType, -1) not in (0, 1) then
    raise exception 'FilterType is %; 0 (created) and 1 (completed) are allowed',
      coalesce(PurgeInstanceStateByTime.FilterType::text, 'null') using errcode = '22023';
  elsif PurgeInstanceStateByTime.MaxInstances < 1 then
    raise exception 'MaxInstances is %, the least is 1', PurgeInstanceStateByTime.MaxInstances
      using errcode = '22023';
  end if;
  perform __CheckTime('ThresholdTime', PurgeInstanceStateByTime.ThresholdTime);
  return __PurgeOwn(
    -- "to" is exclusive, and times have microseconds.
    jsonb_build_object('to', __Micros(PurgeInstanceStateByTime.ThresholdTime) + 1)
      || case when PurgeInstanceStateByTime.FilterType = 1 then '{"completed": true}'
        else '{}' end::jsonb
      || case when PurgeInstanceStateByTime.Recursive then '{"recursive": true}'
        else '{}' end::jsonb,
    PurgeInstanceStateByTime.MaxInstances);
end $$;

-- __PurgeOwn: purges in the caller's hub what a batch of _PurgeInstances names, up to p_max
-- instances if that is not null, and returns how many are gone.
create or replace function __PurgeOwn(p_batch jsonb, p_max int) returns bigint
language plpgsql set search_path from current as $$
declare
  c_step constant int := 1000;
  v_hub int := __OwnHub(false);
  v_total bigint := 0;
  v_step record;
begin
  loop
    select p.deleted, p.more into v_step
    from _PurgeInstances(v_hub, p_batch
                         || jsonb_build_object('rows', least(p_max - v_total, c_step)),
                         '{}') p;
    v_total := v_total + v_step.deleted;
    exit when not v_step.more or v_total >= p_max;
  end loop;
  if v_total > 0 then
    perform __LogAction('PurgeInstances', CurrentTaskHub(), format('%s instances', v_total));
  end if;
  return v_total;
end $$;

-- PurgeInstanceState: PurgeInstanceStateByTime with a commit after each BatchSize instances, so
-- that it holds no locks for long and an interruption loses one batch at most. Not inside a
-- transaction block. A procedure that commits may neither be a security definer nor have settings
-- of its own; it runs with the rights and the search_path of its caller, so the schema is written
-- out, by this statement.
do $outer$
begin
  execute format($$
    create or replace procedure PurgeInstanceState(
      ThresholdTime timestamptz, FilterType int default 0, Recursive boolean default false,
      BatchSize int default 500, inout PurgedCount bigint default 0)
    language plpgsql as $body$
    declare
      v_purged bigint;
    begin
      PurgedCount := 0;
      loop
        v_purged := %I.PurgeInstanceStateByTime(ThresholdTime, FilterType, Recursive, BatchSize);
        PurgedCount := PurgedCount + v_purged;
        commit;
        exit when v_purged = 0;
      end loop;
    end $body$ $$, current_schema());
end $outer$;
