-- Reads for clients: many instances per call, on connections of their own. Locks: none. Repeat: yes.
-- In plpgsql, although each is one query: a function in SQL that cannot be inlined is parsed and planned
-- again in every call.

-- _QuerySingle: instances by id. One row per item that exists; payload columns are null unless the
-- item asks for them. A turn that changes nothing visible does not write the instance's row, so of a
-- live instance the time of the last turn counts as well.
--   p_batch {items: [{id, payloads}]}
create or replace function _QuerySingle(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, key bigint, execution_id text, generation int, name text, version bytea,
               status smallint, created_time timestamptz, last_updated_time timestamptz,
               completed_time timestamptz, scheduled_start timestamptz, parent_instance_id text,
               tags jsonb, input bytea, output bytea, custom_status bytea, failure bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select c.ord::int, i.instance_key, i.execution_id, i.generation, i.name, i.version,
           i.runtime_status, i.created_time,
           case when i.completed_time is not null then i.last_updated_time
                else greatest(i.last_updated_time,
                              (select h.committed_time from History h
                               where h.instance_key = i.instance_key and h.generation = i.generation
                               order by h.turn desc limit 1)) end,
           i.completed_time, i.scheduled_start, i.parent_instance_id, i.tags,
           case when c.payloads then i.input end, case when c.payloads then i.output end,
           case when c.payloads then i.custom_status end,
           case when c.payloads then i.failure end
    from rows from (jsonb_to_recordset(p_batch -> 'items') as (id text, payloads boolean))
      with ordinality c(id, payloads, ord)
    join Instances i on i.hub_id = p_hub and i.instance_id = c.id;
end $$;

-- _WaitStates: the light form, for all waiting calls. p_batch {items: [{id}]}
create or replace function _WaitStates(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, status smallint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select c.ord::int, i.runtime_status
    from rows from (jsonb_to_recordset(p_batch -> 'items') as (id text)) with ordinality c(id, ord)
    join Instances i on i.hub_id = p_hub and i.instance_id = c.id;
end $$;

-- _ReadHistory: chunks of the current generation after a turn, in order, at least one and then up to
-- about max_bytes. One row with chunk null if the instance exists and there is nothing after the turn;
-- no row if there is no such instance or execution.
--   p_batch {items: [{id, execution_id, after_turn, max_bytes}]}
create or replace function _ReadHistory(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, turn bigint, first_event int, event_count int, events bytea)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select c.ord::int, h.turn, h.first_event, h.event_count, h.events
    from rows from (jsonb_to_recordset(p_batch -> 'items')
                      as (id text, execution_id text, after_turn bigint, max_bytes bigint))
      with ordinality c(id, execution_id, after_turn, max_bytes, ord)
    join Instances i on i.hub_id = p_hub and i.instance_id = c.id
      and (c.execution_id is null or i.execution_id = c.execution_id)
    left join lateral (
      select p.turn, p.first_event, p.event_count, p.events
      from (select n.turn, n.first_event, n.event_count, n.events,
                   sum(length(n.events)) over (order by n.turn) - length(n.events) as bytes_before
            from History n
            where n.instance_key = i.instance_key and n.generation = i.generation
              and n.turn > c.after_turn
            order by n.turn limit 1000) p
      where p.bytes_before < c.max_bytes) h on true
    order by c.ord, h.turn;
end $$;
