-- The checkpoint of a turn that ends its instance, comes alone, and writes nothing for others.
--
-- One row: "at" (= commit time) of the turn, which is committed; or none and nothing changed, when
-- it does not pass the fence: _CheckpointOrchestration then tells why.
--   $1 to $8 as of checkpoint_turn.sql
--   $9 status, $10 and $11 custom status, $12 and $13 trace context, $14 output, $15 failure: the
--     columns of Instances; $10 and $12: 0 keep, 1 set, 2 clear
--
-- What others have added to the inbox while this waited for the hot row is not seen here.
-- __EndOrchestration sees it: it looks anew, and is called when the row is gone and the consumed
-- messages are counted.
-- Locks: the hot row. Repeat: no, its repeat finds the turn committed.
with fenced as (
  delete from :"schema".ReadyInstances r
  where r.instance_key = $2 and :"schema".__HoldsTurn(r.lease_token, r.turn, $3, $4)
    and not exists (select from :"schema".HubDeletions d where d.hub_id = $1)
  returning :"schema"._Now() as at),
consumed as (
  delete from :"schema".NewEvents e using fenced
  where e.instance_key = $2 and e.seq = any ($5)
  returning e.seq),
stored as (
  insert into :"schema".History (instance_key, turn, committed_time, first_event, event_count,
                                 events)
  select $2, $4, f.at, $6, $7, $8 from fenced f where $8 is not null),
ended as (
  update :"schema".Instances i
    set stored_status = $9, last_updated_time = f.at, completed_time = f.at,
        custom_status = case $10 when 1 then $11 when 2 then null else i.custom_status end,
        orchestration_trace_context = case $12 when 1 then $13 when 2 then null
                                      else i.orchestration_trace_context end,
        last_token = $3, last_turn = $4, output = $14, output_payload = null, failure = $15
  from fenced f where i.instance_key = $2)
select f.at from fenced f
where case when (select count(*) from consumed) = cardinality($5)
             then :"schema".__EndOrchestration($2, f.at)
           else :"schema".__InputIsGone('consumed message') end
