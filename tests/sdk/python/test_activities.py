"""Activities: chains, fan-out, retries, failures."""

import threading
from datetime import timedelta

from durabletask import task
from durabletask.history import TaskCompletedEvent, TaskFailedEvent

from hub import COMPLETED, FAILED

QUICKLY = timedelta(milliseconds=50)


def test_activity_chain(hub):
    """Each activity gets what the one before it returned."""
    def add(_, numbers):
        return sum(numbers)

    def chain(ctx, start):
        value = start
        for step in (1, 2, 3, 4, 5):
            value = yield ctx.call_activity(add, input=[value, step])
        return value

    hub.worker(chain, activities=[add])
    assert hub.output(chain, 100) == 115


def test_fan_out_fan_in_of_100(hub):
    """100 activities at once; results come back in the order of the calls, each recorded once."""
    def square(_, number):
        return number * number

    def fan_out(ctx, count):
        squares = yield task.when_all([ctx.call_activity(square, input=n) for n in range(count)])
        return squares

    hub.worker(fan_out, activities=[square])
    state = hub.run(fan_out, 100)
    assert state.get_output() == [n * n for n in range(100)]
    completed = [event.task_scheduled_id
                 for event in hub.history(state.instance_id, TaskCompletedEvent)]
    assert sorted(completed) == list(range(1, 101))


def test_activity_retries(hub):
    """A policy of three attempts reaches the third, which succeeds."""
    attempts = []

    def flaky(_, text):
        attempts.append(text)
        if len(attempts) < 3:
            raise RuntimeError(f"attempt {len(attempts)}")
        return text.upper()

    def retry(ctx, text):
        policy = task.RetryPolicy(first_retry_interval=QUICKLY, max_number_of_attempts=3)
        result = yield ctx.call_activity(flaky, input=text, retry_policy=policy)
        return result

    hub.worker(retry, activities=[flaky])
    state = hub.run(retry, "done")
    assert state.get_output() == "DONE"
    assert attempts == ["done"] * 3
    assert len(hub.history(state.instance_id, TaskFailedEvent)) == 2


def test_activity_retries_exhausted(hub):
    """When every attempt fails, the orchestration sees the failure and can answer it."""
    attempts = []

    def broken(_, __):
        attempts.append(1)
        raise ValueError("never works")

    def retry(ctx, _):
        policy = task.RetryPolicy(first_retry_interval=QUICKLY, max_number_of_attempts=4,
                                  backoff_coefficient=2)
        try:
            yield ctx.call_activity(broken, retry_policy=policy)
        except task.TaskFailedError as error:
            return [error.details.error_type, error.details.message]

    hub.worker(retry, activities=[broken])
    assert hub.output(retry) == ["builtins.ValueError", "never works"]
    assert len(attempts) == 4


def test_unhandled_exception(hub):
    """An exception of the orchestrator fails it with type, message and stack trace."""
    def throws(ctx, _):
        raise KeyError("no such thing")

    hub.worker(throws)
    state = hub.run(throws)
    assert state.runtime_status == FAILED
    assert state.failure_details.error_type == "builtins.KeyError"
    assert state.failure_details.message == "'no such thing'"
    assert "in throws" in state.failure_details.stack_trace
    assert state.serialized_output is None


def test_unhandled_exception_of_an_activity(hub):
    """A failed activity that nobody catches is the inner failure of the orchestration's."""
    def throws(_, __):
        raise ValueError("Grüße, 世界")

    def calls(ctx, _):
        yield ctx.call_activity(throws)

    hub.worker(calls, activities=[throws])
    state = hub.run(calls)
    assert state.runtime_status == FAILED
    assert state.failure_details.error_type == "durabletask.task.TaskFailedError"
    assert "Grüße, 世界" in state.failure_details.message
    inner = state.failure_details.inner_failure
    assert (inner.error_type, inner.message) == ("builtins.ValueError", "Grüße, 世界")
    assert "in throws" in inner.stack_trace


def test_activity_not_registered(hub):
    """A worker that does not know the activity fails it; nothing hangs."""
    def calls(ctx, _):
        yield ctx.call_activity("nobody")

    hub.worker(calls)
    state = hub.run(calls)
    assert state.runtime_status == FAILED
    assert "nobody" in state.failure_details.message


def test_large_fan_out_result(hub):
    """32 results of 64 KiB come back whole, and so does the output of 2 MiB made of them."""
    def block(_, letter):
        return letter * 65536

    def gather(ctx, letters):
        blocks = yield task.when_all([ctx.call_activity(block, input=c) for c in letters])
        return "".join(blocks)

    hub.worker(gather, activities=[block])
    letters = "abcdefghijklmnopqrstuvwxyz012345"
    assert hub.output(gather, letters) == "".join(letter * 65536 for letter in letters)


def test_activities_of_one_orchestration_run_at_the_same_time(hub):
    """Two activities that wait for each other both come to an end."""
    meeting = threading.Barrier(2, timeout=30)

    def meet(_, name):
        meeting.wait()
        return name

    def pair(ctx, _):
        met = yield task.when_all([ctx.call_activity(meet, input=name) for name in ("a", "b")])
        return met

    hub.worker(pair, activities=[meet])
    state = hub.run(pair)
    assert (state.runtime_status, state.get_output()) == (COMPLETED, ["a", "b"])
