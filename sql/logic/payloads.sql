-- Large values by reference. A value above the threshold (a setting of the daemon, which does the
-- cutting) is stored once per instance in Payloads, and cut out of the events and requests that
-- hold it: a message, the task and the history then share one copy.
--
-- The cut form of a serialized message is
--     0x00 | length of the whole (4 bytes) | number of cuts (4 bytes)
--          | for each cut: where in the rest it was (4 bytes), payload_id (16 bytes)
--          | the rest of the message
-- with numbers in big-endian order. No serialized message begins with 0x00, because there is no
-- field number 0, so the first byte tells the forms apart. payload_id is made of the SHA-256 of the
-- value: an instance that stores a value again, as when an activity's result moves from the inbox
-- into the history, refers to the copy that is there.
--
-- Payloads live as long as their instance; a next generation, and each turn of an entity, keeps
-- those that it still refers to.

-- __IsCut: whether this is the cut form of a message. __Int4: four of its bytes, from p_at
-- (0-based). __WholeLength: the length of a message in either form.
create or replace function __IsCut(p_data bytea) returns boolean
language sql immutable parallel safe
return substr(p_data, 1, 1) = E'\\x00'::bytea;

create or replace function __Int4(p_data bytea, p_at int) returns int
language sql immutable parallel safe
return (get_byte(p_data, p_at) << 24) | (get_byte(p_data, p_at + 1) << 16)
     | (get_byte(p_data, p_at + 2) << 8) | get_byte(p_data, p_at + 3);

create or replace function __WholeLength(p_data bytea) returns int
language sql immutable parallel safe
return case when __IsCut(p_data) then __Int4(p_data, 1) else length(p_data) end;

-- __PayloadCuts: the cuts of a message in cut form, in order.
create or replace function __PayloadCuts(p_data bytea)
returns table (number int, cut_at int, payload_id uuid)
language plpgsql immutable strict parallel safe set search_path from current as $$
#variable_conflict use_column
begin
  return query
    select n, __Int4(p_data, 9 + 20 * n), encode(substr(p_data, 14 + 20 * n, 16), 'hex')::uuid
    from generate_series(0, __Int4(p_data, 5) - 1) n;
end $$;

-- __Assemble: the whole message of a cut form, out of its payloads in any order (parallel arrays).
create or replace function __Assemble(p_data bytea, p_ids uuid[], p_payloads bytea[]) returns bytea
language plpgsql immutable parallel safe set search_path from current as $$
declare
  v_data bytea := p_data || ''::bytea;  -- out of line no more: every part below reads from it
  v_count int := __Int4(v_data, 5);
  v_body int := 10 + 20 * v_count;      -- 1-based
  v_whole bytea;
begin
  select string_agg(substr(v_data, v_body + p.start, p.stop - p.start) || p.payload, ''::bytea
                    order by p.number) || substr(v_data, v_body + max(p.stop))
    into v_whole
  from (select c.number, coalesce(lag(c.cut_at) over (order by c.number), 0) as start,
               c.cut_at as stop, u.payload
        from __PayloadCuts(v_data) c
        join unnest(p_ids, p_payloads) u(payload_id, payload) on u.payload_id = c.payload_id) p;
  if length(v_whole) is distinct from __Int4(v_data, 1) then
    raise exception 'a stored message of % bytes lacks some of its % payloads',
      __Int4(v_data, 1), v_count using errcode = 'data_corrupted';
  end if;
  return v_whole;
end $$;

-- __Whole: a message of an instance in its whole form, whichever it is stored in. __Read: the same,
-- for use in a query: asks no function for what is whole already.
-- Stable: the payloads are as the statement sees them that found the message. A later commit may
-- have dropped them with their generation. So what a statement reads messages by must not see more
-- than itself, either.
create or replace function __Whole(p_key bigint, p_data bytea) returns bytea
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  return (select __Assemble(p_data, array_agg(p.payload_id), array_agg(p.data))
          from Payloads p
          where p.instance_key = p_key
            and p.payload_id = any (array(select c.payload_id from __PayloadCuts(p_data) c)));
end $$;

create or replace function __Read(p_key bigint, p_data bytea) returns bytea
language sql stable
return case when __IsCut(p_data) then __Whole(p_key, p_data) else p_data end;

-- __StorePayloads: stores the payloads of instances; what is there already is not written again.
-- Caller holds the hot rows of the instances, or has just created them.
--   p_keys      the instances, by item; null = not stored
--   p_payloads  [{item, id, data}]; data is a position in p_bytes
create or replace function __StorePayloads(p_keys bigint[], p_payloads jsonb, p_bytes bytea[])
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_bytes bytea[] := p_bytes;
begin
  insert into Payloads (instance_key, payload_id, data)
    select p_keys[c.item], c.id, v_bytes[c.data]
    from jsonb_to_recordset(p_payloads) c(item int, id uuid, data int)
    where p_keys[c.item] is not null
    order by 1, 2
    on conflict (instance_key, payload_id) do nothing;
end $$;

-- __StoreEntryPayloads: the same for entries of a list that name their payloads themselves.
-- Callers ask jsonb_path_exists(p_entries, '$[*].payloads') first, because that is rare.
--   p_entries  [{..., payloads: {id: position in p_bytes}}], parallel to p_keys
create or replace function __StoreEntryPayloads(p_keys bigint[], p_entries jsonb, p_bytes bytea[])
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  perform __StorePayloads(
    p_keys, (select jsonb_agg(jsonb_build_object('item', c.ord, 'id', e.key, 'data', e.value))
             from rows from (jsonb_to_recordset(p_entries) as (payloads jsonb))
               with ordinality c(payloads, ord)
             cross join lateral jsonb_each(c.payloads) e), p_bytes);
end $$;

-- __DropPayloads: removes what the current generation of these instances, or the state of these
-- entities, and their inboxes do not refer to. An
-- instance without payloads costs a probe of an index. Caller holds their hot rows.
create or replace function __DropPayloads(p_keys bigint[]) returns void
language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  if not exists (select from Payloads p where p.instance_key = any (p_keys)) then
    return;
  end if;
  with used as materialized (
    select i.instance_key, v.payload_id
    from Instances i cross join lateral (values (i.input_payload), (i.output_payload)) v(payload_id)
    where i.instance_key = any (p_keys) and v.payload_id is not null
    union all
    select e.instance_key, e.state_payload
    from Entities e where e.instance_key = any (p_keys) and e.state_payload is not null
    union all
    select e.instance_key, c.payload_id
    from NewEvents e cross join lateral __PayloadCuts(e.event) c
    where e.instance_key = any (p_keys) and __IsCut(e.event)
    union all
    select t.instance_key, c.payload_id
    from NewTasks t cross join lateral __PayloadCuts(t.request) c
    where t.instance_key = any (p_keys) and __IsCut(t.request))
  delete from Payloads p
  where p.instance_key = any (p_keys)
    and not exists (select from used u
                    where u.instance_key = p.instance_key and u.payload_id = p.payload_id);
end $$;
