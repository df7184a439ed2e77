-- Schema 1.0.0: tables and indexes. No schema name is written here: whoever runs this file has made
-- the target schema the first of search_path (README.md, "The schema name").
--
-- Rules of the model
--   * A row of ReadyInstances (the "hot row") exists exactly while its instance is not terminal.
--     All lease and readiness churn happens there; the wide row of Instances is written only when
--     something visible changes.
--   * Everything of an instance hangs on instance_key, which is new when an instance id is used
--     again.
--   * No foreign keys: they would add locks and index probes to every message.
--   * An index exists only for the query in the comment above it.
--   * Queue tables are vacuumed after a fixed number of dead rows, without cost delay, and are
--     never truncated by vacuum (its exclusive lock stalls the queue). Lower fill factors leave
--     room for heap-only updates.
--
-- Large values are stored in Payloads, once per instance. Messages, requests and history then hold
-- their cut form (logic/payloads.sql), inputs and outputs a payload_id in the column with the
-- suffix _payload; at most one of the two columns is not null.

-- The installed versions; the comment on the table tells whose functions they are.
create table Versions (
  semantic_version text collate "C" primary key,
  -- Daemons older than this refuse to run on the schema.
  min_daemon_version text collate "C" not null,
  upgrade_time timestamptz not null default clock_timestamp()
);

-- Settings of the SQL API, see SetGlobalSetting.
create table GlobalSettings (
  name text collate "C" primary key,
  value text,
  timestamp timestamptz not null default clock_timestamp(),
  last_modified_by text not null default session_user
);
insert into GlobalSettings (name, value) values ('TaskHubMode', '1'), ('NotifyOnCommit', '0');

-- The hub of an SQL user, by the name of the login; wins over TaskHubMode.
create table TaskHubBindings (
  role_name text collate "C" primary key,
  task_hub text collate "C" not null,
  timestamp timestamptz not null default clock_timestamp(),
  last_modified_by text not null default session_user
);

-- The task hubs. A deleted one has no row; a new one of its name has another id.
create table TaskHubs (
  hub_id int generated always as identity primary key,
  name text collate "C" not null,
  created_time timestamptz not null default clock_timestamp(),
  constraint taskhubs_name_length check (length(name) between 1 and 200)
);
-- ResolveHub, CurrentTaskHub: by name.
create unique index taskhubs_name on TaskHubs (name);

-- Hubs that are deleted, until what they held is removed. Small: nearly always empty.
create table HubDeletions (
  hub_id int primary key,
  name text collate "C" not null,        -- that it had; a new hub may have it by now
  deleted_time timestamptz not null,
  worker_id bigint not null default 0,   -- who removes it, as long as it lives; 0 = nobody yet
  removed bigint not null default 0,     -- instances
  next_run timestamptz not null default '-infinity',
  -- How far it has come with the hub's orchestrations, in the order (created_time, instance_key),
  position_time timestamptz not null default '-infinity',
  position_key bigint not null default 0,
  position_id text collate "C" not null default ''  -- and with its entities, in that of their ids
) with (fillfactor = 50);

-- One row per daemon process. lease_until is the heartbeat that all leases of the process share:
-- the upper bits of a lease token are the worker_id, so no lease has an expiry of its own.
create table Workers (
  worker_id bigint generated always as identity primary key,
  host text not null,
  -- Boot id, pid namespace, pid and start time: lets a daemon on the same host see that it is gone.
  process text not null,
  version text not null,
  started timestamptz not null,
  lease_until timestamptz not null,
  -- The session that the process keeps open, which tells at once that the process is gone; null
  -- where that is not its own, behind a pooler.
  session_pid int,
  session_start timestamptz,
  silent_since timestamptz,  -- when a look first found the session gone; null = it was there
  -- Of a dead process, whose lease_until is -infinity and whose "started" is the first sweep: the
  -- last one.
  swept_at timestamptz,
  renewed_at timestamptz not null default '-infinity',
  -- What its workers take, as the process says: [{hub, kind: 0 turns, 1 activities, 2 entities,
  -- streams, credits, names: absent = all, versions: of the names that are not taken in any
  -- version}], and when it said so last. Others read what is new.
  served jsonb,
  served_at timestamptz not null default '-infinity',
  load jsonb  -- how it is doing: {residents, in_flight, per_second}
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Who does what only one daemon at a time may do. A role has no expiry of its own: it is free when
-- its worker is gone or Workers.lease_until is over.
create table Leaders (
  role text collate "C" primary key,  -- 'retention'; 'metrics', see _SampleWork
  worker_id bigint not null,
  since timestamptz not null,
  settings jsonb not null             -- what the leader was told, see its verb
) with (fillfactor = 50);
insert into Leaders (role, worker_id, since, settings)
  values ('retention', 0, clock_timestamp(), '{}');  -- 0 = nobody yet

-- How long ended instances of a hub are kept, counted from their end, where SQL users said so; what
-- they did not say comes from the settings of the leading daemon.
create table RetentionPolicies (
  hub_id int not null,
  status smallint not null,     -- a RuntimeStatus; -1 = every one without a row of its own
  keep interval,                -- null = for ever
  set_time timestamptz not null default clock_timestamp(),
  set_by text not null default session_user,
  primary key (hub_id, status),
  constraint retentionpolicies_status check (status in (-1, 1, 3, 4, 5)),
  constraint retentionpolicies_keep check (keep >= interval '0')
);

-- How far retention has come with the ended instances of a hub and status. A walk over them goes
-- from the oldest to the youngest that is due, over several calls; position is where it stands.
create table RetentionWalks (
  hub_id int not null,
  status smallint not null,
  purged_total bigint not null default 0,
  last_run timestamptz not null,
  next_run timestamptz not null,
  position_time timestamptz not null default '-infinity',
  position_key bigint not null default 0,
  passed_over bigint not null default 0,            -- due instances that were left on this walk
  restart_at timestamptz not null default '-infinity', -- not before this a walk begins anew
  primary key (hub_id, status)
) with (fillfactor = 50);

-- An orchestration or entity as the views show it, live or ended: written only when something
-- visible changes.
create table Instances (
  instance_key bigint generated always as identity primary key,
  created_time timestamptz not null,
  hub_id int not null,
  generation int not null default 0,
  kind smallint not null default 0,  -- 0 orchestration, 1 entity
  parent_task_id int,  -- null with a parent: fire and forget, the parent is never told
  parent_key bigint,
  parent_generation int,
  instance_id text collate "C" not null,
  execution_id text collate "C",  -- of an entity null: see __EntityExecutionId
  name text collate "C" not null,
  version bytea,
  parent_instance_id text collate "C",
  scheduled_start timestamptz,
  trace_context bytea,
  tags jsonb,
  -- The columns that turns change lie together, so that WAL holds only this middle part of the row.
  -- Not yet the status that everybody sees: see __StatusNow.
  stored_status smallint not null,  -- a RuntimeStatus; Pending (6) also stands for Running
  last_updated_time timestamptz not null,  -- of this row; a live instance's turns may be newer
  completed_time timestamptz,
  last_token bigint,
  last_turn bigint,
  custom_status bytea,
  saved_custom_status bytea,
  orchestration_trace_context bytea,
  output bytea,
  failure bytea,
  output_payload uuid,
  input bytea,
  input_payload uuid,
  constraint instances_id_length check (octet_length(instance_id) <= 2048)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_analyze_scale_factor = 0.05,
        toast.autovacuum_vacuum_scale_factor = 0.05);
-- Every verb that names an instance by id; reuse of an id is decided here.
create unique index instances_id on Instances (hub_id, instance_id);
-- QueryInstances: pages by created time, of all and of two kinds that may be rare among the others:
-- those that are not finished, and those that did not end well (failed, canceled, terminated).
-- Entities are in none of these: a million idle ones must cost a list of orchestrations nothing.
-- What looks for orchestrations by key says `kind <> 1`: with `kind = 0` a plan that was made for
-- an empty table may read one of these indexes as a whole.
create index instances_created on Instances (hub_id, created_time) where kind = 0;
create index instances_live on Instances (hub_id, created_time)
  where kind = 0 and completed_time is null;
create index instances_unsuccessful on Instances (hub_id, created_time)
  where kind = 0 and stored_status in (3, 4, 5);
-- Purge, rewind and termination of descendants: the children of an instance.
create index instances_parent on Instances (parent_key) where parent_key is not null;
-- Retention: the ended instances of one status, oldest first, so that those of another status,
-- which may be kept for longer, never lie in the way. ListInstanceIds, purge by completed time:
-- those of several statuses, merged.
create index instances_ended on Instances (hub_id, stored_status, completed_time, instance_key)
  where kind = 0 and completed_time is not null;

-- The hot rows. While leased, next_due is not maintained: whoever frees the lease recomputes it.
create table ReadyInstances (
  instance_key bigint primary key,
  lease_token bigint,           -- null = free
  next_due timestamptz,         -- of a free row: the later of the earliest message and not_before
  not_before timestamptz,       -- back-off or scheduled start; infinity: see __EndsHold
  owner_wake timestamptz,       -- of a leased row: earliest message that its holder was not given
  turn bigint not null default 0,     -- last committed turn over all generations: the fence
  inline_tasks int4multirange,  -- of a leased row: ids of activity tasks without a row in NewTasks
  released_token bigint,        -- token of the checkpoint that released last, for its repeat
  hub_id int not null,
  generation int not null default 0,
  kind smallint not null default 0,
  lost_leases smallint not null default 0,  -- since the last commit
  -- What filters of workers look at: the name in (ASCII) lower case; a version that is absent is
  -- ''.
  lower_name text collate "C" not null,
  version bytea not null default ''
) with (fillfactor = 35, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.5,
        autovacuum_analyze_threshold = 5000, vacuum_truncate = off);
-- _LockNextOrchestration: the earliest free rows of a hub and kind.
create index readyinstances_free on ReadyInstances (hub_id, kind, next_due)
  where lease_token is null and next_due is not null;
-- _LockNextOrchestration with filters: the same of one name and version, so that work which no
-- connected worker accepts costs a poll nothing.
create index readyinstances_named on ReadyInstances (hub_id, kind, lower_name, version, next_due)
  where lease_token is null and next_due is not null;
-- _ReadNewMessages: rows leased by one worker (a range of tokens) that others wrote to.
create index readyinstances_wake on ReadyInstances (lease_token) where owner_wake is not null;

-- The inboxes. Delivered in the order (visible_at, seq).
create table NewEvents (
  instance_key bigint not null,
  seq bigint generated always as identity,
  visible_at timestamptz not null,
  generation int,               -- null = for any generation
  event_type smallint not null, -- field number of the event in HistoryEvent
  event bytea,                  -- a serialized HistoryEvent, perhaps cut
  request_id uuid,              -- of a client's signal to an entity
  primary key (instance_key, seq)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_scale_factor = 0.2,
        autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 5000,
        vacuum_truncate = off,
        toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000,
        toast.autovacuum_vacuum_cost_delay = 0, toast.vacuum_truncate = off);
-- __RepeatedRequests: whether a signal that is sent again still waits.
create index newevents_request on NewEvents (instance_key, request_id)
  where request_id is not null;

-- Activity tasks. The key leads with the instance, so that one index finds a task and all tasks of
-- an instance. There is no index of leased tasks: only the sweep of a dead daemon looks for them.
create table NewTasks (
  instance_key bigint not null,
  task_key bigint generated always as identity,
  lease_token bigint,           -- null = free
  ready_at timestamptz not null,  -- not free before this
  -- Its place among the free tasks; null = it waits for ready_at and has none. The place of the
  -- n-th task of one turn is a little later than that of the one before, so that a large fan-out
  -- does not stand before all that comes after it. A place in the future holds nothing up.
  place timestamptz,
  hub_id int not null,
  generation int not null,
  task_id int not null,
  lost_leases smallint not null default 0,
  name text collate "C" not null,
  version bytea,
  request bytea,                -- a serialized ActivityRequest without what is known otherwise,
                                -- perhaps cut
  execution_id text collate "C",  -- of an older generation; null = that of the instance
  primary key (instance_key, task_key)
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_scale_factor = 0.2,
        autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 5000,
        vacuum_truncate = off,
        toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000,
        toast.autovacuum_vacuum_cost_delay = 0, toast.vacuum_truncate = off);
-- _LockNextTask: the first free tasks of a hub.
create index newtasks_free on NewTasks (hub_id, place, task_key)
  where lease_token is null and place is not null;
-- _LockNextTask with filters: the same of one name, in lower case, and version.
create index newtasks_named
  on NewTasks (hub_id, lower(name), coalesce(version, ''), place, task_key)
  where lease_token is null and place is not null;
-- _LockNextTask: those that become free at a time.
create index newtasks_delayed on NewTasks (hub_id, ready_at)
  where lease_token is null and place is null;

-- One row per turn of the current generation: the events of the turn as they go on the wire, each
-- with the tag of OrchestratorRequest.pastEvents (0x1A) and its length before it; perhaps cut. The
-- history of an older generation is deleted by the checkpoint that begins the next one.
create table History (
  instance_key bigint not null,
  turn bigint not null,
  committed_time timestamptz not null,
  first_event int not null,
  event_count int not null,
  events bytea,
  primary key (instance_key, turn)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.2,
        toast.autovacuum_vacuum_scale_factor = 0.05);

-- Large values, each stored once and referred to. The id is the first half of the value's SHA-256.
create table Payloads (
  instance_key bigint not null,
  payload_id uuid not null,
  data bytea not null,
  primary key (instance_key, payload_id)
) with (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);

-- What only entities have; each is also a row of Instances and has a hot row (kind 1).
create table Entities (
  instance_key bigint primary key,
  state bytea,                       -- null with no payload either: there is none
  state_payload uuid,
  last_modified_time timestamptz not null,
  -- The orchestration (and its generation) that holds the lock, and its critical section. It is
  -- released by a message, also when that generation ends.
  locked_by_key bigint,
  locked_by_generation int,
  critical_section text collate "C"
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_vacuum_cost_delay = 0, toast.autovacuum_vacuum_scale_factor = 0.05);
-- __ReleaseEntities: the entities that an orchestration which ends holds locked.
create index entities_locked_by on Entities (locked_by_key) where locked_by_key is not null;

-- Lock requests that wait: a row for each entity of the set, beside the message in its inbox.
create table EntityLockRequests (
  instance_key bigint not null,      -- the entity
  seq bigint not null,               -- of the message
  -- Of the message, the same for the whole set, and later than that of every other request that
  -- waits at one of its entities: so those that overlap stand in one order everywhere.
  visible_at timestamptz not null,
  owner_key bigint not null,         -- the orchestration that asks
  owner_generation int not null,
  members int not null,              -- entities of the set
  arrived boolean not null default false,  -- the entity has run all that came before
  critical_section text collate "C" not null,
  primary key (instance_key, seq)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
-- The whole set of a request, and all requests of an orchestration that ends.
create index entitylockrequests_owner on EntityLockRequests (owner_key, critical_section);

-- Long values: lz4 costs a fraction of the default's time. A server may be built without it.
do $$
begin
  alter table Payloads alter column data set compression lz4;
  alter table History alter column events set compression lz4;
  alter table NewEvents alter column event set compression lz4;
  alter table NewTasks alter column request set compression lz4;
  alter table Entities alter column state set compression lz4;
  alter table Instances
    alter column input set compression lz4, alter column output set compression lz4,
    alter column custom_status set compression lz4, alter column failure set compression lz4;
exception when feature_not_supported then null;
end $$;
