-- The SQL API for entities: what SQL users call to signal them and to look at one (sql_api.sql says
-- how such functions are). All are in vEntities.

-- __EntityId: the id of an entity as it is stored, with its name in lower case; raises 22023 for
-- what is none.
create or replace function __EntityId(p_id text) returns text
language plpgsql immutable set search_path from current as $$
declare
  -- Of the name and the @ on both sides.
  v_name_end int := strpos(substr(p_id, 2), '@') + 1;
begin
  if coalesce(p_id, '') = '' then
    raise exception 'EntityID is %', case when p_id is null then 'null' else 'empty' end
      using errcode = '22023', hint = 'The id of an entity is "@name@key".';
  elsif length(p_id) > 100 then
    raise exception 'the length of EntityID is % characters, the limit for entities is 100',
      length(p_id) using errcode = '22023';
  elsif left(p_id, 1) <> '@' or v_name_end < 3 then
    raise exception 'EntityID is "%" with a length of % characters, which is no id of an entity',
      p_id, length(p_id) using errcode = '22023',
      hint = 'It is "@name@key", with a name that is not empty and at most 100 characters in all; '
        'events for orchestrations are raised by RaiseEvent.';
  end if;
  return lower(left(p_id, v_name_end) collate "C") || substr(p_id, v_name_end + 1);
end $$;

-- __LockEntity: locks the hot row of an entity of the caller's hub, both of which are created if
-- they are not there, and returns the hub. One that is removed after it was found is created anew:
-- nothing is locked then.
-- Locks: the hubs, shared, and the new id, if it is created; the hot row. Repeat: yes.
create or replace function __LockEntity(p_id text, out hub int, out locked bigint[])
language plpgsql set search_path from current as $$
declare
  v_ids constant jsonb := jsonb_build_array(p_id);
begin
  loop
    hub := __OwnHubToFill();
    perform __CreateEntities(hub, v_ids);
    locked := __LockInstances(__FindInstances(hub, v_ids));
    exit when locked <> '{}';
  end loop;
end $$;

-- SignalEntity: sends an operation to an entity of the caller's hub, and waits for no answer: true,
-- or false if a signal with the same RequestID waits already. An entity that is not there comes to
-- be, and so does the hub. The entity runs its operations in the order in which they come.
--   EntityID       "@name@key"; the name is the same in any case
--   InputText      what the operation gets
--   ScheduledTime  it runs then; null or in the past: at once
--   RequestID      to make the call repeatable while the signal waits; null: a new one
-- Locks: the entity's hot row, and a new entity's id, until the caller's commit. Repeat: by
-- RequestID; else sends the operation again.
create or replace function SignalEntity(EntityID text, Operation text, InputText text default null,
                                        ScheduledTime timestamptz default null,
                                        RequestID uuid default null)
returns boolean language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
declare
  v_id constant text := __EntityId(SignalEntity.EntityID);
  -- A time without seconds and fractions is none in the protocol.
  v_at constant timestamptz := nullif(SignalEntity.ScheduledTime, 'epoch');
  v_request_id constant uuid := coalesce(SignalEntity.RequestID, gen_random_uuid());
  v_locked record;
  v_now timestamptz;
  v_outcome int;
begin
  if SignalEntity.Operation is null then
    raise exception 'Operation is null' using errcode = '22023';
  end if;
  perform __CheckText('Operation', SignalEntity.Operation, 1024);
  perform __CheckPayload('InputText', SignalEntity.InputText);
  perform __CheckTime('ScheduledTime', v_at);
  v_locked := __LockEntity(v_id);
  v_now := _Now();
  select d.outcome into v_outcome
  from __Deliver(
    v_locked.hub,
    jsonb_build_array(jsonb_build_object('id', v_id, 'at', __Micros(v_at), 'type', 23, 'event', 1)
                      || case when SignalEntity.RequestID is null then '{}'::jsonb
                              else jsonb_build_object('request_id', v_request_id) end),
    array[__EntitySignaledEvent(v_now, v_request_id::text, SignalEntity.Operation, v_at,
                                SignalEntity.InputText)],
    v_now, null, v_locked.locked) d;
  if v_outcome = 3 then
    return false;
  end if;
  perform __HintDaemons(v_locked.hub);
  return true;
end $$;

-- GetEntity: an entity of the caller's hub; no row if it has no state.
--   StateSize     in bytes
--   LockedBy      the orchestration that holds its lock; '' if that is gone, null if it is free
--   Backlog       operations that are due and have not run; counting stops at 10000
--   LastModified  when its last operations ran
-- Locks: none. Repeat: yes.
create or replace function GetEntity(EntityID text)
returns table (Name text, Key text, State text, StateSize int, LockedBy text, Backlog int,
               LastModified timestamptz)
language plpgsql stable security definer set search_path from current
set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_id constant text := __EntityId(GetEntity.EntityID);
  v_key constant bigint := (__FindInstances(__OwnHub(false), jsonb_build_array(v_id)))[1];
begin
  return query
    select i.name, substr(v_id, length(i.name) + 3), __AsText(s.state),
           octet_length(s.state), __EntityLockedBy(e.locked_by_key),
           __EntityBacklog(v_key, _Now()), e.last_modified_time
    from Entities e
    join Instances i on i.instance_key = any (array[v_key])
    cross join lateral __EntityState(v_key, e.state, e.state_payload) s(state)
    where e.instance_key = any (array[v_key])
      and (e.state is not null or e.state_payload is not null);
end $$;
