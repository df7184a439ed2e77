-- What the statements of single calls (../statements) call. Such a call comes alone, as calls do
-- when little happens, and somebody waits for it. It takes columns, not lists, and touches what its
-- item needs and nothing else. It is a short cut for what goes well: everything else, and batches
-- of any size, are for the functions of the daemon. The conformance suite (tests/storage) plays
-- both.

-- __InputIsGone: fails with P0D01: something that a turn has used up is not there any more.
create or replace function __InputIsGone(p_what text) returns boolean
language plpgsql set search_path from current as $$
begin
  raise exception 'a % is gone', p_what using errcode = 'P0D01';
end $$;

-- __EndOrchestration: __EndOrchestrations for one instance. True.
create or replace function __EndOrchestration(p_key bigint, p_now timestamptz) returns boolean
language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  perform __EndOrchestrations(array[p_key], p_now);
  return true;
end $$;

-- __HoldHub: holds the hubs as __LockHubs does, for a creation. The time of that, or null if the
-- hub is gone.
create or replace function __HoldHub(p_hub int) returns timestamptz
language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  lock table TaskHubs in row share mode;
  if exists (select from TaskHubs h where h.hub_id = p_hub) then
    return _Now();
  end if;
  return null;
end $$;
