-- What specs have, do and see of entities, on top of fixture.sql. The message of a lock request is
-- 'lock SECTION', that of a grant 'granted'.
set search_path = t;

-- entities: entities with a state and an empty inbox, leased by a worker or free.
create procedure t.entities(p_ids text, p_worker bigint default null) language plpgsql as $$
begin
  insert into dt.Instances (hub_id, kind, instance_id, name, created_time, last_updated_time,
                            stored_status)
    select 1, 1, i.id, split_part(i.id, '@', 2), now(), now(), 0 from unnest(t.list(p_ids)) i(id);
  insert into dt.ReadyInstances (instance_key, hub_id, kind, lower_name, turn, lease_token)
    select t.key_of(i.id), 1, 1, split_part(i.id, '@', 2), 1, t.token(p_worker)
    from unnest(t.list(p_ids)) i(id);
  insert into dt.Entities (instance_key, state, last_modified_time)
    select t.key_of(i.id), 'state', now() from unnest(t.list(p_ids)) i(id);
end $$;

-- lock_request: an orchestration asks for the lock of entities, of which some have arrived.
create procedure t.lock_request(p_owner text, p_section text, p_ids text, p_arrived text default '')
language plpgsql as $$
declare
  v_at timestamptz := clock_timestamp();
begin
  with asked as (
    insert into dt.NewEvents (instance_key, visible_at, event_type, event)
      select t.key_of(i.id), v_at, 27, ('lock ' || p_section)::bytea
      from unnest(t.list(p_ids)) i(id) returning instance_key, seq)
  insert into dt.EntityLockRequests (instance_key, seq, visible_at, owner_key, owner_generation,
                                     members, critical_section, arrived)
    select a.instance_key, a.seq, v_at, t.key_of(p_owner), 0, cardinality(t.list(p_ids)), p_section,
           coalesce(i.instance_id = any (t.list(p_arrived)), false)
    from asked a join dt.Instances i using (instance_key);
end $$;

-- holds: an orchestration holds the lock of entities.
create procedure t.holds(p_owner text, p_section text, p_ids text) language sql as $$
  update dt.Entities e
  set locked_by_key = t.key_of(p_owner), locked_by_generation = 0, critical_section = p_section
  from unnest(t.list(p_ids)) i(id) where e.instance_key = t.key_of(i.id)
$$;

create function t.signal(p_ids text, p_event text default 'signal', p_worker bigint default 9)
returns text language plpgsql as $$
declare
  v_ids text[] := t.list(p_ids);
begin
  return (
    select string_agg(v_ids[d.item] || ': ' || t.delivery(d.outcome), ', ' order by d.item)
    from dt._AddOrchestrationEvents(1, jsonb_build_object(
      'worker', p_worker, 'entity_ids', to_jsonb(v_ids), 'items', (
        select jsonb_agg(jsonb_build_object('id', i.id, 'type', 23, 'event', 1) order by i.ord)
        from unnest(v_ids) with ordinality i(id, ord))), array[p_event::bytea]) d);
end $$;

-- lock: a turn of an orchestration that asks for the lock of these entities.
create function t.lock(p_key bigint, p_worker bigint, p_turn bigint, p_section text, p_ids text)
returns text language sql as $$
  select string_agg(case c.part when 0 then (array['committed', 'already', 'lease lost',
                                                   'gone'])[c.outcome + 1]
                                when 9 then 'asked ' || coalesce(i.instance_id, 'a new one')
                           end, ', '
                    order by c.part, c.number)
  from dt._CheckpointOrchestration(1, jsonb_build_object(
    'key', array[p_key]::text, 'token', array[t.token(p_worker)]::text, 'turn', array[p_turn]::text,
    'generation', '{0}', 'history', '{1}', 'first_event', '{0}', 'event_count', '{1}',
    'flags', '{0}', 'consumed_item', '{}', 'consumed_seq', '{}',
    'entity_ids', to_jsonb(t.list(p_ids)), 'locks', jsonb_build_array(jsonb_build_object(
      'item', 1, 'section', p_section, 'ids', to_jsonb(t.list(p_ids)), 'event', 2))),
    array['turn', 'lock ' || p_section]::bytea[]) c
  left join dt.Instances i on i.instance_key = c.key
$$;

-- end_owner: the last turn of an orchestration that may hold entities locked or wait for them.
create function t.end_owner(p_key bigint, p_worker bigint, p_turn bigint) returns text
language sql as $$
  select string_agg((array['committed', 'already', 'lease lost', 'gone'])[c.outcome + 1], ', ')
  from dt._CheckpointOrchestration(1, jsonb_build_object(
    'key', array[p_key]::text, 'token', array[t.token(p_worker)]::text, 'turn', array[p_turn]::text,
    'generation', '{0}', 'history', '{1}', 'first_event', '{0}', 'event_count', '{1}',
    'flags', '{1}', 'consumed_item', '{}', 'consumed_seq', '{}', 'releases', '[{"item": 1}]'::jsonb,
    'updates', '[{"item": 1, "status": 1, "custom_status_kind": 0, "trace_kind": 0}]'::jsonb),
    array['turn'::bytea]) c where c.part = 0
$$;

-- entity_turn: one turn of an entity. p_clear: its state goes; p_arrives: the number of the lock
-- request before which it has run everything; p_withdraws: the owner and section of one that is
-- taken back.
create function t.entity_turn(p_key bigint, p_worker bigint, p_turn bigint,
                              p_consumed text default '', p_clear boolean default false,
                              p_unlock boolean default false, p_arrives bigint default null,
                              p_withdraws text default '', p_messages text default '')
returns text language plpgsql as $$
declare
  v_batch jsonb := jsonb_build_object(
    'key', array[p_key]::text, 'token', array[t.token(p_worker)]::text, 'turn', array[p_turn]::text,
    'generation', '{0}', 'history', '{NULL}', 'first_event', '{0}', 'event_count', '{0}',
    'flags', '{0}',
    'consumed_item', array_fill(1, array[coalesce(cardinality(t.list(p_consumed)), 0)])::text,
    'consumed_seq', coalesce(t.list(p_consumed), '{}')::text,
    'entities', jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
      'item', 1, 'state_kind', case when p_clear then 2 else 0 end, 'worked', p_clear,
      'unlock', case when p_unlock then true end))));
begin
  if p_messages <> '' then
    v_batch := v_batch || jsonb_build_object(
      'entity_ids', to_jsonb(t.list(p_messages)), 'messages', (
        select jsonb_agg(jsonb_build_object('item', 1, 'type', 23, 'event', 1, 'id', i.id))
        from unnest(t.list(p_messages)) i(id)));
  end if;
  if p_arrives is not null then
    v_batch := v_batch || jsonb_build_object('arrivals', jsonb_build_array(jsonb_build_object(
      'item', 1, 'seq', p_arrives, 'grant', '{"type": 28, "event": 2}'::jsonb)));
  end if;
  if p_withdraws <> '' then
    v_batch := v_batch || jsonb_build_object('withdrawals', jsonb_build_array(jsonb_build_object(
      'item', 1, 'owner', split_part(p_withdraws, ' ', 1),
      'section', split_part(p_withdraws, ' ', 2))));
  end if;
  return (
    select string_agg(case c.part
        when 0 then (array['committed', 'already', 'lease lost', 'gone'])[c.outcome + 1]
        when 2 then 'message ' || t.delivery(c.outcome)
        when 10 then (array['granted', 'waits', 'no such request'])[c.outcome + 1]
        when 11 then case c.outcome when 1 then 'removed' end
      end, ', ' order by c.part, c.number)
    from dt._CheckpointOrchestration(1, v_batch, array['sent', 'granted']::bytea[]) c);
end $$;

create function t.clean_entities() returns text language sql as $$
  select c.removed || ' removed, ' || c.released || ' released'
  from dt._CleanEntityStorage(1, '{"after": "", "remove_empty": true, "release_orphaned": true,
                                   "rows": 100}', null) c
$$;

-- entity_outcome: the same of entities and of those who lock them. requests: of locks, in order.
create function t.entity_outcome()
returns table (instance text, lease text, due text, inbox text, state text, locked_by text,
               requests text)
language plpgsql as $$
begin
  return query
    select o.instance, o.lease, o.due,
           coalesce((select string_agg(case n.visible_at when '-infinity' then 'front ' else '' end
                                       || case n.event_type when 29 then 'unlock'
                                               when 28 then 'granted' when 23 then 'signal'
                                               else convert_from(n.event, 'UTF8') end, ', '
                                       order by n.visible_at, n.seq)
                     from dt.NewEvents n where n.instance_key = i.instance_key), '-'),
           coalesce(convert_from(e.state, 'UTF8'), '-'),
           coalesce((select w.instance_id from dt.Instances w
                     where w.instance_key = e.locked_by_key) || ' ' || e.critical_section, '-'),
           coalesce((select string_agg(w.instance_id || ' ' || q.critical_section
                                       || case when q.arrived then ' arrived' else '' end, ', '
                                       order by q.visible_at, q.seq)
                     from dt.EntityLockRequests q
                     join dt.Instances w on w.instance_key = q.owner_key
                     where q.instance_key = i.instance_key), '-')
    from t.outcome() o
    join dt.Instances i on i.instance_id = o.instance
    left join dt.Entities e using (instance_key)
    order by i.instance_id;
  return query
    select 'FAULT'::text, f.what, f.fault, null, null, null, null from t.faults f
    order by f.fault, f.what;
end $$;
