-- What the daemon reads for operators (proto/management.proto). Locks: none. Repeat: yes.

-- _InstanceWaits: as GetInstanceWaits; no row for an item that there is no instance of.
--   p_batch {items: [{id}]}
create or replace function _InstanceWaits(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, kind text, state text, name text, id text, since timestamptz,
               until timestamptz, worker bigint, host text, detail text, sentence text)
language plpgsql stable set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select c.ord::int, w.kind, w.state, w.name, w.id, w.since, w.until, w.worker, w.host,
           w.detail, w.sentence
    from rows from (jsonb_to_recordset(p_batch -> 'items') as (id text))
      with ordinality c(id, ord)
    cross join lateral __InstanceWaits(p_hub, c.id) with ordinality w(kind, state, name, id, since,
      until, worker, host, detail, sentence, number)
    where w.kind <> 'unknown'
    order by c.ord, w.number;
end $$;

-- _HubWorkers: the rows of vWorkers, of a hub, by worker and work. per_mille: what it finishes in
-- 1000 seconds.
create or replace function _HubWorkers(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (worker bigint, host text, version text, since timestamptz, last_seen timestamptz,
               state text, work text, streams bigint, credits bigint, names text[],
               residents bigint, in_flight bigint, leases bigint, per_mille bigint)
language plpgsql stable set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select w.WorkerID, w.Host, w.Version, w.Since, w.LastSeenTime, w.State, w.Work,
           w.Streams::bigint, w.Credits, w.Names, coalesce(w.Residents, 0),
           coalesce(w.InFlight, 0), coalesce(w.Leases, 0),
           round(coalesce(w.FinishedPerSecond, 0) * 1000)::bigint
    from __HubWorkers w
    where w.HubID = __LiveHub(p_hub)
    order by w.WorkerID, w.Work;
end $$;

-- _ListHubs: the names of the task hubs, in byte order.
--   p_batch {names: at most so many}
create or replace function _ListHubs(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (name text)
language plpgsql stable set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query select h.name from TaskHubs h order by h.name limit (p_batch ->> 'names')::int;
end $$;
