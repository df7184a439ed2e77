-- The creation of one new orchestration of a client that comes alone and has no large value.
--
-- One row: "key", "seq" of its first message, "at" (= commit time); or none and nothing changed,
-- when the id is in use or the hub is gone: _CreateInstances then tells.
--   $1 hub, $2 id, $3 execution id, $4 name, $5 version, $6 input, $7 tags, $8 scheduled start,
--   $9 trace context, $10 the lease that it is created under, or null
--   $11, $12, $13 the first message: since when it is visible (null: at once), type, event
--
-- Locks: the hubs, shared (__HoldHub), and the inserts. Repeat: no, its repeat finds the id in use.
with hub as materialized (select :"schema".__HoldHub($1) as at),
instance as (
  insert into :"schema".Instances (hub_id, instance_id, execution_id, name, version, created_time,
                                   last_updated_time, stored_status, scheduled_start,
                                   trace_context, tags, input)
  select $1, $2, $3, $4, $5, h.at, h.at, 6, $8, $9, $7, $6 from hub h where h.at is not null
  on conflict (hub_id, instance_id) do nothing
  returning instance_key, created_time),
hot as (
  insert into :"schema".ReadyInstances (instance_key, hub_id, lease_token, next_due, not_before,
                                        lower_name, version)
  select i.instance_key, $1, $10,
         case when $10 is null then greatest(i.created_time, $11, $8) end, $8,
         lower($4 collate "C"), coalesce($5, '')
  from instance i),
message as (
  insert into :"schema".NewEvents (instance_key, visible_at, generation, event_type, event)
  select i.instance_key, greatest(i.created_time, $11), 0, $12, $13 from instance i
  returning instance_key, seq)
select m.instance_key as key, m.seq, i.created_time as at from message m, instance i
