-- Descriptions of tables, columns, views and functions, as psql shows them: made from the heads of
-- the other files by sql/describe, and after them in the order of names. Do not edit.

comment on table GlobalSettings is
  'Settings of the SQL API, see SetGlobalSetting.';
comment on table TaskHubBindings is
  'The hub of an SQL user, by the name of the login; wins over TaskHubMode.';
comment on table TaskHubs is
  'The task hubs. A deleted one has no row; a new one of its name has another id.';
comment on table HubDeletions is
  'Hubs that are deleted, until what they held is removed. Small: nearly always empty.';
comment on column HubDeletions.name is
  'that it had; a new hub may have it by now';
comment on column HubDeletions.worker_id is
  'who removes it, as long as it lives; 0 = nobody yet';
comment on column HubDeletions.removed is
  'instances';
comment on column HubDeletions.position_id is
  'and with its entities, in that of their ids';
comment on table Workers is
  'One row per daemon process. lease_until is the heartbeat that all leases of the process share: '
  'the upper bits of a lease token are the worker_id, so no lease has an expiry of its own.';
comment on column Workers.silent_since is
  'when a look first found the session gone; null = it was there';
comment on column Workers.load is
  'how it is doing: {residents, in_flight, per_second}';
comment on table Leaders is
  'Who does what only one daemon at a time may do. A role has no expiry of its own: it is free '
  'when its worker is gone or Workers.lease_until is over.';
comment on column Leaders.role is
  '''retention''; ''metrics'', see _SampleWork';
comment on column Leaders.settings is
  'what the leader was told, see its verb';
comment on table RetentionPolicies is
  'How long ended instances of a hub are kept, counted from their end, where SQL users said so; '
  'what they did not say comes from the settings of the leading daemon.';
comment on column RetentionPolicies.status is
  'a RuntimeStatus; -1 = every one without a row of its own';
comment on column RetentionPolicies.keep is
  'null = for ever';
comment on table RetentionWalks is
  'How far retention has come with the ended instances of a hub and status. A walk over them goes '
  'from the oldest to the youngest that is due, over several calls; position is where it stands.';
comment on column RetentionWalks.passed_over is
  'due instances that were left on this walk';
comment on column RetentionWalks.restart_at is
  'not before this a walk begins anew';
comment on table Instances is
  'An orchestration or entity as the views show it, live or ended: written only when something '
  'visible changes.';
comment on column Instances.kind is
  '0 orchestration, 1 entity';
comment on column Instances.parent_task_id is
  'null with a parent: fire and forget, the parent is never told';
comment on column Instances.execution_id is
  'of an entity null: see __EntityExecutionId';
comment on column Instances.stored_status is
  'a RuntimeStatus; Pending (6) also stands for Running';
comment on column Instances.last_updated_time is
  'of this row; a live instance''s turns may be newer';
comment on table ReadyInstances is
  'The hot rows. While leased, next_due is not maintained: whoever frees the lease recomputes it.';
comment on column ReadyInstances.lease_token is
  'null = free';
comment on column ReadyInstances.next_due is
  'of a free row: the later of the earliest message and not_before';
comment on column ReadyInstances.not_before is
  'back-off or scheduled start; infinity: see __EndsHold';
comment on column ReadyInstances.owner_wake is
  'of a leased row: earliest message that its holder was not given';
comment on column ReadyInstances.turn is
  'last committed turn over all generations: the fence';
comment on column ReadyInstances.inline_tasks is
  'of a leased row: ids of activity tasks without a row in NewTasks';
comment on column ReadyInstances.released_token is
  'token of the checkpoint that released last, for its repeat';
comment on column ReadyInstances.lost_leases is
  'since the last commit';
comment on table NewEvents is
  'The inboxes. Delivered in the order (visible_at, seq).';
comment on column NewEvents.generation is
  'null = for any generation';
comment on column NewEvents.event_type is
  'field number of the event in HistoryEvent';
comment on column NewEvents.event is
  'a serialized HistoryEvent, perhaps cut';
comment on column NewEvents.request_id is
  'of a client''s signal to an entity';
comment on table NewTasks is
  'Activity tasks. The key leads with the instance, so that one index finds a task and all tasks '
  'of an instance. There is no index of leased tasks: only the sweep of a dead daemon looks for '
  'them.';
comment on column NewTasks.lease_token is
  'null = free';
comment on column NewTasks.ready_at is
  'not free before this';
comment on column NewTasks.request is
  'a serialized ActivityRequest without what is known otherwise,';
comment on column NewTasks.execution_id is
  'of an older generation; null = that of the instance';
comment on table History is
  'One row per turn of the current generation: the events of the turn as they go on the wire, each'
  ' with the tag of OrchestratorRequest.pastEvents (0x1A) and its length before it; perhaps cut. '
  'The history of an older generation is deleted by the checkpoint that begins the next one.';
comment on table Payloads is
  'Large values, each stored once and referred to. The id is the first half of the value''s '
  'SHA-256.';
comment on table Entities is
  'What only entities have; each is also a row of Instances and has a hot row (kind 1).';
comment on column Entities.state is
  'null with no payload either: there is none';
comment on table EntityLockRequests is
  'Lock requests that wait: a row for each entity of the set, beside the message in its inbox.';
comment on column EntityLockRequests.instance_key is
  'the entity';
comment on column EntityLockRequests.seq is
  'of the message';
comment on column EntityLockRequests.owner_key is
  'the orchestration that asks';
comment on column EntityLockRequests.members is
  'entities of the set';
comment on column EntityLockRequests.arrived is
  'the entity has run all that came before';
comment on function __PlaceDelayedTasks is
  'Gives the tasks of the hub that waited for a time which has come their places among the free '
  'ones.';
comment on function __LockFreeTasks is
  'Locks up to p_max free tasks of the hub, by their places, whatever their names, and returns '
  'their two keys, none = null.';
comment on function __LockNamedTasks is
  'As __LockFreeTasks, for the names and versions that filters accept: one probe of the index for '
  'each, and for a name of any version one for each version that has free tasks (see '
  '__LockNamedInstances).';
comment on function __TasksWithin is
  'As __TurnsWithin, for tasks by their two keys and the bytes of their requests.';
comment on function _LockNextTask is
  'Leases free tasks of the hub, by their places.';
comment on function _CompleteTasks is
  'Tasks out, their results into the inboxes of their parents.';
comment on function __EndStoredTasks is
  'The part of _CompleteTasks for those that have a row: takes them out. deleted: their positions;'
  ' live: those whose parents live in the generation of the task, and live_tokens the leases of '
  'these, alike; is_foreign: whether a parent is not leased by p_worker.';
comment on function _AbandonTasks is
  'Gives leased tasks back, free after "delay" microseconds; without a delay they have their old '
  'places again.';
comment on function __AbandonInlineTasks is
  'The part of _AbandonTasks for those that have no row: they get free ones.';
comment on function __InputIsGone is
  'Fails with P0D01: something that a turn has used up is not there any more.';
comment on function __EndOrchestration is
  '__EndOrchestrations for one instance.';
comment on function __HoldHub is
  'Holds the hubs as __LockHubs does, for a creation.';
comment on function _CheckpointOrchestration is
  'Commits turns.';
comment on function __FenceTurns is
  'The lock, the fence and the turn in one heap-only update of each hot row, by one probe of the '
  'primary key.';
comment on function __ConsumeInputs is
  'Takes out what committed turns have used up: messages, and tasks whose results they bring '
  'along.';
comment on function __EndTasks is
  'The part of __ConsumeInputs for tasks that have a row.';
comment on function __CheckpointOwn is
  'What committed turns put into their own inboxes.';
comment on function __CheckpointTasks is
  'The new tasks of committed turns.';
comment on function __FreeReleased is
  'Gives up the leases of committed items that release and did not end.';
comment on function __LockTargets is
  'Locks, in one sorted statement, the hot rows of the checkpointed instances and of all whom they'
  ' write to: addressed instances, parents, terminated instances and existing instances with the '
  'id of a child, each of the latter two with its parent, what is live below those that end all of'
  ' it, and whom the locks of entities are about that are asked for, granted, taken back or '
  'released.';
comment on function __FenceOutcomes is
  'The outcomes of items of which only those in p_fenced passed the fence.';
comment on function __OnlyItems is
  'The lists of a batch without what belongs to items that are not committed.';
comment on function __CheckpointMessages is
  'What committed turns write to other instances: messages, results for parents, terminations, '
  'children, and what children get at once.';
comment on function __CheckpointChildren is
  'Creates the children of committed turns.';
comment on function __CheckpointEnds is
  'For committed items that end or begin the next generation (see __EndOrchestrations and '
  '__EndGenerations).';
comment on function __EndOrchestrations is
  'Takes out the hot rows, inboxes and free tasks of instances that end with a turn.';
comment on function __EndGenerations is
  'Takes out the history, messages and free tasks of the generations that end (parallel arrays).';
comment on function __CheckpointUpdates is
  'The visible changes of committed turns.';
comment on function __ClockShift is
  'How far the setting dt.clock_shift of the session moves the clock: only for who owns the '
  'schema, so that nobody else writes times that are not true.';
comment on function _Now is
  'The database''s clock, moved by the setting dt.clock_shift (an interval) of the session.';
comment on function __Time is
  'Integer microseconds since 1970, as they travel in the JSON envelope, to a time.';
comment on function __Micros is
  'The way back.';
comment on function __Earlier is
  'A time moved by an interval.';
comment on function __Later is
  'A time moved by an interval.';
comment on function __EntityExecutionId is
  'The execution id of an entity, the same as long as it exists (RULES.md 7.2).';
comment on function __CreateEntities is
  'Creates those of these entities that do not exist. p_ids  a JSON array of ids, normalized and '
  'distinct; null = none Locks: the hubs, shared, and the inserts, sorted by id: before any hot '
  'row, so that of two calls that create the same entity one waits and holds nothing that the '
  'other needs.';
comment on function __RepeatedRequests is
  'The items (positions) whose request id is that of a message that waits in the inbox, or of an '
  'earlier item for it.';
comment on function __UnlockEvent is
  'EntityUnlockSent (29), as SQL puts it into the inbox of an entity.';
comment on function __SendUnlocks is
  'An unlock in front of each of these inboxes (parallel arrays).';
comment on function __EntitiesOf is
  'The keys of the entities that these orchestrations hold locked or wait for.';
comment on function __MembersOf is
  'The keys of all whom the arrivals and withdrawals of a batch are about: the entities of the '
  'sets and the orchestrations that ask. p_own: the entities, by item. p_arrivals [{item, seq}], '
  'p_withdrawals [{item, section}]; null = none.';
comment on function __ReleaseEntities is
  'Orchestrations end, begin another generation or go: their lock requests go, and every entity '
  'that they hold or wait for gets an unlock in front of all.';
comment on function __RequestLocks is
  'Puts lock requests of committed turns into the inboxes of their entities.';
comment on function __ArriveAtLock is
  'The entity has run all that came before this request.';
comment on function __WithdrawLocks is
  'Lock requests that are taken back before they were granted go from all entities of their sets, '
  'and the others learn of it by an unlock.';
comment on function __CheckpointEntities is
  'What committed turns of entities change: their states and locks.';
comment on function __ReadEntities is
  'The states of entities and who holds them locked.';
comment on function __EntityState is
  'The state of an entity, wherever it is stored. __EntityLockedBy: the id of the orchestration '
  'that holds its lock, '''' if that is purged; null = it is free. __EntityBacklog: how many of '
  'its operations are due and have not run; counting stops at 10000 '
  '(storage/management_records.h), so that a long inbox costs a reader no more than that.';
comment on function __EntityLockedBy is
  'The id of the orchestration that holds its lock, '''' if that is purged; null = it is free. '
  '__EntityBacklog: how many of its operations are due and have not run; counting stops at 10000 '
  '(storage/management_records.h), so that a long inbox costs a reader no more than that.';
comment on function __EntityBacklog is
  'How many of its operations are due and have not run; counting stops at 10000 '
  '(storage/management_records.h), so that a long inbox costs a reader no more than that.';
comment on function _GetEntity is
  'Entities by id.';
comment on function __EntitiesEnd is
  'The first text after the ids of all entities that begin with p_prefix ("@" and more).';
comment on function _QueryEntities is
  'A page of entities in the order of their ids: at most so many rows and bytes of states, but the'
  ' first one whatever its state has.';
comment on function _CleanEntityStorage is
  'One batch of a walk over the entities of a hub, in the order of their ids: removes those of '
  'which nothing is left, and releases locks that nobody will release any more.';
comment on function __EmptyEntities is
  'Those of these entities that have no state, lock, lock request and message.';
comment on function __RemoveEmptyEntities is
  'Removes those of these entities that are empty and that nobody has leased or locked, and '
  'returns how many.';
comment on function __OrphanedLocks is
  'Those of these entities that are locked by an execution that is gone, without an unlock on its '
  'way.';
comment on function __ReleaseOrphanedLocks is
  'Puts an unlock (29) for any critical section in front of each of these entities whose lock is '
  'orphaned, and returns how many those are.';
comment on function __PbVarint is
  'A number as a base-128 varint; negative ones take ten bytes, as the format wants.';
comment on function __PbNumber is
  'A varint field. __PbBytes: a field of bytes, of a string or of a message.';
comment on function __PbBytes is
  'A field of bytes, of a string or of a message.';
comment on function __PbText is
  'A string field; as proto3 has it, an empty one (here also a null) takes no bytes. '
  '__PbStringValue: a StringValue field; null is unset, '''' is set and empty.';
comment on function __PbStringValue is
  'A StringValue field; null is unset, '''' is set and empty.';
comment on function __PbTimestamp is
  'The contents of a Timestamp message.';
comment on function __PbTraceContext is
  'The contents of a TraceContext of what SQL users write: the traceparent and, in a second line, '
  'the tracestate if there is one.';
comment on function __HistoryEvent is
  'A serialized HistoryEvent without an id of its own (-1); p_type is the number of the field that'
  ' p_body belongs into.';
comment on function __ChildFailedEvent is
  'SubOrchestrationInstanceFailed (11), as a parent gets it when SQL ends or replaces its child.';
comment on function __ExecutionStartedEvent is
  'ExecutionStarted (3) of a client, field by field as the daemon makes it '
  '(server/orchestration/requests.cc; a test compares). p_trace_context is a serialized '
  'TraceContext.';
comment on function __EntitySignaledEvent is
  'EntityOperationSignaled (23) of a client, as the daemon makes it '
  '(server/orchestration/entity_messages.cc; a test compares). p_at: the scheduled time; null is '
  'none.';
comment on function __PbFields is
  'The fields of a serialized message in order: number (varint, or the bits of a fixed one) or '
  'bytes, by wire type.';
comment on function __PbField is
  'The bytes of the last field of this number; null if there is none.';
comment on function __PbNumberField is
  'The number of a varint field; 0 if there is none, as proto3 means it.';
comment on function __PbWrapped is
  'The bytes of a StringValue field; null if it is unset, '''' if it is set and empty.';
comment on function __PbTime is
  'A Timestamp message, to the microsecond (rounded down).';
comment on function __AsText is
  'Bytes for the views: the text itself, or escaped where it holds NUL or no valid UTF-8.';
comment on function __EventTypeName is
  'The name of a field of HistoryEvent; an unknown one is its number.';
comment on function __StatusName is
  'A runtime status as text.';
comment on function __DecodeEvents is
  'The events of one chunk of history (each with the tag 0x1A and its length before it), one row '
  'each. event_index counts from 0.';
comment on function __Holds is
  'Whether the lease on a row is the one that the caller names; null = the row is free.';
comment on function __HoldsTurn is
  'The same for who commits a turn, which must be the one after the row''s last turn.';
comment on function _DeleteHub is
  'Deletes a hub; false if there is none.';
comment on function __LiveHub is
  'The id itself, or null if that hub is deleted and what it held is being removed.';
comment on function __RequireHub is
  'Fails with P0D02 unless the hub is there: for claims, by which a daemon learns that a hub whose'
  ' workers it serves was deleted.';
comment on function _CleanHubs is
  'Removes one batch of what a deleted hub held.';
comment on function __MayClean is
  'Whether a worker may clean a hub that p_holder has cleaned last: itself, or one that is dead.';
comment on function __OldestOfHub is
  'The next p_rows orchestrations of a hub after a position, in the order in which they were '
  'created, and the time of the last of them.';
comment on function __EntitiesOfHub is
  'The next p_rows entities of a hub after an id, in the order of their ids, and the last of '
  'those.';
comment on function __LockOfHub is
  'Locks those of these instances that nobody else has locked, live ones with their hot rows, and '
  'returns them.';
comment on function __ForgetHub is
  'Forgets a deleted hub if nothing is left of it, and tells whether.';
comment on function __IdRange is
  'One id as a multirange; null = none. __IdsIn: the ids in a multirange, in order.';
comment on function __InlineAfter is
  'The inline tasks after a turn that ends one of them and begins others, in text form; null = '
  'none.';
comment on function __IdsIn is
  'The ids in a multirange, in order.';
comment on function __ScheduledTasks is
  'What a chunk of history says of the activities with these ids: an event TaskScheduled (6) in '
  'HistoryEvent (1 = the id), with name (1), version (2), input (3), parentTraceContext (4), tags '
  '(5). "request" is the ActivityRequest that tasks are stored with: version (2), input (3), '
  'parentTraceContext (6), tags (7).';
comment on function __StoreInlineTasks is
  'Makes rows of inline tasks.';
comment on function __KeepInlineTasks is
  'Makes leased rows of the inline tasks that a checkpoint names (kept_*), of its committed items;'
  ' p_outcomes null: of all.';
comment on function __FreeInlineTasks is
  'Makes free rows of all inline tasks of these instances.';
comment on function __FindInlineTasks is
  'Which of these are inline tasks now, under these leases of their instances: positions in the '
  'arrays, in order; null = none.';
comment on function __EndInlineTasks is
  'The same, and they are no more.';
comment on view __Wait is
  'One thing that an instance waits for, the row type of the functions here.';
comment on function __Moment is
  'A time as the sentences have it.';
comment on function __Takes is
  'Whether workers take a name, in (ASCII) lower case, and a version ('''' = none), by what '
  'Workers.served says of them.';
comment on function __WhoTakes is
  'Which connected workers take free work of a name and version ('''' = none): state is '
  '''queued'', or ''unaccepted'' if there is none; phrase says so, after a subject. p_work  0 '
  'turns, 1 activities, 2 entities.';
comment on function __EventsOf is
  'The events of one chunk of history, whole and in order, of these types: id, type and the '
  'serialized message of the type.';
comment on function __RecentEvents is
  'What the history of an instance says lately that its waits are told from, in order, as parallel'
  ' arrays: the last 10,000 events at most, and no more than 4 MiB. whole: that is all of it.';
comment on function __TurnWaits is
  'The turn that is due or runs, if there is one, or the time of the start.';
comment on function __SuspensionWaits is
  'Since when an orchestration is suspended, and why.';
comment on function __ActivityWaits is
  'The activities of this generation that have not ended, with and without a row.';
comment on function __TimerWaits is
  'The timers that have not fired.';
comment on function __ChildWaits is
  'The children whose end is awaited.';
comment on function __EntityProgress is
  'What keeps an entity from an operation or lock request that p_for, the key of an orchestration,'
  ' sent it: state, and a phrase for who it is sent to.';
comment on function __JsonEntityCall is
  'What a message of the JSON dialect to an entity asks, if it is an operation whose caller awaits'
  ' the answer (RULES.md 7.29): its id and operation.';
comment on function __CallWaits is
  'The calls of entities that the history says nothing of an answer to, in both dialects (RULES.md'
  ' 7.18, 7.28).';
comment on function __LockWaits is
  'The locks that an orchestration has asked for and does not have, a row for each entity of the '
  'set.';
comment on function __EventWaits is
  'Events that were raised for later, and, where nothing else is outstanding, that an event from '
  'outside is what goes on with it. p_whole: __RecentEvents.';
comment on function __EntityWaits is
  'The same for an entity: its batch, who holds its lock and who asks for it, delayed operations; '
  'or nothing.';
comment on function __OrchestrationWaits is
  'All of the above for a live orchestration, in the order in which people ask.';
comment on function __InstanceWaits is
  'What an instance of a hub waits for, at least one row: also where it has ended, or where there '
  'is none. p_hub null: the hub is not there.';
comment on function GetInstanceWaits is
  'What an instance of the caller''s hub, an orchestration or entity, waits for, a row for each '
  'thing (__Wait says what a row is).';
comment on function __DeleteInstances is
  'Removes whole instances (to be replaced, purged, or with their hub).';
comment on function __StatusNow is
  'The status of an instance as everybody sees it, from what its row says and the last turn of its'
  ' hot row (null = it has none).';
comment on function __FindInstances is
  'The keys of the instances with these ids, in their order; null = there is none.';
comment on function __TellParents is
  'For each of these live instances (which are about to end or to be replaced) that has a parent '
  'waiting for it, puts SubOrchestrationInstanceFailed into the parent''s inbox.';
comment on function __LockInstances is
  'Locks the hot rows of instances, of their parents and of the entities that they hold locked or '
  'wait for, in one order, and returns the keys of those that it locked.';
comment on function __RepeatCall is
  'An instance came to life (it was created, took the id of another or was rewound) after a call '
  'had locked its hot rows.';
comment on function __InsertInstances is
  'Creates instances of distinct ids, each with its hot row and its first message; those whose id '
  'is in use are answered "already" (same execution id), "exists" or replaced.';
comment on function __SettleExisting is
  'The part of __InsertInstances for ids that are in use: locks the instances p_found, deletes '
  'those that are replaced, and tells their parents.';
comment on function __InsertHotRows is
  'The hot row, the payloads and the first message of each new instance. p_keys: their keys, in '
  'the order of the ids of the items, of which those in p_skip have none.';
comment on function _CreateInstances is
  'The daemon''s form of CreateInstance, for new orchestrations of clients.';
comment on function _AddOrchestrationEvents is
  'Messages of clients.';
comment on function __Deliver is
  'Puts addressed messages into the inboxes of live instances.';
comment on function _InstanceWaits is
  'As GetInstanceWaits; no row for an item that there is no instance of. p_batch {items: [{id}]}.';
comment on function _HubWorkers is
  'The rows of vWorkers, of a hub, by worker and work. per_mille: what it finishes in 1000 '
  'seconds.';
comment on function _ListHubs is
  'The names of the task hubs, in byte order. p_batch {names: at most so many}.';
comment on function __WakeInstances is
  'After messages were added to these instances (parallel arrays): a free instance becomes ready '
  'no later than its message, one that is held (not_before = infinity) only by a message that ends'
  ' that, see __EndsHold; the holder of a lease, unless it is the caller, is told to read its '
  'inbox.';
comment on function __EndsHold is
  'Whether a message for this instance waits that goes on with what is held.';
comment on function __FreeInstances is
  'Gives up the leases of these instances and recomputes when they are due, by a statement of its '
  'own, so that it sees every message.';
comment on function __LockFreeInstances is
  'Locks up to p_max due instances of the hub and kind, earliest first, whatever their names. '
  'keys: those, none = null; next_due: when nothing is due, the time when something is.';
comment on function __SplitFilters is
  'Filters as pairs of a name and an accepted version, and names of which any version is accepted.';
comment on function __LockNamedInstances is
  'As __LockFreeInstances, for the names and versions that filters accept: one probe of the index '
  'for each, and for a name of any version one for each version that has free instances.';
comment on function __TurnsWithin is
  'The first of these instances, in their order, whose next turns read p_bytes together at most, '
  'and how many that are; with p_first, the first whatever it reads.';
comment on function _LockNextOrchestration is
  'Leases due instances of the hub, earliest first, and reads what their next turn needs.';
comment on function __DueMessages is
  'The messages of one instance that are due at p_until, in inbox order, up to one more than '
  'p_max; "taken" is false for those beyond the limits.';
comment on function _ReadNewMessages is
  'The inboxes of the instances leased by a worker that somebody else wrote to, and forgets that '
  'they are new.';
comment on function _ReadInbox is
  'All messages, due and future, of leased instances, in inbox order and capped; rows with "more" '
  'are beyond the cap and not to be delivered.';
comment on function _AbandonOrchestrations is
  'Gives leases up.';
comment on function _DiscardEventsAndUnlockInstance is
  'Consumes messages that no turn wants, and gives the lease up where "release" is set.';
comment on function __IsCut is
  'Whether this is the cut form of a message. __Int4: four of its bytes, from p_at (0-based). '
  '__WholeLength: the length of a message in either form.';
comment on function __Int4 is
  'Four of its bytes, from p_at (0-based). __WholeLength: the length of a message in either form.';
comment on function __WholeLength is
  'The length of a message in either form.';
comment on function __PayloadCuts is
  'The cuts of a message in cut form, in order.';
comment on function __Assemble is
  'The whole message of a cut form, out of its payloads in any order (parallel arrays).';
comment on function __Whole is
  'A message of an instance in its whole form, whichever it is stored in. __Read: the same, for '
  'use in a query: asks no function for what is whole already.';
comment on function __Read is
  'The same, for use in a query: asks no function for what is whole already.';
comment on function __StorePayloads is
  'Stores the payloads of instances; what is there already is not written again.';
comment on function __StoreEntryPayloads is
  'The same for entries of a list that name their payloads themselves.';
comment on function __DropPayloads is
  'Removes what the current generation of these instances, or the state of these entities, and '
  'their inboxes do not refer to.';
comment on function _PurgeInstances is
  'Purges ended orchestrations named by id, or the first in order that a filter finds, and with '
  '"recursive" their ended descendants too; a live child stops at itself and keeps its subtree.';
comment on function __LockIdleEntities is
  'Those of these instances that are entities with nothing to do: not locked, and without '
  'messages.';
comment on function __FindEnded is
  'The first p_max ended orchestrations that a filter finds, status by status where it is for '
  'completed times, so that an index has their order.';
comment on function __AddDescendants is
  'Instances and their ended descendants, found level by level.';
comment on function __LockEnded is
  'Locks ended instances, all in one order, and returns those that are still there.';
comment on function _QuerySingle is
  'Instances by id.';
comment on function _WaitStates is
  'The light form, for all waiting calls. p_batch {items: [{id}]}.';
comment on function _QueryManyOrchestrations is
  'A page of orchestrations in the order of (created time, id), or of ended ones in the order of '
  '(completed time, id).';
comment on function __SearchRows is
  'A query for the first $9 + 1 orchestrations of a list, as text for EXECUTE. Ended ones in the '
  'order of their ends are those of each status, which an index has in this order, merged.';
comment on function __EndedStatuses is
  'Which statuses of ended instances a search is for.';
comment on function __PlanSearch is
  'Lets the planner sort what a prefix finds, since few ids may have it.';
comment on function __SearchTime is
  'The time that a list of instances is ordered and bounded by.';
comment on function __SearchCondition is
  'The conditions of a list of orchestrations, on Instances i, as text for EXECUTE: only those '
  'that are there.';
comment on function __PrefixEnd is
  'The first text, in byte order, after all that begin with p_prefix; null = there is none.';
comment on function _ReadHistory is
  'Chunks of the current generation after a turn, in order, at least one and then up to about '
  'max_bytes.';
comment on view __RetentionPlan is
  'What applies, a row per hub and status of ended instances: the hub''s policy for that status, '
  'else the hub''s for all, else what the leading daemon was told. keep null = for ever.';
comment on function _ApplyRetention is
  'One batch of retention in all hubs, if the caller leads.';
comment on function __Lead is
  'Takes or renews the role unless another live worker holds it; returns whether it leads, else '
  'who does. p_settings is noted for who looks at the table.';
comment on function __WalkEnded is
  'Locks, of the orchestrations of a hub and status that ended up to p_until, the next p_rows in '
  'the order of their ends, but for those that belong to a live one and those that somebody else '
  'has locked.';
comment on function __EndedAfter is
  'The orchestrations of a hub and status that ended up to p_until, the next p_rows after a '
  'position, in order, and when the last of them ended.';
comment on function __WithoutLiveAncestors is
  'Of ended instances those that no live generation has started, directly or by others.';
comment on function SetRetention is
  'How long a hub keeps instances of a status after their end: Completed, Failed, Canceled, '
  'Terminated, or Default for those without a policy of their own.';
comment on function RemoveRetention is
  'Takes a policy of SetRetention back.';
comment on function __RetentionHub is
  'The id of the hub that an operator means, which must exist, and be that of a login that is '
  'bound to one.';
comment on function __RetentionStatus is
  'The number of a status as SetRetention takes it.';
comment on function _ReadRewindSources is
  'What a rewind must know of instances.';
comment on function __TasksOf is
  'The ids of the activities of an instance''s current generation that are in flight, in order.';
comment on function _RewindInstances is
  'Rewinds FAILED instances, all or none, and one that is live under the lease of its checkpoint.';
comment on function __RewriteHistories is
  'The part of _RewindInstances for history that changes: chunks and chunk_payloads.';
comment on function __RewindOutcome is
  '0 all is as it was found, 1 the rewind has been done before, 2 neither, 3 a live instance is '
  'not under the lease and at the turn of its checkpoint.';
comment on function _SampleWork is
  'What waits and what there is in each hub, if the daemon leads; else one row that says so.';
comment on function __SampleWaiting is
  'The work of a kind in a hub that is due and free, counted up to a limit, and since when the '
  'first of it is due.';
comment on function __SampleInstances is
  'The orchestrations of the first hubs by status, each count up to its limit, until so many rows '
  'have been looked at.';
comment on function __SampleLive is
  'The live orchestrations of a hub by status, among the first ones up to a limit.';
comment on function __CountWork is
  'The live instances of a hub that have a message due, suspended ones and entities too, and its '
  'activity tasks that are due; leased or not, so that busy workers are not scaled away.';
comment on function GetScaleMetric is
  'How many work items there are for the workers of the caller''s hub.';
comment on function GetScaleRecommendation is
  'How many workers the caller''s hub needs, when each takes so many orchestrations and activities'
  ' at a time (at least 1); 0 when there is nothing to do.';
comment on function CurrentTaskHub is
  'The hub of an SQL user: the one that the login is bound to (BindTaskHub); else, in TaskHubMode '
  '1 (default), the one with the name of the login; in TaskHubMode 0 the one with the application '
  'name, which the client sets itself and which therefore is no security boundary.';
comment on function BindTaskHub is
  'From the next statement on, the login RoleName is in TaskHub and no other, whatever TaskHubMode'
  ' says.';
comment on function UnbindTaskHub is
  'TaskHubMode is in force again for the login, which may be dropped by now.';
comment on function GetTaskHubBindings is
  'All bindings.';
comment on function __RequireUnbound is
  'What concerns all hubs is refused to a login that is bound to one of them.';
comment on function __LogAction is
  'A line of PostgreSQL''s log for what somebody does by SQL, as the daemon logs what comes by '
  'gRPC. p_hub: null for what concerns all hubs.';
comment on function SetGlobalSetting is
  'For administrators.';
comment on function _GetVersions is
  'The installed versions, newest first by their numbers, not by time.';
comment on function _ResolveHub is
  'The id of a hub; null if it does not exist and p_create is not set.';
comment on function __LockHubs is
  'Whoever creates the first instances of a tree in a hub holds the table of hubs shared until its'
  ' commit, and whoever deletes a hub alone: so nothing is created that the deletion does not see.';
comment on function __OwnHub is
  'The id of the caller''s hub.';
comment on function __OwnHubToFill is
  'The id of the caller''s hub, which is created if it is not there.';
comment on function __HintDaemons is
  'With the setting NotifyOnCommit, tells the daemons at commit that the hub has work, on the '
  'channel on which they tell each other (storage/postgres/listener.cc).';
comment on function __HintChannel is
  'The channel of a schema: its name, or the FNV-1a hash of one that is too long for a channel.';
comment on function __CheckInstanceId is
  'Check an argument against the limits that the daemon has by default (deploy/SETTINGS.md, '
  'limits.*).';
comment on function __CheckText is
  'Check an argument against the limits that the daemon has by default (deploy/SETTINGS.md, '
  'limits.*).';
comment on function __CheckPayload is
  'Check an argument against the limits that the daemon has by default (deploy/SETTINGS.md, '
  'limits.*).';
comment on function __CheckTime is
  'Check an argument against the limits that the daemon has by default (deploy/SETTINGS.md, '
  'limits.*).';
comment on function __CheckTags is
  'Check an argument against the limits that the daemon has by default (deploy/SETTINGS.md, '
  'limits.*).';
comment on function __StatusSet is
  'A list of names of statuses, in any case and with commas between, as a StatusSet '
  '(storage/records.h).';
comment on function __RequireReadCommitted is
  'Refuses what deletes the inbox of a live instance in a transaction whose snapshot is older than'
  ' its locks: messages that it cannot see would be left behind for ever.';
comment on function CreateInstance is
  'Starts an orchestration in the caller''s hub, which is created if this is its first one, and '
  'returns the ids of the instance and of this execution.';
comment on function __CheckStart is
  'The limits of what an orchestration is started with.';
comment on function __SendOwn is
  'Puts a message into the inbox of an instance of the caller''s hub.';
comment on function __Sent is
  'What an outcome of _AddOrchestrationEvents or _TerminateInstances means in the SQL API.';
comment on function RaiseEvent is
  'Raises an event for an instance of the caller''s hub: true, or false if the instance has ended,'
  ' which then does not get it.';
comment on function SuspendInstance is
  'An instance of the caller''s hub gets the order to pause, or to go on: true, or false if it has'
  ' ended.';
comment on function ResumeInstance is
  'An instance of the caller''s hub gets the order to pause, or to go on: true, or false if it has'
  ' ended.';
comment on function TerminateInstance is
  'Terminates an instance of the caller''s hub: true, or false if it has ended already.';
comment on function __EntityId is
  'The id of an entity as it is stored, with its name in lower case; raises 22023 for what is '
  'none.';
comment on function __LockEntity is
  'Locks the hot row of an entity of the caller''s hub, both of which are created if they are not '
  'there, and returns the hub.';
comment on function SignalEntity is
  'Sends an operation to an entity of the caller''s hub, and waits for no answer: true, or false '
  'if a signal with the same RequestID waits already.';
comment on function GetEntity is
  'An entity of the caller''s hub; no row if it has no state.';
comment on function PurgeInstanceStateByID is
  'Purges the ended ones of these instances, with Recursive also their ended descendants, and '
  'returns how many are gone.';
comment on function PurgeInstanceStateByTime is
  'Purges the instances that were created (FilterType 0) or ended (1) at ThresholdTime or before '
  'and have ended, and returns how many are gone.';
comment on function __PurgeOwn is
  'Purges in the caller''s hub what a batch of _PurgeInstances names, up to p_max instances if '
  'that is not null, and returns how many are gone.';
comment on procedure PurgeInstanceState is
  'PurgeInstanceStateByTime with a commit after each BatchSize instances, so that it holds no '
  'locks for long and an interruption loses one batch at most.';
comment on function __Terminate is
  'Ends orchestrations that never had a turn and are free at once (TERMINATED, the parent told); '
  'any other live one gets its message.';
comment on function __LiveBelow is
  'The live orchestrations below these (parallel arrays of keys and generations): their live '
  'children of that generation, those of children that have ended, of any generation, and so on '
  'down.';
comment on function __LiveBelowAll is
  '__LiveBelow all instances of a list of "subtrees", see __TerminateBelow.';
comment on function __TerminateBelow is
  'Ends what is live below instances that are about to end, as __Terminate does.';
comment on function __EndFree is
  'Of live instances ends those that never had a turn and are free, and returns the others.';
comment on function __SendTermination is
  'One message into the inboxes of many.';
comment on function __PassTerminations is
  'Terminations that found their instances ended go on, if they are recursive, to what is live '
  'below those (parallel arrays).';
comment on function __EndTerminated is
  'Ends live orchestrations without a worker: TERMINATED, with the reason as output and the '
  'parents told (see __TellParents for the rows).';
comment on function _TerminateNow is
  'Ends orchestrations at once, whoever holds them: the checkpoint of a holder then finds the '
  'instance gone.';
comment on function _TerminateInstances is
  'The daemon''s form of TerminateInstance (see __Terminate). p_batch {worker, items} Locks: hot '
  'rows of the instances and their parents by key, then the rows of Instances.';
comment on view __Instances is
  'The instances of all hubs as vInstances shows them.';
comment on view vInstances is
  'The instances of the caller''s hub.';
comment on view vEntities is
  'The entities of the caller''s hub, also those without a state.';
comment on function QuerySingleOrchestration is
  'One instance of the caller''s hub, as vInstances shows it; no row if there is none, or if it '
  'has another ExecutionID than the one asked for.';
comment on view vHistory is
  'The events of their current generations, one row each.';
comment on view vRetention is
  'What happens to ended instances, a row per status.';
comment on view vWaitingWork is
  'The work of the caller''s hub that is due and that no worker has, a row per name and version.';
comment on view __HubWorkers is
  'The rows of vWorkers for all hubs.';
comment on view vWorkers is
  'The daemons that have workers for the caller''s hub, a row for each kind of work: turns, '
  'activities or entities.';
comment on view __InstanceHistory is
  'The row type of GetInstanceHistory, for the events of all hubs.';
comment on function GetInstanceHistory is
  'The events of an instance''s current generation in order, one row each.';
comment on function _UnacceptedWork is
  'What of a hub''s due and free work none of the daemon''s workers accepts, a row per name and '
  'version. "kind" is 0 for turns, 1 for activity tasks and 2 for entities, "name" one that is '
  'written so, "count" stops at the limit, "since" and "instance_id" are those of the one that has'
  ' been due for longest.';
comment on function __UnacceptedInstances is
  'The parts of _UnacceptedWork: what has been due since p_until and is not accepted. p_kind: of '
  'the instances; p_groups, p_count, p_names: its groups, count and names.';
comment on function __UnacceptedTasks is
  'The parts of _UnacceptedWork: what has been due since p_until and is not accepted. p_kind: of '
  'the instances; p_groups, p_count, p_names: its groups, count and names.';
comment on function __Accepts is
  'Whether filters, as __SplitFilters gives them (null = an empty list), accept a name in lower '
  'case and a version.';
comment on function __OwnSession is
  'The caller''s session as Workers keeps it; null if p_own is false.';
comment on function _SessionIsGone is
  'Whether a session of Workers is known to have ended.';
comment on function _RegisterWorker is
  'A new row for a process; returns its worker id. p_lease: how long without renewal. '
  'p_own_session: the process keeps this session as long as it lives, or renews from another one; '
  'false behind a pooler. p_served, p_load: as Workers keeps them.';
comment on function _RenewWorker is
  'Prolongs the leases of a worker, which has this session from now on. renewed is false when its '
  'row was swept: all its leases are gone then, and it must register again. p_own_session as '
  'above; p_served and p_load too, null = as it was.';
comment on function _UnregisterWorker is
  'Frees what the worker still holds, without counting a lost lease, and forgets it.';
comment on function __HoldsLeases is
  'Whether anything is still leased by the worker.';
comment on function __LockLeasedInstances is
  'Locks the hot rows that are leased by workers and returns their keys.';
comment on function __LockLeasedTasks is
  'The same for tasks, by both keys.';
comment on function __RedeliveryDelay is
  'How long something waits that was lost so many times in a row: the first time not at all '
  '(null), then 1 s, 2 s, 4 s and so on, up to a minute.';
comment on function __FreeWorkers is
  'Frees all instances and tasks leased by workers; returns how many.';
comment on function _SweepIsDue is
  'Whether a worker is to be swept by its lease: it has run out, and no sweep, which scans for all'
  ' that the worker holds, was just there.';
comment on function __NoteSilentWorkers is
  'Notes since when the sessions of workers are gone.';
comment on function _SweepExpired is
  'Frees what dead workers held: those of p_dead (which the caller found dead on its own host), '
  'those whose session is gone and has not come back for p_silence, and those whose lease has run '
  'out.';
