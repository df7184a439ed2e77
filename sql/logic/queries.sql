-- Reads of orchestrations for clients: many per call, on connections of their own. Locks: none.
-- Repeat: yes. In plpgsql, although each is one query: a function in SQL that cannot be inlined is
-- parsed and planned again in every call.

-- _QuerySingle: instances by id. One row per item that exists; payload columns are null unless the
-- item asks for them. A turn that changes nothing visible does not write the instance's row, so of
-- a live instance the time of the last turn counts as well.
--   p_batch {items: [{id, payloads}], total_bytes}
-- total_bytes: of all payloads together, but for those of the first item; absent = no limit.
-- left_out: an item beyond it, without its payloads, which is to be asked for again.
create or replace function _QuerySingle(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, key bigint, execution_id text, generation int, name text, version bytea,
               status smallint, created_time timestamptz, last_updated_time timestamptz,
               completed_time timestamptz, scheduled_start timestamptz, parent_instance_id text,
               tags jsonb, input bytea, output bytea, custom_status bytea, failure bytea,
               left_out boolean)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_total_bytes bigint := coalesce(p_batch ->> 'total_bytes', '9223372036854775807');
begin
  return query
    select i.ord::int, i.instance_key, i.execution_id, i.generation, i.name, i.version,
           __StatusNow(i.stored_status, i.hot_turn), i.created_time,
           case when i.completed_time is not null then i.last_updated_time
                else greatest(i.last_updated_time,
                              (select h.committed_time from History h
                               where h.instance_key = i.instance_key
                               order by h.turn desc limit 1)) end,
           i.completed_time, i.scheduled_start, i.parent_instance_id, i.tags,
           case when w.whole then coalesce(i.input, (
             select p.data from Payloads p
             where p.instance_key = i.instance_key and p.payload_id = i.input_payload)) end,
           case when w.whole then coalesce(i.output, (
             select p.data from Payloads p
             where p.instance_key = i.instance_key and p.payload_id = i.output_payload)) end,
           case when w.whole then i.custom_status end,
           case when w.whole then i.failure end,
           coalesce(i.payloads, false) and not w.whole
    from (select c.ord, c.payloads, r.turn as hot_turn, i.*, b.bytes,
                 sum(b.bytes) over (order by c.ord) as total
          from rows from (jsonb_to_recordset(p_batch -> 'items') as (payloads boolean),
                          unnest(__FindInstances(p_hub, p_batch -> 'items')))
            with ordinality c(payloads, key, ord)
          join Instances i on i.instance_key = any (array[c.key]) and i.kind <> 1
          left join ReadyInstances r on r.instance_key = any (array[c.key])
          cross join lateral (
            select case when c.payloads
                        then coalesce(length(i.input), 0) + coalesce(length(i.output), 0)
                             + coalesce(length(i.custom_status), 0) + coalesce(length(i.failure), 0)
                             + case when coalesce(i.input_payload, i.output_payload) is null then 0
                                    else (select coalesce(sum(length(p.data)), 0) from Payloads p
                                          where p.instance_key = i.instance_key
                                            and p.payload_id in (i.input_payload,
                                                                 i.output_payload)) end
                        else 0 end as bytes) b) i
    cross join lateral (
      -- The first one with payloads is taken whatever they have.
      select coalesce(i.payloads, false) and (i.total <= v_total_bytes or i.total = i.bytes)
        as whole) w;
end $$;

-- _WaitStates: the light form, for all waiting calls. p_batch {items: [{id}]}
create or replace function _WaitStates(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, status smallint)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select c.ord::int, __StatusNow(i.stored_status, r.turn)
    from unnest(__FindInstances(p_hub, p_batch -> 'items')) with ordinality c(key, ord)
    join Instances i on i.instance_key = any (array[c.key]) and i.kind <> 1
    left join ReadyInstances r on r.instance_key = any (array[c.key]);
end $$;

-- _QueryManyOrchestrations: a page of orchestrations in the order of (created time, id), or of
-- ended ones in the order of (completed time, id). At least one row, then at most so many rows and
-- bytes of payloads; "more" of the last row tells whether another page follows. One page per call.
--   p_batch {completed, statuses, from, to, prefix, after_time, after_id, rows, bytes, payloads}
--           statuses: a StatusSet, 0 = any; from inclusive, to exclusive; a missing key does not
--           bound
-- The statement is put together of the conditions that are there, and planned for their values,
-- since no single plan suits a page of everything, of the few that failed, and of a prefix that few
-- ids have.
create or replace function _QueryManyOrchestrations(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (key bigint, instance_id text, execution_id text, generation int, name text,
               version bytea, status smallint, created_time timestamptz,
               last_updated_time timestamptz, completed_time timestamptz,
               scheduled_start timestamptz, parent_instance_id text, tags jsonb, input bytea,
               output bytea, custom_status bytea, failure bytea, more boolean)
language plpgsql set search_path from current set enable_seqscan = off
set enable_sort = off as $$
#variable_conflict use_column
declare
  v_time text := __SearchTime(p_batch);
begin
  perform __PlanSearch(p_batch);
  return query execute
    'select t.instance_key, t.instance_id, t.execution_id, t.generation, t.name, t.version,
            __StatusNow(t.stored_status, r.turn), t.created_time,
            case when t.completed_time is not null then t.last_updated_time
                 else greatest(t.last_updated_time,
                               (select h.committed_time from History h
                                where h.instance_key = t.instance_key
                                order by h.turn desc limit 1)) end,
            t.completed_time, t.scheduled_start, t.parent_instance_id, t.tags,
            t.whole_input, t.whole_output,
            case when $11 then t.custom_status end, case when $11 then t.failure end, t.more
     from (select p.*, p.place = 1 or (p.place <= $9 and p.total_bytes <= $10) as taken,
                  coalesce(lead(p.place) over w > $9 or lead(p.total_bytes) over w > $10, false)
                    as more
           from (select i.*, row_number() over w as place,
                        sum(case when $11 then coalesce(length(i.whole_input), 0)
                              + coalesce(length(i.whole_output), 0)
                              + coalesce(length(i.custom_status), 0)
                              + coalesce(length(i.failure), 0) else 0 end) over w as total_bytes
                 from (select i.*,
                              case when $11 then coalesce(i.input, (
                                select p.data from Payloads p
                                where p.instance_key = i.instance_key
                                  and p.payload_id = i.input_payload)) end as whole_input,
                              case when $11 then coalesce(i.output, (
                                select p.data from Payloads p
                                where p.instance_key = i.instance_key
                                  and p.payload_id = i.output_payload)) end as whole_output
                       from (' || __SearchRows(p_batch) || ') i
                       order by ' || v_time || ', i.instance_id limit $9 + 1) i
                 window w as (order by ' || v_time || ', i.instance_id)) p
           window w as (order by p.place)) t
     left join lateral (select h.turn from ReadyInstances h
                        where t.stored_status = 6 and h.instance_key = t.instance_key) r on true
     where t.taken order by t.place'
    using __LiveHub(p_hub), (p_batch ->> 'statuses')::int, __Time((p_batch ->> 'from')::bigint),
          __Time((p_batch ->> 'to')::bigint), p_batch ->> 'prefix',
          __PrefixEnd(p_batch ->> 'prefix'),
          __Time((p_batch ->> 'after_time')::bigint), p_batch ->> 'after_id',
          (p_batch ->> 'rows')::int, (p_batch ->> 'bytes')::bigint, p_batch ? 'payloads';
end $$;

-- __SearchRows: a query for the first $9 + 1 orchestrations of a list, as text for EXECUTE. Ended
-- ones in the order of their ends are those of each status, which an index has in this order,
-- merged.
create or replace function __SearchRows(p_batch jsonb) returns text
language plpgsql immutable parallel safe set search_path from current as $$
declare
  v_rows text := 'select i.* from Instances i where ' || __SearchCondition(p_batch);
  v_order text := ' order by ' || __SearchTime(p_batch) || ', i.instance_id limit $9 + 1';
begin
  if not p_batch ? 'completed' then
    return v_rows || v_order;
  end if;
  return coalesce((select string_agg(format('(%s and i.stored_status = %s%s)', v_rows, s.status,
                                            v_order),
                                     ' union all ')
                   from unnest(__EndedStatuses(p_batch)) s(status)), v_rows || ' and false');
end $$;

-- __EndedStatuses: which statuses of ended instances a search is for.
create or replace function __EndedStatuses(p_batch jsonb) returns smallint[]
language plpgsql immutable parallel safe set search_path from current as $$
declare
  v_statuses int := coalesce((p_batch ->> 'statuses')::int, 0);
begin
  return array(select s.status from unnest('{1,3,4,5}'::smallint[]) s(status)
               where v_statuses = 0 or (1 << s.status) & v_statuses <> 0);
end $$;

-- __PlanSearch: lets the planner sort what a prefix finds, since few ids may have it. Else a search
-- goes along an index that has the order, from where it begins: with statistics that are older than
-- most of the rows the planner would take all of them for few, and sort them for each page. Until
-- the end of the calling function, which is created with enable_sort = off.
create or replace function __PlanSearch(p_batch jsonb) returns void
language plpgsql set search_path from current as $$
begin
  if p_batch ? 'prefix' then
    perform set_config('enable_sort', 'on', true);
  end if;
end $$;

-- __SearchTime: the time that a list of instances is ordered and bounded by.
create or replace function __SearchTime(p_batch jsonb) returns text
language sql immutable parallel safe
return case when p_batch ? 'completed' then 'i.completed_time' else 'i.created_time' end;

-- __SearchCondition: the conditions of a list of orchestrations, on Instances i, as text for
-- EXECUTE: only those that are there. The status conditions that partial indexes have as predicates
-- are written as those predicates.
--   p_batch {completed, statuses, from, to, prefix, after_time, after_id}; the parameters of the
--   text are $1 hub, $2 statuses, $3 from, $4 to, $5 prefix, $6 its __PrefixEnd, $7 after_time, $8
--   after_id
create or replace function __SearchCondition(p_batch jsonb) returns text
language plpgsql immutable parallel safe set search_path from current as $$
declare
  c_live constant int := (1 << 0) | (1 << 6) | (1 << 7);
  c_begun constant int := (1 << 0) | (1 << 6);
  c_unsuccessful constant int := (1 << 3) | (1 << 4) | (1 << 5);
  v_statuses int := coalesce((p_batch ->> 'statuses')::int, 0);
  v_time text := __SearchTime(p_batch);
begin
  return concat_ws(' and ', 'i.hub_id = $1', 'i.kind = 0',
    case when p_batch ? 'completed' then 'i.completed_time is not null' end,
    case when v_statuses = 0 then null
         when v_statuses & ~c_live = 0 then 'i.completed_time is null'
         when v_statuses & ~c_unsuccessful = 0 then 'i.stored_status in (3, 4, 5)' end,
    case when v_statuses = 0 then null
         -- Only who tells Pending and Running apart looks at hot rows (see __StatusNow).
         when v_statuses & c_begun in (0, c_begun) then '(1 << i.stored_status) & $2 <> 0'
         else '(1 << case when i.stored_status <> 6 then i.stored_status
                          when exists (select from ReadyInstances r
                                       where r.instance_key = i.instance_key and r.turn > 0)
                          then 0 else 6 end) & $2 <> 0' end,
    case when p_batch ? 'from' then v_time || ' >= $3' end,
    case when p_batch ? 'to' then v_time || ' < $4' end,
    case when p_batch ? 'prefix' then 'i.instance_id >= $5' end,
    case when __PrefixEnd(p_batch ->> 'prefix') is not null then 'i.instance_id < $6' end,
    -- The second form alone would be right; the first is the one that bounds an index scan.
    case when p_batch ? 'after_id'
         then v_time || ' >= $7 and (' || v_time || ', i.instance_id) > ($7, $8)' end);
end $$;

-- __PrefixEnd: the first text, in byte order, after all that begin with p_prefix; null = there is
-- none. The last character is replaced by the next one, which is not a surrogate (those are no
-- characters).
create or replace function __PrefixEnd(p_prefix text) returns text
language plpgsql immutable strict parallel safe set search_path from current as $$
declare
  v_rest text := p_prefix;
  v_last int;
begin
  while v_rest <> '' loop
    v_last := ascii(right(v_rest, 1));
    v_rest := left(v_rest, -1);
    if v_last < 1114111 then
      return v_rest || chr(case when v_last = 55295 then 57344 else v_last + 1 end);
    end if;
  end loop;
  return null;
end $$;

-- Older builds have one that does not say which generation it read.
do $$
begin
  if exists (select from pg_proc p
             where p.oid = to_regprocedure('_ReadHistory(int, jsonb, bytea[])')
               and 'execution_id' <> all (p.proargnames)) then
    drop function _ReadHistory(int, jsonb, bytea[]);
  end if;
end $$;

-- _ReadHistory: chunks of the current generation after a turn, in order, at least one and then up
-- to about max_bytes. One row with chunk null if the instance exists and there is nothing after the
-- turn; no row if there is no such instance or execution. All rows of an item are of one
-- generation, as it was at one moment, and say which one that is.
--   p_batch {items: [{id, execution_id, after_turn, max_bytes}]}
create or replace function _ReadHistory(p_hub int, p_batch jsonb, p_bytes bytea[])
returns table (item int, turn bigint, first_event int, event_count int, events bytea,
               execution_id text)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select c.ord::int, h.turn, h.first_event, h.event_count, h.events, i.execution_id
    from rows from (jsonb_to_recordset(p_batch -> 'items')
                      as (execution_id text, after_turn bigint, max_bytes bigint),
                    unnest(__FindInstances(p_hub, p_batch -> 'items')))
      with ordinality c(execution_id, after_turn, max_bytes, key, ord)
    join Instances i on i.instance_key = any (array[c.key]) and i.kind <> 1
      and (c.execution_id is null or i.execution_id = c.execution_id)
    left join lateral (
      select p.turn, p.first_event, p.event_count, __Read(i.instance_key, p.events) as events
      from (select n.turn, n.first_event, n.event_count, n.events,
                   sum(__WholeLength(n.events)) over (order by n.turn) - __WholeLength(n.events)
                     as bytes_before
            from History n
            where n.instance_key = i.instance_key and n.turn > c.after_turn
            order by n.turn limit 1000) p
      where p.bytes_before < c.max_bytes) h on true
    order by c.ord, h.turn;
end $$;
