"""Rewinding failed orchestrations: what failed runs again, what succeeded does not."""

import threading
from datetime import timedelta

import grpc
import pytest
from durabletask import task
from durabletask.history import (
    EventSentEvent,
    ExecutionRewoundEvent,
    SubOrchestrationInstanceCompletedEvent,
    SubOrchestrationInstanceCreatedEvent,
    SubOrchestrationInstanceFailedEvent,
    TaskCompletedEvent,
    TaskFailedEvent,
    TaskScheduledEvent,
    TimerCreatedEvent,
    TimerFiredEvent,
)

from hub import COMPLETED, FAILED, RUNNING, SECONDS, assert_refused, echo, eventually, waiting


class Flaky:
    """An activity that fails so many times, and counts its runs."""

    def __init__(self, failures):
        self.failures = failures
        self.runs = 0

    def __call__(self, _, value):
        self.runs += 1
        if self.runs <= self.failures:
            raise RuntimeError(f"run {self.runs} failed")
        return value


def activity(name, function):
    """The function under the name that the SDK registers it with."""
    def call(ctx, value):
        return function(ctx, value)
    call.__name__ = name
    return call


def execution(hub, instance_id):
    return hub.started(instance_id).orchestration_instance.execution_id


def fail(hub, orchestrator, instance_id):
    assert hub.run(orchestrator, instance_id=instance_id).runtime_status == FAILED


def steps(ctx, _):
    first = yield ctx.call_activity("good", input="first")
    second = yield ctx.call_activity("flaky", input="second")
    return [first, second]


def parent_of_steps(ctx, _):
    result = yield ctx.call_sub_orchestrator(steps, instance_id=f"{ctx.instance_id}-child")
    return result


def start_steps(hub, failures):
    """Starts a worker for `steps`; returns its activities."""
    good, flaky = Flaky(0), Flaky(failures)
    hub.worker(steps, parent_of_steps,
               activities=[activity("good", good), activity("flaky", flaky)])
    return good, flaky


def test_rewind_failed_activity(hub):
    """rewind_failed_activity: only the failed one runs again, under a new execution id."""
    good, flaky = start_steps(hub, failures=1)
    fail(hub, steps, "mine")
    before = execution(hub, "mine")
    created = hub.state("mine").created_at
    hub.client.rewind_orchestration("mine", reason="repaired")
    state = hub.wait("mine")
    assert (state.runtime_status, state.get_output()) == (COMPLETED, ["first", "second"])
    assert (state.failure_details, state.created_at) == (None, created)
    assert (good.runs, flaky.runs) == (1, 2)
    assert execution(hub, "mine") != before
    assert hub.history("mine", TaskFailedEvent) == []
    assert [event.result for event in hub.history("mine", TaskCompletedEvent)] == [
        '"first"', '"second"']
    [rewound] = hub.history("mine", ExecutionRewoundEvent)
    assert rewound.reason == "repaired"


def test_rewind_some_of_many(hub):
    """Of activities at the same time, those with a result keep it, and all others run again."""
    runs = []
    broken = {3, 7}

    def work(_, number):
        runs.append(number)
        if number in broken:
            raise RuntimeError(f"{number} is broken")
        return number * 10

    def fan_out(ctx, count):
        tasks = [ctx.call_activity(work, input=n) for n in range(count)]
        results = yield task.when_all(tasks)
        return results

    hub.worker(fan_out, activities=[work])
    fan_out_id = hub.start(fan_out, 10)
    assert hub.wait(fan_out_id).runtime_status == FAILED
    failed = {event.task_scheduled_id - 1 for event in hub.history(fan_out_id, TaskFailedEvent)}
    done = {event.task_scheduled_id - 1 for event in hub.history(fan_out_id, TaskCompletedEvent)}
    broken.clear()
    hub.client.rewind_orchestration(fan_out_id)
    assert hub.wait(fan_out_id).get_output() == [n * 10 for n in range(10)]
    assert failed and all(runs.count(n) == 2 for n in failed)
    assert all(runs.count(n) == 1 for n in done)


def test_rewind_twice(hub):
    """rewind_twice: what fails again can be rewound again."""
    good, flaky = start_steps(hub, failures=2)
    fail(hub, steps, "mine")
    hub.client.rewind_orchestration("mine", reason="once")
    assert hub.wait("mine").runtime_status == FAILED
    hub.client.rewind_orchestration("mine", reason="twice")
    assert hub.wait("mine").get_output() == ["first", "second"]
    assert (good.runs, flaky.runs) == (1, 3)
    assert [event.reason for event in hub.history("mine", ExecutionRewoundEvent)] == [
        "once", "twice"]


def test_rewind_failed_child(hub):
    """rewind_failed_child: the failed child is rewound with its parent, and answers it."""
    good, flaky = start_steps(hub, failures=1)
    fail(hub, parent_of_steps, "top")
    assert hub.status("top-child") == FAILED
    before = execution(hub, "top-child")
    hub.client.rewind_orchestration("top", reason="repaired")
    assert hub.wait("top").get_output() == ["first", "second"]
    assert hub.wait("top-child").get_output() == ["first", "second"]
    assert (good.runs, flaky.runs) == (1, 2)
    assert execution(hub, "top-child") != before
    assert hub.history("top", SubOrchestrationInstanceFailedEvent) == []
    assert len(hub.history("top", SubOrchestrationInstanceCompletedEvent)) == 1


def test_rewind_purged_child(hub):
    """rewind_purged_child: a child that is gone is created again, and does all its work."""
    good, flaky = start_steps(hub, failures=1)
    fail(hub, parent_of_steps, "top")
    assert hub.client.purge_orchestration("top-child").deleted_instance_count == 1
    hub.client.rewind_orchestration("top")
    assert hub.wait("top").get_output() == ["first", "second"]
    assert hub.status("top-child") == COMPLETED
    assert (good.runs, flaky.runs) == (2, 2)


def test_rewind_child_only(hub):
    """A rewound child completes for itself; its parent stays FAILED."""
    start_steps(hub, failures=1)
    fail(hub, parent_of_steps, "top")
    hub.client.rewind_orchestration("top-child")
    assert hub.wait("top-child").get_output() == ["first", "second"]
    assert hub.status("top") == FAILED


def test_rewind_with_a_live_sibling(hub):
    """rewind_sibling_running: the child that was live all along answers the rewound parent."""
    repaired = []

    def flaky(_, __):
        if not repaired:
            raise RuntimeError("not yet")

    def parent(ctx, _):
        sibling = ctx.call_sub_orchestrator(waiting, instance_id=f"{ctx.instance_id}-sibling")
        yield ctx.call_activity(flaky)
        result = yield sibling
        return result

    hub.worker(parent, waiting, activities=[flaky])
    fail(hub, parent, "top")
    hub.until("top-sibling", RUNNING)
    repaired.append(True)
    hub.client.rewind_orchestration("top")
    hub.until("top", RUNNING)
    hub.client.raise_orchestration_event("top-sibling", "finish", data="together")
    assert hub.wait("top").get_output() == "together"


def test_rewind_after_a_child_ended_meanwhile(hub):
    """rewind_child_ended_meanwhile: what the child answered to nobody is told now."""
    repaired = []

    def flaky(_, __):
        if not repaired:
            raise RuntimeError("not yet")

    def parent(ctx, _):
        child = ctx.call_sub_orchestrator(waiting, instance_id=f"{ctx.instance_id}-child")
        yield ctx.call_activity(flaky)
        result = yield child
        return result

    hub.worker(parent, waiting, activities=[flaky])
    fail(hub, parent, "top")
    hub.client.raise_orchestration_event("top-child", "finish", data="long ago")
    assert hub.wait("top-child").runtime_status == COMPLETED
    repaired.append(True)
    hub.client.rewind_orchestration("top")
    assert hub.wait("top").get_output() == "long ago"


def test_rewind_without_a_worker(hub):
    """A rewound instance is RUNNING at once, and the next worker takes it up."""
    worker = hub.worker(steps, activities=[activity("good", Flaky(0)), activity("flaky", Flaky(9))])
    fail(hub, steps, "mine")
    worker.stop()
    hub.client.rewind_orchestration("mine")
    state = hub.state("mine")
    assert (state.runtime_status, state.serialized_output) == (RUNNING, None)
    assert state.failure_details is None
    good, _ = start_steps(hub, failures=0)
    assert hub.wait("mine").get_output() == ["first", "second"]
    assert good.runs == 0


def test_rewind_refused(hub):
    """rewind_not_failed, rewind_missing: only failed ones can be rewound."""
    hub.worker(echo, waiting)
    echo_id = hub.run(echo, "fine").instance_id
    waiting_id = hub.start(waiting)
    hub.until(waiting_id, RUNNING)
    for instance_id in (echo_id, waiting_id):
        assert_refused(grpc.StatusCode.FAILED_PRECONDITION, "not allowed",
                       hub.client.rewind_orchestration, instance_id)
    assert (hub.status(echo_id), hub.status(waiting_id)) == (COMPLETED, RUNNING)
    assert_refused(grpc.StatusCode.NOT_FOUND, "nobody",
                   hub.client.rewind_orchestration, "nobody")


def test_rewind_of_ids_used_again(hub):
    """rewind_python_ids: the SDK retries with the same task id; what succeeded at last is kept."""
    retried, last = Flaky(1), Flaky(1)

    def work(ctx, _):
        policy = task.RetryPolicy(first_retry_interval=timedelta(milliseconds=1),
                                  max_number_of_attempts=2)
        first = yield ctx.call_activity("retried", input="retried", retry_policy=policy)
        second = yield ctx.call_activity("last", input="last")
        return [first, second]

    hub.worker(work, activities=[activity("retried", retried), activity("last", last)])
    fail(hub, work, "mine")
    hub.client.rewind_orchestration("mine")
    assert hub.wait("mine").get_output() == ["retried", "last"]
    assert (retried.runs, last.runs) == (2, 2)
    assert len(hub.history("mine", TaskFailedEvent)) == 1


def after_catch(kind):
    """An orchestrator of two steps that does something of this kind when the first fails, and
    fails."""
    def after_catch(ctx, _):
        try:
            first = yield ctx.call_activity("flaky", input="first")
        except task.TaskFailedError:
            if kind == "activity":
                yield ctx.call_activity("handle", input="handled")
            elif kind == "timer":
                yield ctx.create_timer(timedelta(milliseconds=1))
            elif kind == "child":
                yield ctx.call_sub_orchestrator(echo, input="handled",
                                                instance_id=f"{ctx.instance_id}-child")
            elif kind == "event":
                ctx.send_event(f"{ctx.instance_id}-other", "failed")
            raise
        second = yield ctx.call_activity("good", input="second")
        return [first, second]
    return after_catch


@pytest.mark.parametrize("kind", ["activity", "timer", "child", "event"])
def test_rewind_catch(hub, kind):
    """rewind_catch: what was done because of the failure is undone with it."""
    good, flaky, handle = Flaky(0), Flaky(1), Flaky(0)
    orchestrator = after_catch(kind)
    hub.worker(orchestrator, echo,
               activities=[activity("good", good), activity("flaky", flaky),
                           activity("handle", handle)])
    fail(hub, orchestrator, "mine")
    hub.client.rewind_orchestration("mine")
    state = hub.wait("mine")
    assert (state.runtime_status, state.get_output()) == (COMPLETED, ["first", "second"])
    assert (good.runs, flaky.runs, handle.runs) == (1, 2, kind == "activity")
    for undone in (TaskFailedEvent, TimerCreatedEvent, SubOrchestrationInstanceCreatedEvent,
                   EventSentEvent):
        assert hub.history("mine", undone) == []


def test_rewind_catch_twice(hub):
    """rewind_catch: the failure comes again, is handled again, and can be rewound again."""
    good, flaky, handle = Flaky(0), Flaky(2), Flaky(0)
    orchestrator = after_catch("activity")
    hub.worker(orchestrator, activities=[activity("good", good), activity("flaky", flaky),
                                         activity("handle", handle)])
    fail(hub, orchestrator, "mine")
    hub.client.rewind_orchestration("mine")
    assert hub.wait("mine").runtime_status == FAILED
    assert (flaky.runs, handle.runs) == (2, 2)
    hub.client.rewind_orchestration("mine")
    assert hub.wait("mine").get_output() == ["first", "second"]
    assert (good.runs, flaky.runs, handle.runs) == (1, 3, 2)


def test_rewind_with_a_live_child_of_the_handler(hub):
    """rewind_catch: a child that is to be undone must have ended; the refusal names it."""
    flaky = Flaky(1)

    def orchestrator(ctx, _):
        try:
            yield ctx.call_activity("flaky")
        except task.TaskFailedError:
            ctx.call_sub_orchestrator(waiting, instance_id=f"{ctx.instance_id}-child")
            raise
        return "done"

    hub.worker(orchestrator, waiting, activities=[activity("flaky", flaky)])
    fail(hub, orchestrator, "mine")
    hub.until("mine-child", RUNNING)
    assert_refused(grpc.StatusCode.FAILED_PRECONDITION, "'mine-child'",
                   hub.client.rewind_orchestration, "mine")
    assert (hub.status("mine"), hub.status("mine-child")) == (FAILED, RUNNING)
    hub.client.raise_orchestration_event("mine-child", "finish")
    hub.wait("mine-child")
    hub.client.rewind_orchestration("mine")
    assert hub.wait("mine").get_output() == "done"


def test_rewind_fallback(hub):
    """rewind_fallback: a failure that a fallback handled stays, and only the later step runs
    again."""
    primary, fallback, later = Flaky(9), Flaky(0), Flaky(1)

    def orchestrator(ctx, _):
        try:
            first = yield ctx.call_activity("primary", input="primary")
        except task.TaskFailedError:
            first = yield ctx.call_activity("fallback", input="fallback")
        second = yield ctx.call_activity("later", input="later")
        return [first, second]

    hub.worker(orchestrator, activities=[activity("primary", primary),
                                         activity("fallback", fallback), activity("later", later)])
    fail(hub, orchestrator, "mine")
    hub.client.rewind_orchestration("mine")
    assert hub.wait("mine").get_output() == ["fallback", "later"]
    assert (primary.runs, fallback.runs, later.runs) == (1, 1, 2)


@pytest.mark.parametrize("failures", [3, 5])
def test_rewind_retries(hub, failures):
    """rewind_retries: the last attempt runs again; earlier ones and their timers stay."""
    good, flaky = Flaky(0), Flaky(failures)

    def orchestrator(ctx, _):
        policy = task.RetryPolicy(first_retry_interval=timedelta(milliseconds=1),
                                  max_number_of_attempts=3)
        first = yield ctx.call_activity("flaky", input="first", retry_policy=policy)
        second = yield ctx.call_activity("good", input="second")
        return [first, second]

    hub.worker(orchestrator, activities=[activity("flaky", flaky), activity("good", good)])
    fail(hub, orchestrator, "mine")
    assert flaky.runs == 3
    for again in range(failures - 3):
        hub.client.rewind_orchestration("mine")
        assert hub.wait("mine").runtime_status == FAILED
        assert flaky.runs == 4 + again
    hub.client.rewind_orchestration("mine")
    assert hub.wait("mine").get_output() == ["first", "second"]
    assert (good.runs, flaky.runs) == (1, failures + 1)
    assert [len(hub.history("mine", kind)) for kind in (TaskFailedEvent, TimerFiredEvent)] == [2, 2]


def test_rewind_retried_child(hub):
    """rewind_retries, of a child: its last attempt is rewound."""
    flaky = Flaky(2)

    def child(ctx, _):
        answer = yield ctx.call_activity("flaky", input="at last")
        return answer

    def orchestrator(ctx, _):
        policy = task.RetryPolicy(first_retry_interval=timedelta(milliseconds=1),
                                  max_number_of_attempts=2)
        answer = yield ctx.call_sub_orchestrator(child, instance_id=f"{ctx.instance_id}-child",
                                                 retry_policy=policy)
        return answer

    hub.worker(orchestrator, child, activities=[activity("flaky", flaky)])
    fail(hub, orchestrator, "mine")
    hub.client.rewind_orchestration("mine")
    assert hub.wait("mine").get_output() == "at last"
    assert flaky.runs == 3


def two_branches(ctx, _):
    """Two steps after each other, beside a third whose failure is looked at last."""
    bad = ctx.call_activity("flaky", input="bad")
    first = yield ctx.call_activity("gated", input="first")
    second = yield ctx.call_activity("good", input="second")
    last = yield bad
    return [first, second, last]


def compensated_fan_out(ctx, _):
    """Two at once; when both have ended and one has failed, something else is done before it
    fails."""
    bad = ctx.call_activity("flaky", input="bad")
    first = yield ctx.call_activity("gated", input="first")
    try:
        last = yield bad
    except task.TaskFailedError:
        yield ctx.call_activity("good", input="compensated")
        raise
    return [first, last]


def fail_early(hub, orchestrator):
    """Runs it to its failure; "gated" ends after "flaky" has failed. Returns good, gated and
    flaky."""
    good, gated, flaky = Flaky(0), Flaky(0), Flaky(1)
    gate = threading.Event()

    def wait_for_gate(_, value):
        gate.wait(SECONDS)
        return gated(_, value)

    hub.worker(orchestrator, activities=[activity("good", good), activity("flaky", flaky),
                                         activity("gated", wait_for_gate)])
    hub.start(orchestrator, instance_id="mine")
    eventually(lambda: hub.history("mine", TaskFailedEvent))
    gate.set()
    assert hub.wait("mine").runtime_status == FAILED
    return good, gated, flaky


def test_rewind_branches(hub):
    """rewind_branches: what succeeded after another branch had failed does not run again."""
    good, gated, flaky = fail_early(hub, two_branches)
    hub.client.rewind_orchestration("mine")
    assert hub.wait("mine").get_output() == ["first", "second", "bad"]
    assert (good.runs, gated.runs, flaky.runs) == (1, 1, 2)


def test_rewind_of_a_refused_replay(hub):
    """rewind_refused_replay: what looks like a branch and was none is undone by a second rewind."""
    good, gated, _ = fail_early(hub, compensated_fan_out)
    hub.client.rewind_orchestration("mine")
    state = hub.wait("mine")
    assert state.runtime_status == FAILED
    assert "NonDeterminism" in state.failure_details.error_type
    hub.client.rewind_orchestration("mine")
    assert hub.wait("mine").get_output() == ["first", "bad"]
    assert (good.runs, gated.runs) == (1, 1)


def test_rewind_after_code_fix(hub):
    """rewind_after_code_fix: the code threw after it had scheduled something; mended, it does
    not."""
    good, wrong = Flaky(0), Flaky(0)

    def broken(ctx, _):
        first = yield ctx.call_activity("good", input="first")
        ctx.call_activity("wrong", input=first)
        raise ValueError("a bug")

    def mended(ctx, _):
        first = yield ctx.call_activity("good", input="first")
        second = yield ctx.call_activity("good", input="second")
        return [first, second]

    broken.__name__ = mended.__name__ = "orchestrator"
    activities = [activity("good", good), activity("wrong", wrong)]
    worker = hub.worker(broken, activities=activities)
    fail(hub, broken, "mine")
    assert len(hub.history("mine", TaskScheduledEvent)) == 2
    worker.stop()
    hub.client.rewind_orchestration("mine")
    hub.worker(mended, activities=activities)
    assert hub.wait("mine").get_output() == ["first", "second"]
    assert good.runs == 2
