"""Entities: signals and calls, their results and failures, state, and what entities do themselves.
"""

import asyncio
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import grpc
from durabletask import task
from durabletask.client import AsyncTaskHubGrpcClient
from durabletask.entities import EntityInstanceId
from durabletask.history import (
    EntityOperationCalledEvent,
    EntityOperationCompletedEvent,
    EntityOperationFailedEvent,
    EntityOperationSignaledEvent,
)

import stuck_worker
from entities import (
    CLOCK_SECONDS,
    COUNTER,
    DIARY,
    GATE,
    OTHER,
    Counter,
    Diary,
    Gate,
    call,
    failure_of,
    in_seconds,
    try_call,
)
from hub import (
    COMPLETED,
    FAILED,
    RUNNING,
    SUSPENDED,
    assert_refused,
    echo,
    eventually,
    new_hub,
    waiting,
)


def test_signals_of_a_client(hub):
    """All of them come, in the order in which they were sent, before a worker is there and after.
    """
    for number in range(50):
        hub.signal(DIARY, "write", number)
    hub.worker(entities=[Diary])
    for number in range(50, 100):
        hub.signal(DIARY, "write", number)
    hub.until_state(DIARY, list(range(100)))


def test_calls(hub):
    """A call gets the result of its operation, whatever that is."""
    def mirror(ctx, value):
        ctx.set_state("used")
        return [str(ctx.entity_id), ctx.operation, value] if ctx.operation == "show" else value

    def calls(ctx, values):
        results = []
        for value in values:
            result = yield ctx.call_entity(EntityInstanceId("Mirror", "k"), "echo", value)
            results.append(result)
        results.append((yield ctx.call_entity(EntityInstanceId("MIRROR", "Ключ 🔑"), "show", 7)))
        return results

    hub.worker(calls, entities=[mirror])
    values = [None, "", 0, False, [], {"größe": "\U0001f511"}, "x" * 100_000]
    assert hub.output(calls, values) == values + [["@mirror@Ключ 🔑", "show", 7]]


def test_calls_side_by_side(hub):
    """50 calls to one entity and 50 to others, all at once: each has its own result."""
    def many(ctx, count):
        one = [ctx.call_entity(COUNTER, "add", 1) for _ in range(count)]
        others = [ctx.call_entity(EntityInstanceId("Counter", str(n)), "add", n)
                  for n in range(count)]
        return (yield task.when_all(one + others))

    hub.worker(many, entities=[Counter])
    results = hub.output(many, 50)
    assert results == list(range(1, 51)) + list(range(50))
    assert hub.entity_state(COUNTER) == 50


def test_calls_of_many_orchestrations(hub):
    """No operation is lost or done twice, and no two callers see the same count."""
    hub.worker(call, entities=[Counter])
    ids = [hub.start(call, ["Counter", "one", "add", 1]) for _ in range(60)]
    counts = [hub.wait(instance_id).get_output() for instance_id in ids]
    assert sorted(counts) == list(range(1, 61))


def test_failed_operation(hub):
    """The caller gets the failure with its details; the state is what it was before."""
    def failing(ctx, _):
        yield ctx.call_entity(COUNTER, "set", 5)
        failure = yield from failure_of(ctx, COUNTER, "refuse", 7)
        return [failure, (yield ctx.call_entity(COUNTER, "get"))]

    hub.worker(failing, echo, entities=[Counter])
    state = hub.run(failing)
    failure, value = state.get_output()
    assert failure[2:] == ["builtins.ValueError", "refused 7"]
    assert value == 5
    assert [event.failure_details.message
            for event in hub.history(state.instance_id, EntityOperationFailedEvent)] == [
                "refused 7"]


def test_failed_operation_that_nobody_catches(hub):
    """The orchestration fails with it; a failed signal fails nobody."""
    hub.worker(call, entities=[Counter])
    hub.signal(COUNTER, "refuse", 1)
    state = hub.run(call, ["Counter", "one", "refuse", 2])
    assert state.runtime_status == FAILED
    assert "refused 2" in state.failure_details.message
    assert hub.output(call, ["Counter", "one", "add", 3]) == 3


def test_failed_operation_does_nothing(hub):
    """Its signals and the orchestration that it wanted to start do not happen."""
    hub.worker(call, echo, entities=[Counter])
    hub.signal(COUNTER, "refuse", 1)
    assert hub.output(call, ["Counter", "one", "add", 2]) == 2
    # What it would have sent would have come before this.
    assert hub.output(call, ["Counter", "two", "add", 3]) == 3
    assert hub.state("refused") is None


def test_operation_that_does_not_exist(hub):
    hub.worker(try_call, entities=[Counter])
    failure = hub.output(try_call, ["Counter", "one", "fly", None])
    assert failure[2] == "builtins.AttributeError"
    assert hub.entity(COUNTER) is None


def test_unregistered_entity(hub):
    """unregistered_entity: a worker that lacks it fails the calls, and the state is kept."""
    first = hub.worker(entities=[Counter])
    hub.signal(COUNTER, "set", 12)
    hub.until_state(COUNTER, 12)
    first.stop()
    second = hub.worker(try_call, entities=[Diary])
    failure = hub.output(try_call, ["Counter", "one", "get", None])
    assert "counter" in failure[3] and "not registered" in failure[3]
    second.stop()
    hub.worker(call, entities=[Counter])
    assert hub.output(call, ["Counter", "one", "get", None]) == 12


def test_signals_of_an_orchestration(hub):
    """signal_order: a hundred signals and a call come in this order."""
    def signals(ctx, count):
        for number in range(count):
            ctx.signal_entity(DIARY, "write", number)
        return (yield ctx.call_entity(DIARY, "read"))

    hub.worker(signals, entities=[Diary])
    state = hub.run(signals, 100)
    assert state.get_output() == list(range(100))
    assert len(hub.history(state.instance_id, EntityOperationSignaledEvent)) == 100
    assert len(hub.history(state.instance_id, EntityOperationCalledEvent)) == 1
    assert len(hub.history(state.instance_id, EntityOperationCompletedEvent)) == 1


def test_signals_of_entities(hub):
    """An entity signals another one and itself, in order; its own come after what is waiting."""
    def relay(ctx, left):
        ctx.signal_entity(DIARY, "write", left)
        if left:
            ctx.signal_entity(ctx.entity_id, "again", left - 1)

    hub.signal(EntityInstanceId("relay", "of a test"), "again", 20)
    hub.worker(entities=[relay, Diary])
    hub.until_state(DIARY, list(range(20, -1, -1)))


def test_delayed_signals(hub):
    """delayed_signal: of a client, an orchestration and an entity; each once, at its time and not
    before, and what is sent meanwhile does not wait for it."""
    def orchestration(ctx, seconds):
        due = ctx.current_utc_datetime.replace(tzinfo=timezone.utc) + timedelta(seconds=seconds)
        ctx.signal_entity(DIARY, "write_lateness", due.isoformat(), signal_time=due)

    def delayer(ctx, due):
        ctx.signal_entity(DIARY, "write_lateness", due, signal_time=datetime.fromisoformat(due))

    hub.worker(orchestration, entities=[Diary, delayer])
    due = in_seconds(1)
    hub.signal(DIARY, "write_lateness", due.isoformat(), signal_time=due)
    hub.signal(EntityInstanceId("delayer", "of a test"), "delay", due.isoformat())
    hub.run(orchestration, 1)
    hub.signal(DIARY, "write", "at once")
    entries = eventually(lambda: len(found := hub.entity_state(DIARY) or []) == 4 and found)
    assert entries[0] == "at once"
    assert all(late >= -CLOCK_SECONDS for late in entries[1:]), entries


def test_signal_for_the_past(hub):
    """It comes at once."""
    hub.worker(entities=[Counter])
    hub.signal(COUNTER, "add", 1, signal_time=in_seconds(-3600))
    hub.until_state(COUNTER, 1)


def test_entity_starts_orchestrations(hub):
    """entity_starts_orchestration: a new id, one that ended and is replaced, one that lives and
    stays."""
    def launcher(ctx, instance_id):
        started = ctx.schedule_new_orchestration("waiting", input=None, instance_id=instance_id)
        ctx.set_state([*ctx.get_state(list, []), started])

    launcher_id = EntityInstanceId("launcher", "of a test")
    hub.worker(waiting, echo, entities=[launcher])
    hub.run(echo, "first", instance_id="ended")
    hub.start(waiting, instance_id="live")
    hub.until("live", RUNNING)
    first = hub.started("live").timestamp
    for instance_id in ("ended", "live", "new", None):
        hub.signal(launcher_id, "launch", instance_id)
    ids = eventually(lambda: len(found := hub.entity_state(launcher_id) or []) == 4 and found)
    assert ids[:3] == ["ended", "live", "new"]
    for instance_id in ids:
        hub.until(instance_id, RUNNING)
        hub.client.raise_orchestration_event(instance_id, "finish", data=f"end of {instance_id}")
    assert [hub.wait(instance_id).get_output() for instance_id in ids] == [
        f"end of {instance_id}" for instance_id in ids]
    assert hub.started("live").timestamp == first


def test_deletion_and_re_creation(hub):
    """state_unset_deletes: an entity without state is not there; the next operation makes it anew.
    """
    def lifecycle(ctx, _):
        yield ctx.call_entity(COUNTER, "set", 9)
        yield ctx.call_entity(COUNTER, "delete")
        return (yield ctx.call_entity(COUNTER, "add", 1))

    hub.worker(lifecycle, call, entities=[Counter])
    assert hub.output(lifecycle) == 1
    hub.signal(COUNTER, "delete")
    eventually(lambda: hub.entity(COUNTER) is None)
    assert hub.client.get_all_entities() == []
    assert hub.output(call, ["Counter", "one", "add", 4]) == 4
    assert hub.entity_state(COUNTER) == 4


def test_entity_that_never_was(hub):
    hub.worker(call, entities=[Counter])
    assert hub.entity(COUNTER) is None
    assert hub.output(call, ["Counter", "one", "get", None]) == 0
    assert hub.entity(COUNTER) is None


def test_purge(hub):
    """An entity is purged by its id."""
    hub.worker(entities=[Counter])
    hub.signal(COUNTER, "add", 1)
    hub.until_state(COUNTER, 1)
    assert hub.client.purge_orchestration(str(COUNTER)).deleted_instance_count == 1
    assert hub.entity(COUNTER) is None
    hub.signal(COUNTER, "add", 2)
    hub.until_state(COUNTER, 2)


def test_large_state(hub):
    """A state of a megabyte, read by the client and given to every operation."""
    text = "größe" * 160_000
    hub.worker(call, entities=[Diary])
    hub.signal(DIARY, "write", text)
    hub.signal(DIARY, "write", "small")
    assert hub.output(call, ["Diary", DIARY.key, "read", None]) == [text, "small"]
    assert hub.entity_state(DIARY) == [text, "small"]


def test_calls_over_continue_as_new(hub):
    """Each generation calls and signals; results come to the generation that asked."""
    def loop(ctx, left):
        ctx.signal_entity(COUNTER, "add", 10)
        count = yield ctx.call_entity(COUNTER, "add", 1)
        if left == 0:
            return count
        ctx.continue_as_new(left - 1)

    hub.worker(loop, entities=[Counter])
    assert hub.output(loop, 19) == 220


def test_result_for_a_suspended_orchestration(hub):
    """It waits until the orchestration is resumed."""
    gate = Gate()
    hub.worker(call, entities=[gate.gate])
    call_id = hub.start(call, ["gate", GATE.key, "pass", "through"])
    assert gate.reached.wait(60)
    hub.client.suspend_orchestration(call_id)
    hub.until(call_id, SUSPENDED)
    gate.open()
    hub.until_state(GATE, ["through"])
    assert hub.status(call_id) == SUSPENDED
    hub.client.resume_orchestration(call_id)
    assert hub.wait(call_id).get_output() == "through"


def test_one_batch_at_a_time(hub):
    """What comes while an operation runs waits for it, also with a second worker."""
    gate = Gate()
    for _ in range(2):
        hub.worker(entities=[gate.gate])
    hub.signal(GATE, "pass", 0)
    assert gate.reached.wait(60)
    for number in range(1, 10):
        hub.signal(GATE, "note", number)
    assert hub.entity(GATE) is None
    gate.open()
    hub.until_state(GATE, list(range(10)))


def test_killed_worker(hub):
    """stream_drop: operations that a killed worker held are done by another one, once."""
    with subprocess.Popen([sys.executable, stuck_worker.__file__, hub.name],
                          stdout=subprocess.PIPE, text=True) as victim:
        try:
            call_id = hub.start(call, ["stuck", "k", "work", "done"])
            hub.signal(EntityInstanceId("stuck", "k"), "work", "and this")
            assert victim.stdout.readline() == "@stuck@k is stuck\n"
        finally:
            victim.kill()

    def stuck(ctx, entry):
        entries = [*ctx.get_state(list, []), entry]
        ctx.set_state(entries)
        return entries

    hub.worker(call, entities=[stuck])
    results = hub.wait(call_id).get_output()
    assert "done" in results
    eventually(lambda: sorted(hub.entity_state(EntityInstanceId("stuck", "k"))) == [
        "and this", "done"])


def test_filters(hub):
    """Workers with filters get the entities that they have, and each finds its work."""
    hub.worker(echo, filtered=True)
    hub.worker(entities=[Diary], filtered=True)
    hub.signal(COUNTER, "add", 3)
    hub.signal(DIARY, "write", "here")
    hub.until_state(DIARY, ["here"])
    assert hub.output(echo, "busy") == "busy"
    assert hub.entity(COUNTER) is None
    hub.worker(call, entities=[Counter], filtered=True)
    hub.until_state(COUNTER, 3)
    assert hub.output(call, ["Counter", "one", "add", 1]) == 4


def test_hubs_are_apart(hub):
    other = new_hub()
    try:
        hub.worker(entities=[Counter])
        other.worker(entities=[Counter])
        hub.signal(COUNTER, "add", 1)
        other.signal(COUNTER, "add", 10)
        hub.until_state(COUNTER, 1)
        other.until_state(COUNTER, 10)
    finally:
        other.close()


def test_id_that_is_too_long(hub):
    """entity_id_length: 100 characters are fine, and one more is refused."""
    hub.worker(entities=[Counter])
    longest = EntityInstanceId("Counter", "k" * (100 - len("@counter@")))
    hub.signal(longest, "add", 1)
    hub.until_state(longest, 1)
    assert_refused(grpc.StatusCode.INVALID_ARGUMENT, "length", hub.signal,
                   EntityInstanceId("Counter", longest.key + "k"), "add", 1)


def test_async_client(hub):
    """The SDK's client for asyncio signals, reads, lists and cleans as the other one does."""
    hub.worker(entities=[Counter])

    async def manage():
        async with AsyncTaskHubGrpcClient(**hub.connection) as client:
            await client.signal_entity(COUNTER, "add", 1)
            await client.signal_entity(OTHER, "add", 2)
            for entity, value in ((COUNTER, 1), (OTHER, 2)):
                while not (found := await client.get_entity(entity)):
                    await asyncio.sleep(0.02)
                assert found.get_typed_state() == value
            assert [str(found.id) for found in await client.get_all_entities()] == [
                "@counter@one", "@counter@two"]
            cleaned = await client.clean_entity_storage()
            assert (cleaned.empty_entities_removed, cleaned.orphaned_locks_released) == (0, 0)

    asyncio.run(asyncio.wait_for(manage(), 60))


def test_orchestrations_of_an_entity_are_ordinary_ones(hub):
    """An orchestration that calls ends as any other, and its parent gets its result."""
    def parent(ctx, _):
        return (yield ctx.call_sub_orchestrator(call, input=["Counter", "one", "add", 6]))

    hub.worker(parent, call, entities=[Counter])
    state = hub.run(parent)
    assert (state.runtime_status, state.get_output()) == (COMPLETED, 6)
