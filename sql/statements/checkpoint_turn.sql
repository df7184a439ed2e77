-- The checkpoint of a turn that comes alone and writes nothing but its history: most turns of a
-- daemon that has little to do, and each of them is one that somebody waits for.
--
-- One row: "at" (= commit time) of the turn, which is committed; or none and nothing changed, when
-- it does not pass the fence: _CheckpointOrchestration then tells why.
--   $1 hub, $2 key, $3 token, $4 turn
--   $5 seqs of the consumed messages: if one is missing, the call fails with P0D01
--   $6, $7, $8 first_event, event_count, events; $8 null: the turn has no history
--   $9 the inline task (logic/inline_tasks.sql) whose result is in the turn's history, or null
--   $10 the ids of new inline tasks, an int4multirange in text form, or null
--
-- All parts of one statement see the same moment, and a lock that it waits for makes only the
-- locked row newer. So it may touch nothing else that others write: the consumed messages are the
-- lease holder's own, and nobody adds to a history without the lease.
-- Locks: the hot row. Repeat: no, its repeat finds the turn committed.
with fenced as (
  update :"schema".ReadyInstances r
    set turn = $4, lost_leases = 0,
        inline_tasks = :"schema".__InlineAfter(r.inline_tasks, $9, $10)
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
  select $2, $4, f.at, $6, $7, $8 from fenced f where $8 is not null)
select f.at from fenced f
where case when (select count(*) from consumed) = cardinality($5) then true
           else :"schema".__InputIsGone('consumed message') end
