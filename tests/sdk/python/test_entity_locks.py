"""Critical sections: entities that an orchestration locks, and who waits for it.

`EntityMetadata.get_locked_by` of this SDK expects the id of an entity and fails with that of the
orchestration, which is what the .NET SDK shows; so tests look at what it keeps.
"""

import pytest
from durabletask import task
from durabletask.entities import EntityInstanceId
from durabletask.history import (
    EntityLockGrantedEvent,
    EntityLockRequestedEvent,
    EntityUnlockSentEvent,
)

from entities import COUNTER, DIARY, OTHER, Counter, Diary, Sections, call, in_seconds
from hub import COMPLETED, FAILED, RUNNING, TERMINATED, eventually

THIRD = EntityInstanceId("Counter", "three")


def account(number):
    return EntityInstanceId("Counter", str(number))


def hold(ctx, _):
    """An orchestrator that locks COUNTER and OTHER, adds 1 to both, and keeps them until the event
    "leave"; then it adds 1 to both again."""
    with (yield ctx.lock_entities([COUNTER, OTHER])):
        yield task.when_all([ctx.call_entity(entity, "add", 1) for entity in (COUNTER, OTHER)])
        how = yield ctx.wait_for_external_event("leave")
        if how == "fail":
            raise RuntimeError("in the section")
        if how == "again":
            ctx.continue_as_new(None)
            return None
        yield task.when_all([ctx.call_entity(entity, "add", 1) for entity in (COUNTER, OTHER)])
    return how


def lock_one(ctx, _):
    """An orchestrator that adds 100 to COUNTER in a critical section."""
    with (yield ctx.lock_entities([COUNTER])):
        return (yield ctx.call_entity(COUNTER, "add", 100))


def locked_by(hub, entity):
    """The id of the orchestration that holds the lock; "" when it is free."""
    return hub.entity(entity)._locked_by


def until_free(hub):
    """Waits for both locks to be released: an orchestration ends before its unlocks arrive."""
    eventually(lambda: (locked_by(hub, COUNTER), locked_by(hub, OTHER)) == ("", ""))


def start_holder(hub):
    """Starts `hold` and returns its id once it is in its section."""
    holder = hub.start(hold)
    hub.until_state(COUNTER, 1)
    hub.until_state(OTHER, 1)
    return holder


def test_section(hub):
    """lock_basic: in the section the owner's operations run, and others wait; after it they run in
    the order in which they came."""
    hub.worker(hold, call, entities=[Counter])
    holder = start_holder(hub)
    assert (locked_by(hub, COUNTER), locked_by(hub, OTHER)) == (holder, holder)
    hub.signal(COUNTER, "add", 10)
    caller = hub.start(call, ["Counter", "one", "add", 100])
    hub.until(caller, RUNNING)
    eventually(lambda: hub.entity(COUNTER).backlog_queue_size == 2)
    hub.client.raise_orchestration_event(holder, "leave", data="done")
    assert hub.wait(holder).get_output() == "done"
    assert hub.wait(caller).get_output() == 112
    assert (hub.entity_state(COUNTER), hub.entity_state(OTHER)) == (112, 2)
    until_free(hub)
    assert [len(hub.history(holder, kind)) for kind in (
        EntityLockRequestedEvent, EntityLockGrantedEvent, EntityUnlockSentEvent)] == [1, 1, 2]


def test_operations_before_the_request_come_first(hub):
    """What was sent to an entity before the lock was asked for is done before it is granted."""
    def before(ctx, count):
        for number in range(count):
            ctx.signal_entity(DIARY, "write", number)
        with (yield ctx.lock_entities([DIARY, COUNTER])):
            ctx.signal_entity(OTHER, "add", 1)
            return (yield ctx.call_entity(DIARY, "read"))

    hub.worker(before, entities=[Counter, Diary])
    assert hub.output(before, 20) == list(range(20))
    hub.until_state(OTHER, 1)


def test_competing_orchestrations(hub):
    """lock_cross: transfers between five accounts, under locks of two and three in all orders: all
    end, no two are in sections with an account in common, and no money is lost."""
    sections = Sections()
    accounts = 5

    def transfer(ctx, numbers):
        entities = [account(number) for number in numbers]
        with (yield ctx.lock_entities(entities)):
            inside = ctx.call_activity("inside", input=[str(entity) for entity in entities])
            balances = []
            for entity in entities:
                balances.append((yield ctx.call_entity(entity, "get")))
            yield inside
            yield task.when_all([
                ctx.call_entity(entities[0], "set", balances[0] - 1),
                ctx.call_entity(entities[-1], "set", balances[-1] + 1)])
        return "done"

    hub.worker(transfer, activities=[sections.inside], entities=[Counter])
    transfers = []
    for n in range(24):
        numbers = [n % accounts, (n + 1 + n // accounts) % accounts]
        if numbers[0] == numbers[1]:
            numbers[1] = (numbers[1] + 1) % accounts
        if n % 3 == 0:
            numbers.insert(1, next(i for i in range(accounts) if i not in numbers))
        transfers.append(numbers if n % 2 else numbers[::-1])
    ids = [hub.start(transfer, numbers) for numbers in transfers]
    assert [hub.wait(instance_id).get_output() for instance_id in ids] == ["done"] * len(ids)
    assert (sections.count, sections.overlaps) == (len(ids), [])
    expected = [0] * accounts
    for numbers in transfers:
        expected[numbers[0]] -= 1
        expected[numbers[-1]] += 1
    assert [hub.entity_state(account(n)) or 0 for n in range(accounts)] == expected


def test_requests_are_granted_in_their_order(hub):
    """lock_overlapping: a request of two waits for the one before, and one behind it for both."""
    def in_order(ctx, names):
        entities = {"one": COUNTER, "two": OTHER, "three": THIRD}
        with (yield ctx.lock_entities([entities[name] for name in names])):
            yield ctx.call_activity("note", input="-".join(names))

    entered = []

    def note(_, names):
        entered.append(names)

    hub.worker(hold, in_order, activities=[note], entities=[Counter])
    holder = start_holder(hub)
    waiting = []
    for names in (["one", "three"], ["three"], ["two", "three"]):
        waiting.append(hub.start(in_order, names))
        eventually(lambda i=waiting[-1]: hub.history(i, EntityLockRequestedEvent))
    # An orchestration that ends tells that nothing above is on its way any more.
    assert entered == []
    hub.client.raise_orchestration_event(holder, "leave", data="done")
    for instance_id in [holder, *waiting]:
        assert hub.wait(instance_id).runtime_status == COMPLETED
    assert entered == ["one-three", "three", "two-three"]


def test_lock_of_one_named_twice(hub):
    """lock_duplicates"""
    def twice(ctx, _):
        with (yield ctx.lock_entities([OTHER, COUNTER, OTHER, COUNTER])):
            return (yield ctx.call_entity(OTHER, "add", 1))

    hub.worker(twice, entities=[Counter])
    assert [hub.output(twice) for _ in range(3)] == [1, 2, 3]


def test_lock_of_what_is_not_there(hub):
    """lock_nonexistent_entity: it can be locked, and leaves nothing behind."""
    def empty(ctx, _):
        with (yield ctx.lock_entities([COUNTER, OTHER])):
            return (yield ctx.call_entity(COUNTER, "get"))

    hub.worker(empty, entities=[Counter])
    assert hub.output(empty) == 0
    eventually(lambda: hub.entity(COUNTER) is None and hub.entity(OTHER) is None)
    cleaned = hub.client.clean_entity_storage()
    assert (cleaned.empty_entities_removed, cleaned.orphaned_locks_released) == (0, 0)


def test_locks_need_no_registered_entity(hub):
    """A worker that lacks an entity can lock it; only calls fail."""
    def lock(ctx, _):
        with (yield ctx.lock_entities([COUNTER, EntityInstanceId("nobody", "k")])):
            return "inside"

    hub.worker(lock, entities=[Diary])
    assert hub.output(lock) == "inside"


def test_locks_are_no_change(hub):
    """Neither the state nor the time of the last change tells of a lock that did nothing."""
    def lock(ctx, _):
        with (yield ctx.lock_entities([COUNTER])):
            pass

    hub.worker(lock, entities=[Counter])
    hub.signal(COUNTER, "add", 3)
    hub.until_state(COUNTER, 3)
    before = hub.entity(COUNTER).last_modified
    hub.output(lock)
    eventually(lambda: locked_by(hub, COUNTER) == "")
    assert (hub.entity_state(COUNTER), hub.entity(COUNTER).last_modified) == (3, before)


def test_delayed_signal_to_a_locked_entity(hub):
    """It is due in the section, and comes after it."""
    hub.worker(hold, entities=[Counter])
    holder = start_holder(hub)
    hub.signal(COUNTER, "add", 10, signal_time=in_seconds(0.3))
    eventually(lambda: hub.entity(COUNTER).backlog_queue_size == 1)
    assert hub.entity_state(COUNTER) == 1
    hub.client.raise_orchestration_event(holder, "leave", data="done")
    hub.until_state(COUNTER, 12)


def leave(how):
    def leave_by_event(hub, holder):
        hub.client.raise_orchestration_event(holder, "leave", data=how)
    return leave_by_event


def terminate(hub, holder):
    hub.client.terminate_orchestration(holder)


def terminate_and_purge(hub, holder):
    hub.client.terminate_orchestration(holder)
    hub.until(holder, TERMINATED)
    assert hub.client.purge_orchestration(holder).deleted_instance_count == 1


def terminate_and_restart(hub, holder):
    """The new one with the same id waits for the lock as everybody does, and gets it."""
    hub.client.terminate_orchestration(holder)
    hub.until(holder, TERMINATED)
    hub.client.restart_orchestration(holder)


@pytest.mark.parametrize("end, again", [
    pytest.param(leave("done"), False, id="completed"),
    pytest.param(leave("fail"), False, id="failed"),
    pytest.param(leave("again"), True, id="continued"),
    pytest.param(terminate, False, id="terminated"),
    pytest.param(terminate_and_purge, False, id="purged"),
    pytest.param(terminate_and_restart, True, id="restarted")])
def test_owner_gone(hub, end, again):
    """owner_gone: whatever ends the owner, who waits gets the lock, and an owner that asks `again`
    waits for it."""
    hub.worker(hold, lock_one, entities=[Counter])
    holder = start_holder(hub)
    next_one = hub.start(lock_one)
    hub.until(next_one, RUNNING)
    eventually(lambda: hub.history(next_one, EntityLockRequestedEvent))
    end(hub, holder)
    assert hub.wait(next_one).get_output() in (101, 102)
    if again:
        hub.client.raise_orchestration_event(holder, "leave", data="done")
        assert hub.wait(holder).get_output() == "done"
    hub.signal(OTHER, "add", 1000)
    eventually(lambda: hub.entity_state(OTHER) >= 1000)


def test_waiting_owner_gone(hub):
    """unlock_before_grant: who is terminated while it waits is not granted, and others are."""
    hub.worker(hold, lock_one, entities=[Counter])
    holder = start_holder(hub)
    gone, next_one = hub.start(hold), hub.start(lock_one)
    for instance_id in (gone, next_one):
        eventually(lambda i=instance_id: hub.history(i, EntityLockRequestedEvent))
    hub.client.terminate_orchestration(gone)
    hub.until(gone, TERMINATED)
    hub.client.raise_orchestration_event(holder, "leave", data="done")
    assert hub.wait(next_one).get_output() == 102
    assert hub.history(gone, EntityLockGrantedEvent) == []
    until_free(hub)


def test_lock_outlives_its_worker(hub):
    """A lock is the orchestration's: with another worker it goes on in its section."""
    first = hub.worker(hold, entities=[Counter])
    holder = start_holder(hub)
    first.stop()
    hub.signal(COUNTER, "add", 10)
    hub.worker(hold, entities=[Counter])
    assert locked_by(hub, COUNTER) == holder
    hub.client.raise_orchestration_event(holder, "leave", data="done")
    assert hub.wait(holder).get_output() == "done"
    hub.until_state(COUNTER, 12)


def test_failure_in_a_section(hub):
    """A call that fails leaves the section as it is: the next call works."""
    def section(ctx, _):
        with (yield ctx.lock_entities([COUNTER])):
            try:
                yield ctx.call_entity(COUNTER, "fly")
            except task.TaskFailedError:
                pass
            return (yield ctx.call_entity(COUNTER, "add", 5))

    hub.worker(section, entities=[Counter])
    assert hub.output(section) == 5
    assert hub.run(section).runtime_status != FAILED
    assert hub.entity_state(COUNTER) == 10


def test_sections_one_after_the_other(hub):
    """One orchestration in many sections, with others between them."""
    def sections(ctx, count):
        for _ in range(count):
            with (yield ctx.lock_entities([COUNTER, OTHER])):
                value = yield ctx.call_entity(COUNTER, "get")
                yield ctx.call_entity(OTHER, "set", value)
                yield ctx.call_entity(COUNTER, "set", value + 1)
        return "done"

    hub.worker(sections, entities=[Counter])
    ids = [hub.start(sections, 5) for _ in range(4)]
    assert [hub.wait(instance_id).get_output() for instance_id in ids] == ["done"] * 4
    assert (hub.entity_state(COUNTER), hub.entity_state(OTHER)) == (20, 19)
