"""The history of an instance, as clients see it."""

from datetime import timedelta

import grpc
import pytest
from durabletask import task
from durabletask.grpc_options import GrpcChannelOptions
from durabletask.history import (
    EventRaisedEvent,
    ExecutionCompletedEvent,
    ExecutionResumedEvent,
    ExecutionSuspendedEvent,
    ExecutionTerminatedEvent,
    SubOrchestrationInstanceCompletedEvent,
    SubOrchestrationInstanceCreatedEvent,
    TaskCompletedEvent,
    TaskFailedEvent,
    TaskScheduledEvent,
    TimerCreatedEvent,
    TimerFiredEvent,
)

from hub import COMPLETED, RUNNING, SUSPENDED, assert_refused, echo, waiting


def kinds(events):
    return [type(event).__name__.removesuffix("Event") for event in events]


def test_history_of_an_instance(hub):
    """client_history_exact: what the server tells of an activity, a timer and a child."""
    def work(_, number):
        return number + 1

    def child(ctx, text):
        return text.upper()

    def parent(ctx, number):
        number = yield ctx.call_activity(work, input=number)
        yield ctx.create_timer(timedelta(milliseconds=1))
        text = yield ctx.call_sub_orchestrator(child, input="child", instance_id="the-child")
        return [number, text]

    hub.worker(parent, child, activities=[work])
    parent_id = hub.run(parent, 1).instance_id
    events = hub.client.get_orchestration_history(parent_id)
    assert kinds(events) == [
        "OrchestratorStarted", "ExecutionStarted", "TaskScheduled",
        "OrchestratorStarted", "TaskCompleted", "TimerCreated",
        "OrchestratorStarted", "TimerFired", "SubOrchestrationInstanceCreated",
        "OrchestratorStarted", "SubOrchestrationInstanceCompleted", "ExecutionCompleted"]
    numbered = [event.event_id for event in events if event.event_id != -1]
    assert numbered == [1, 2, 3]
    one_of = {type(event): event for event in events}
    assert (one_of[TaskScheduledEvent].name, one_of[TaskScheduledEvent].input) == ("work", "1")
    assert (one_of[TaskCompletedEvent].task_scheduled_id,
            one_of[TaskCompletedEvent].result) == (1, "2")
    assert (one_of[TimerFiredEvent].timer_id,
            one_of[TimerFiredEvent].fire_at) == (2, one_of[TimerCreatedEvent].fire_at)
    created = one_of[SubOrchestrationInstanceCreatedEvent]
    assert (created.name, created.instance_id, created.input) == ("child", "the-child", '"child"')
    ended = one_of[SubOrchestrationInstanceCompletedEvent]
    assert (ended.task_scheduled_id, ended.result) == (3, '"CHILD"')
    assert one_of[ExecutionCompletedEvent].result == '[2, "CHILD"]'


def test_history_of_a_live_instance(hub):
    """What has been committed so far, with what clients sent and when they suspended it."""
    hub.worker(waiting)
    waiting_id = hub.start(waiting)
    hub.until(waiting_id, RUNNING)
    assert kinds(hub.client.get_orchestration_history(waiting_id)) == [
        "OrchestratorStarted", "ExecutionStarted"]
    hub.client.suspend_orchestration(waiting_id, reason="lunch")
    hub.until(waiting_id, SUSPENDED)
    hub.client.resume_orchestration(waiting_id, reason="back")
    hub.client.raise_orchestration_event(waiting_id, "Finish", data="done")
    hub.wait(waiting_id)
    [suspended] = hub.history(waiting_id, ExecutionSuspendedEvent)
    [resumed] = hub.history(waiting_id, ExecutionResumedEvent)
    [raised] = hub.history(waiting_id, EventRaisedEvent)
    assert (suspended.input, resumed.input) == ("lunch", "back")
    assert (raised.name, raised.input) == ("Finish", '"done"')


def test_history_of_failure_and_termination(hub):
    """Failures come with their details, a termination with its output."""
    def broken(_, __):
        raise ValueError("no such thing")

    def calls(ctx, _):
        yield ctx.call_activity(broken)

    hub.worker(calls, waiting, activities=[broken])
    failed_id = hub.run(calls).instance_id
    [failed] = hub.history(failed_id, TaskFailedEvent)
    [completed] = hub.history(failed_id, ExecutionCompletedEvent)
    assert (failed.task_scheduled_id, failed.failure_details.message) == (1, "no such thing")
    assert "no such thing" in completed.failure_details.message
    terminated_id = hub.start(waiting)
    hub.until(terminated_id, RUNNING)
    hub.client.terminate_orchestration(terminated_id, output="enough")
    hub.wait(terminated_id)
    [terminated] = hub.history(terminated_id, ExecutionTerminatedEvent)
    assert (terminated.input, terminated.recurse) == ('"enough"', True)


def test_history_is_that_of_the_last_generation(hub):
    """Continuing as new begins another history; the old execution has none any more."""
    def loop(ctx, count):
        if count == 0:
            yield ctx.wait_for_external_event("go on")
        if count < 3:
            ctx.continue_as_new(count + 1)
        return count

    hub.worker(loop)
    loop_id = hub.start(loop, 0)
    hub.until(loop_id, RUNNING)
    first = hub.started(loop_id).orchestration_instance.execution_id
    hub.client.raise_orchestration_event(loop_id, "go on")
    assert hub.wait(loop_id).get_output() == 3
    assert kinds(hub.client.get_orchestration_history(loop_id)) == [
        "OrchestratorStarted", "ExecutionStarted", "ExecutionCompleted"]
    assert hub.started(loop_id).input == "3"
    last = hub.started(loop_id).orchestration_instance.execution_id
    assert len(hub.client.get_orchestration_history(loop_id, execution_id=last)) == 3
    assert_refused(grpc.StatusCode.NOT_FOUND, loop_id,
                   hub.client.get_orchestration_history, loop_id, execution_id=first)


@pytest.mark.parametrize("blocks, channel_options", [
    (24, None),  # 3 MiB: below what the SDK's worker receives by default.
    (48, GrpcChannelOptions(max_receive_message_length=64 << 20)),
])
def test_large_history(hub, blocks, channel_options):
    """A history of several MiB comes in chunks, whole and in order."""
    def block(_, number):
        return f"{number:02}" * 64 * 1024

    def gather(ctx, count):
        yield task.when_all([ctx.call_activity(block, input=n) for n in range(count)])

    hub.worker(gather, activities=[block], channel_options=channel_options)
    gather_id = hub.start(gather, blocks)
    assert hub.wait(gather_id).runtime_status == COMPLETED
    results = {event.task_scheduled_id: event.result
               for event in hub.history(gather_id, TaskCompletedEvent)}
    assert results == {n + 1: f'"{f"{n:02}" * 64 * 1024}"' for n in range(blocks)}
    assert [event.event_id for event in hub.history(gather_id, TaskScheduledEvent)] == [
        *range(1, blocks + 1)]


def test_history_of_a_missing_instance(hub):
    """history_missing: no empty history, but NOT_FOUND."""
    assert_refused(grpc.StatusCode.NOT_FOUND, "nobody",
                   hub.client.get_orchestration_history, "nobody")
    pending = hub.start(echo)
    assert hub.client.get_orchestration_history(pending) == []
