-- Entities: created by use, locked, released, removed. What a turn of an entity writes is a
-- checkpoint like every other (checkpoint.sql); here is what it has beside the others. Lock order:
-- README.md.
--
-- Locks. A lock request is a message in the inbox of each entity of its set, and a row of
-- EntityLockRequests beside it. An entity whose turn has run everything before it arrives; when all
-- have arrived the request is granted, under the locks of all their hot rows. Overlapping requests
-- stand in one order at all entities, so the first of all of them only ever waits for operations,
-- and no two wait for each other. Who holds a lock releases it by a message.

-- __EntityExecutionId: the execution id of an entity, the same as long as it exists (RULES.md 7.2).
create or replace function __EntityExecutionId(p_key bigint) returns text
language sql immutable parallel safe
return lpad(to_hex(p_key), 32, '0');

-- __CreateEntities: creates those of these entities that do not exist.
--   p_ids  a JSON array of ids, normalized and distinct; null = none
-- Locks: the hubs, shared, and the inserts, sorted by id: before any hot row, so that of two calls
-- that create the same entity one waits and holds nothing that the other needs. Repeat: yes.
create or replace function __CreateEntities(p_hub int, p_ids jsonb) returns void
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_missing text[];
  v_keys bigint[];
  v_names text[];
begin
  select array_agg(m.id order by m.id) into v_missing
  from rows from (jsonb_array_elements_text(p_ids), unnest(__FindInstances(p_hub, p_ids)))
    m(id, key)
  where m.key is null;
  if v_missing is null then
    return;
  end if;
  perform __LockHubs(p_alone => false);
  if __LiveHub(p_hub) is null then
    return;
  end if;
  with inserted as (
    insert into Instances (hub_id, kind, instance_id, name, created_time, last_updated_time,
                           stored_status)
    select p_hub, 1, m.id, split_part(m.id, '@', 2), _Now(), _Now(), 0
    from unnest(v_missing) m(id)
    order by m.id
    on conflict (hub_id, instance_id) do nothing
    returning instance_key, name)
  select array_agg(n.instance_key), array_agg(n.name) into v_keys, v_names from inserted n;
  insert into ReadyInstances (instance_key, hub_id, kind, lower_name)
    select n.key, p_hub, 1, lower(n.name collate "C") from unnest(v_keys, v_names) n(key, name);
  insert into Entities (instance_key, last_modified_time)
    select n.key, _Now() from unnest(v_keys) n(key);
end $$;

-- __RepeatedRequests: the items (positions) whose request id is that of a message that waits in
-- the inbox, or of an earlier item for it. Caller holds the hot rows.
--   p_items [{request_id}], p_keys their targets
create or replace function __RepeatedRequests(p_items jsonb, p_keys bigint[]) returns int[]
language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  return array(
    select r.ord::int
    from (select c.ord, p_keys[c.ord] as key, c.request_id,
                 row_number() over (partition by p_keys[c.ord], c.request_id order by c.ord)
                   as number
          from rows from (jsonb_to_recordset(p_items) as (request_id uuid))
            with ordinality c(request_id, ord)
          where c.request_id is not null) r
    where r.number > 1
       or exists (select from NewEvents e
                  where e.instance_key = r.key and e.request_id = r.request_id));
end $$;

-- __UnlockEvent: EntityUnlockSent (29), as SQL puts it into the inbox of an entity.
create or replace function __UnlockEvent(p_now timestamptz, p_section text, p_owner text)
returns bytea language plpgsql immutable set search_path from current as $$
begin
  return __HistoryEvent(p_now, 29, __PbText(1, p_section) || __PbStringValue(2, p_owner));
end $$;

-- __SendUnlocks: an unlock in front of each of these inboxes (parallel arrays). Whoever holds the
-- entity reads it there. Caller holds the hot rows.
create or replace function __SendUnlocks(p_keys bigint[], p_sections text[], p_owners text[],
                                         p_now timestamptz)
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
begin
  insert into NewEvents (instance_key, visible_at, event_type, event)
    select u.key, '-infinity', 29, __UnlockEvent(p_now, u.section, u.owner)
    from unnest(p_keys, p_sections, p_owners) u(key, section, owner)
    order by u.key;
  perform __WakeInstances(p_keys, array_fill('-infinity'::timestamptz, array[cardinality(p_keys)]),
                          null);
end $$;

-- __EntitiesOf: the keys of the entities that these orchestrations hold locked or wait for.
create or replace function __EntitiesOf(p_owners bigint[]) returns bigint[]
language plpgsql stable set search_path from current set enable_seqscan = off as $$
begin
  return array(
    select e.instance_key from Entities e where e.locked_by_key = any (p_owners)
    union
    select q.instance_key from EntityLockRequests q where q.owner_key = any (p_owners));
end $$;

-- __MembersOf: the keys of all whom the arrivals and withdrawals of a batch are about: the entities
-- of the sets and the orchestrations that ask. p_own: the entities, by item.
--   p_arrivals [{item, seq}], p_withdrawals [{item, section}]; null = none
create or replace function __MembersOf(p_own bigint[], p_arrivals jsonb, p_withdrawals jsonb)
returns bigint[] language plpgsql stable set search_path from current
set enable_seqscan = off as $$
begin
  return array(
    select unnest(array[m.instance_key, m.owner_key])
    from (select p_own[a.item] as key, a.seq, null as section
          from jsonb_to_recordset(p_arrivals) a(item int, seq bigint)
          union all
          select p_own[w.item], null, w.section
          from jsonb_to_recordset(p_withdrawals) w(item int, section text)) c
    join EntityLockRequests q on q.instance_key = any (array[c.key])
      and (q.seq = c.seq or q.critical_section = c.section)
    join EntityLockRequests m on m.owner_key = any (array[q.owner_key])
      and m.critical_section = q.critical_section);
end $$;

-- __ReleaseEntities: orchestrations end, begin another generation or go: their lock requests go,
-- and every entity that they hold or wait for gets an unlock in front of all. Caller holds the hot
-- rows of those entities (__EntitiesOf).
create or replace function __ReleaseEntities(p_owners bigint[], p_now timestamptz) returns void
language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_keys bigint[];
  v_sections text[];
  v_owner_keys bigint[];
begin
  with wanted as (
    delete from EntityLockRequests q where q.owner_key = any (p_owners)
    returning q.instance_key, q.seq, q.critical_section, q.owner_key),
  dropped as (
    delete from NewEvents e using wanted w
    where e.instance_key = any (array[w.instance_key]) and e.seq = w.seq)
  select array_agg(t.key), array_agg(t.section), array_agg(t.owner)
    into v_keys, v_sections, v_owner_keys
  from (select e.instance_key as key, e.critical_section as section, e.locked_by_key as owner
        from Entities e where e.locked_by_key = any (p_owners)
        union
        select w.instance_key, w.critical_section, w.owner_key from wanted w) t;
  if v_keys is not null then
    perform __SendUnlocks(
      v_keys, v_sections,
      array(select i.instance_id from unnest(v_owner_keys) with ordinality o(key, ord)
            join Instances i on i.instance_key = any (array[o.key]) order by o.ord), p_now);
  end if;
end $$;

-- __RequestLocks: puts lock requests of committed turns into the inboxes of their entities. Rows as
-- _CheckpointOrchestration, part 9: one for each entity of each request, in order. Caller holds the
-- hot rows of the entities, p_locked, and has created them.
--   p_locks [{item, section, ids, event}]
create or replace function __RequestLocks(p_hub int, p_locks jsonb, p_bytes bytea[],
                                          p_keys bigint[], p_generations int[], p_now timestamptz,
                                          p_worker bigint, p_locked bigint[])
returns table (part smallint, item int, number int, outcome smallint, key bigint, token bigint,
               seq bigint, at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_lock record;
  v_members bigint[];
  v_at timestamptz;
begin
  part := 9;
  number := 0;
  for v_lock in
    select l.* from rows from (jsonb_to_recordset(p_locks)
                                 as (item int, section text, ids jsonb, event int))
      with ordinality l(item, section, ids, event, ord)
    order by l.ord
  loop
    v_members := __FindInstances(p_hub, v_lock.ids);
    select greatest(p_now, max(q.visible_at) + interval '1 microsecond') into v_at
    from EntityLockRequests q where q.instance_key = any (v_members);
    for outcome, key, token, seq, at in
      select d.outcome, d.key, d.token, d.seq, d.at
      from __Deliver(p_hub, (select jsonb_agg(jsonb_build_object(
                                      'id', i.id, 'at', __Micros(v_at), 'type', 27,
                                      'event', v_lock.event) order by i.ord)
                             from jsonb_array_elements(v_lock.ids) with ordinality i(id, ord)),
                     p_bytes, p_now, p_worker, p_locked) d
      order by d.item
    loop
      insert into EntityLockRequests (instance_key, seq, visible_at, owner_key, owner_generation,
                                      members, critical_section)
        values (key, seq, v_at, p_keys[v_lock.item], p_generations[v_lock.item],
                cardinality(v_members), v_lock.section);
      number := number + 1;
      return next;
    end loop;
  end loop;
end $$;

-- __ArriveAtLock: the entity has run all that came before this request. Outcome 0 all have arrived:
-- they are locked, and the grant is on its way to the owner, 1 others have not, 2 there is no such
-- request any more. With 0, the other columns tell of the grant's delivery. Caller holds the hot
-- rows of the entities and of the owner.
--   p_grant  {type, event}: the message for the owner
create or replace function __ArriveAtLock(p_hub int, p_key bigint, p_seq bigint, p_grant jsonb,
                                          p_bytes bytea[], p_now timestamptz, p_worker bigint,
                                          p_locked bigint[], out outcome smallint, out key bigint,
                                          out token bigint, out seq bigint, out at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_request EntityLockRequests;
  v_members bigint[];
  v_others bigint[];
  v_event bytea;
begin
  update EntityLockRequests q set arrived = true
    where q.instance_key = p_key and q.seq = p_seq returning * into v_request;
  if not found then
    outcome := 2;
    return;
  end if;
  select array_agg(q.instance_key), array_agg(q.instance_key) filter (where q.instance_key <> p_key)
    into v_members, v_others
  from EntityLockRequests q
  where q.owner_key = v_request.owner_key and q.critical_section = v_request.critical_section
    and q.arrived;
  if cardinality(v_members) < v_request.members then
    outcome := 1;
    return;
  end if;
  select e.event into v_event from NewEvents e where e.instance_key = p_key and e.seq = p_seq;
  with granted as (
    delete from EntityLockRequests q
    where q.owner_key = v_request.owner_key and q.critical_section = v_request.critical_section
    returning q.instance_key, q.seq)
  delete from NewEvents e using granted g
    where e.instance_key = any (array[g.instance_key]) and e.seq = g.seq;
  update Entities e
    set locked_by_key = v_request.owner_key, locked_by_generation = v_request.owner_generation,
        critical_section = v_request.critical_section
    where e.instance_key = any (v_members);
  if v_others is not null then
    insert into NewEvents (instance_key, visible_at, event_type, event)
      select o.key, '-infinity', 28, v_event from unnest(v_others) o(key) order by o.key;
    perform __WakeInstances(
      v_others, array_fill('-infinity'::timestamptz, array[cardinality(v_others)]), null);
  end if;
  select d.outcome, d.key, d.token, d.seq, d.at into outcome, key, token, seq, at
  from __Deliver(p_hub, jsonb_build_array(p_grant || jsonb_build_object(
                   'key', v_request.owner_key, 'generation', v_request.owner_generation,
                   'parent_generation', v_request.owner_generation)),
                 p_bytes, p_now, p_worker, p_locked) d;
  -- An owner that has ended has taken its requests with it.
  if outcome in (1, 2) then
    raise exception 'a lock was granted to instance %, which has ended', v_request.owner_key
      using errcode = 'data_corrupted';
  end if;
  outcome := case when outcome = 6 then 6 else 0 end;
end $$;

-- __WithdrawLocks: lock requests that are taken back before they were granted go from all entities
-- of their sets, and the others learn of it by an unlock. Where one was granted after the turn of
-- the entity began, the lock goes. p_own: the entities, by item. Caller holds the hot rows.
--   p_withdrawals [{item, owner, section}]
create or replace function __WithdrawLocks(p_own bigint[], p_withdrawals jsonb, p_now timestamptz)
returns void language plpgsql set search_path from current set enable_seqscan = off as $$
declare
  v_keys bigint[];
  v_sections text[];
  v_owners text[];
begin
  update Entities e
    set locked_by_key = null, locked_by_generation = null, critical_section = null
    from jsonb_to_recordset(p_withdrawals) w(item int, owner text, section text)
    where e.instance_key = any (array[p_own[w.item]]) and e.critical_section = w.section
      and w.owner = (select i.instance_id from Instances i where i.instance_key = e.locked_by_key);
  with withdrawn as (
    delete from EntityLockRequests m
    using jsonb_to_recordset(p_withdrawals) w(item int, owner text, section text)
    join EntityLockRequests q on q.instance_key = any (array[p_own[w.item]])
      and q.critical_section = w.section
    join Instances i on i.instance_key = any (array[q.owner_key]) and i.instance_id = w.owner
    where m.owner_key = any (array[q.owner_key]) and m.critical_section = q.critical_section
    returning m.instance_key, m.seq, m.instance_key <> p_own[w.item] as other, w.section, w.owner),
  dropped as (
    delete from NewEvents e using withdrawn w
    where e.instance_key = any (array[w.instance_key]) and e.seq = w.seq)
  select array_agg(w.instance_key), array_agg(w.section), array_agg(w.owner)
    into v_keys, v_sections, v_owners
  from withdrawn w where w.other;
  if v_keys is not null then
    perform __SendUnlocks(v_keys, v_sections, v_owners, p_now);
  end if;
end $$;

-- __CheckpointEntities: what committed turns of entities change: their states and locks. Rows as
-- _CheckpointOrchestration: part 10 for each arrival (outcome: __ArriveAtLock), part 11 for each
-- entity: outcome 1 = nothing was left of it, and it is removed. Caller holds all hot rows,
-- p_locked; the messages of the turns are consumed and sent.
create or replace function __CheckpointEntities(p_hub int, p_batch jsonb, p_bytes bytea[],
                                                p_keys bigint[], p_now timestamptz,
                                                p_worker bigint, p_locked bigint[])
returns table (part smallint, item int, number int, outcome smallint, key bigint, token bigint,
               seq bigint, at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_bytes bytea[] := p_bytes;
  v_keys bigint[];
  v_removed bigint[];
begin
  select array_agg(p_keys[u.item] order by u.ord) into v_keys
  from rows from (jsonb_to_recordset(p_batch -> 'entities') as (item int))
    with ordinality u(item, ord);
  update Entities e
  set state = case u.state_kind when 0 then e.state else v_bytes[u.state] end,
      state_payload = case u.state_kind when 0 then e.state_payload else u.state_payload end,
      last_modified_time = case when u.worked then p_now else e.last_modified_time end,
      locked_by_key = case when u.unlock then null else e.locked_by_key end,
      locked_by_generation = case when u.unlock then null else e.locked_by_generation end,
      critical_section = case when u.unlock then null else e.critical_section end
  from jsonb_to_recordset(p_batch -> 'entities')
    u(item int, state_kind int, state int, state_payload uuid, worked boolean, unlock boolean)
  where e.instance_key = any (array[p_keys[u.item]])
    and (u.state_kind <> 0 or u.worked or u.unlock);
  if p_batch ? 'withdrawals' then
    perform __WithdrawLocks(p_keys, p_batch -> 'withdrawals', p_now);
  end if;
  if p_batch ? 'withdrawals' or jsonb_path_exists(p_batch, '$.entities[*].unlock') then
    -- News of a grant that came after the turn began, of a lock that is released by it.
    delete from NewEvents n using Entities e
      where n.instance_key = any (v_keys) and n.event_type = 28
        and e.instance_key = n.instance_key and e.locked_by_key is null;
  end if;
  if p_batch ? 'arrivals' then
    return query
      select 10::smallint, null::int, a.ord::int, r.outcome, r.key, r.token, r.seq, r.at
      from jsonb_array_elements(p_batch -> 'arrivals') with ordinality a(arrival, ord)
      cross join lateral __ArriveAtLock(
        p_hub, p_keys[(a.arrival ->> 'item')::int], (a.arrival ->> 'seq')::bigint,
        a.arrival -> 'grant', p_bytes, p_now, p_worker, p_locked) r
      order by a.ord;
  end if;
  perform __DropPayloads(v_keys);
  select array_agg(e.instance_key) into v_removed
  from Entities e
  where e.instance_key = any (v_keys) and e.state is null and e.state_payload is null
    and e.locked_by_key is null
    and not exists (select from NewEvents n where n.instance_key = e.instance_key)
    and not exists (select from EntityLockRequests q where q.instance_key = e.instance_key);
  if v_removed is not null then
    perform __DeleteInstances(v_removed);
  end if;
  return query
    select 11::smallint, null::int, k.ord::int,
           (case when k.key = any (v_removed) then 1 else 0 end)::smallint, k.key, null::bigint,
           null::bigint, null::timestamptz
    from unnest(v_keys) with ordinality k(key, ord);
end $$;

-- __ReadEntities: the states of entities and who holds them locked. Stable, so that a state and its
-- payload are of one moment.
create or replace function __ReadEntities(p_keys bigint[])
returns table (key bigint, state bytea, owner_key bigint, owner_id text, owner_execution_id text,
               critical_section text)
language plpgsql stable set search_path from current set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
    select e.instance_key,
           coalesce(e.state, (select p.data from Payloads p
                              where p.instance_key = e.instance_key
                                and p.payload_id = e.state_payload)),
           e.locked_by_key, i.instance_id,
           case when r.generation = e.locked_by_generation then i.execution_id end,
           e.critical_section
    from Entities e
    left join Instances i on i.instance_key = any (array[e.locked_by_key])
    left join ReadyInstances r on r.instance_key = any (array[e.locked_by_key])
    where e.instance_key = any (p_keys);
end $$;
