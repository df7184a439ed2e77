"""Several workers on one hub, and workers that die."""

import subprocess
import sys
import threading

from durabletask.history import TaskCompletedEvent

import stuck_worker
from hub import FAILED, PENDING, SECONDS


def test_two_workers(hub):
    """two_streams: two workers share 100 instances; each does its part, each result is right."""
    def worker_function(name):
        def work(_, number):
            return [name, number * 3]
        return work

    def job(ctx, number):
        result = yield ctx.call_activity("work", input=number)
        return result

    for name in ("left", "right"):
        hub.worker(job, activities=[worker_function(name)])
    jobs = [hub.start(job, n) for n in range(100)]
    outputs = [hub.wait(job_id).get_output() for job_id in jobs]
    assert [result for _, result in outputs] == [n * 3 for n in range(100)]
    assert {worker for worker, _ in outputs} == {"left", "right"}


def test_killed_worker(hub):
    """stream_drop: what a worker held when it was killed is done by another one."""
    with subprocess.Popen([sys.executable, stuck_worker.__file__, hub.name],
                          stdout=subprocess.PIPE, text=True) as victim:
        try:
            survivor = hub.start(stuck_worker.survivor, "work")
            assert victim.stdout.readline() == f"{survivor} is stuck\n"
        finally:
            victim.kill()

    def work(_, text):
        return f"{text} done by the second worker"

    hub.worker(stuck_worker.survivor, activities=[work])
    assert hub.wait(survivor).get_output() == "work done by the second worker"
    assert len(hub.history(survivor, TaskCompletedEvent)) == 1


def test_worker_comes_later(hub):
    """Work that nobody takes waits, and the first worker that comes gets it."""
    def late(ctx, value):
        return value

    late_id = hub.start(late, "patience")
    assert hub.status(late_id) == PENDING
    hub.worker(late)
    assert hub.wait(late_id).get_output() == "patience"


def test_worker_replaced_in_the_middle(hub):
    """A worker that stops in order hands its orchestrations over to the next one."""
    arrived = threading.Event()

    def arrive(_, __):
        arrived.set()

    def relay(ctx, _):
        yield ctx.call_activity(arrive)
        baton = yield ctx.wait_for_external_event("baton")
        return baton

    first = hub.worker(relay, activities=[arrive])
    relay_id = hub.start(relay)
    assert arrived.wait(30)
    first.stop()
    hub.client.raise_orchestration_event(relay_id, "baton", data="carried on")
    hub.worker(relay, activities=[arrive])
    assert hub.wait(relay_id).get_output() == "carried on"


def test_item_above_the_receive_limit(hub):
    """large_item_charged: what a worker cannot receive ends with the reason, and others are
    served."""
    ran = []

    def note(_, number):
        ran.append(number)
        return number

    def small(ctx, number):
        return (yield ctx.call_activity(note, input=number))

    def large(_, text):
        return len(text)

    hub.worker(small, large, activities=[note])
    large_id = hub.start(large, "x" * (5 << 20))
    assert [hub.output(small, number) for number in range(20)] == list(range(20))
    # This client could not receive the state with its payloads either.
    state = hub.client.wait_for_orchestration_completion(large_id, timeout=SECONDS,
                                                         fetch_payloads=False)
    assert state.runtime_status == FAILED
    assert hub.output(small, 20) == 20
    assert ran == list(range(21))
