"""Several workers on one hub, and workers that die."""

import subprocess
import sys
import threading

from durabletask import task
from durabletask.history import TaskCompletedEvent
from durabletask.worker import (
    VersionFailureStrategy,
    VersioningOptions,
    VersionMatchStrategy,
)

import stuck_worker
from hub import COMPLETED, FAILED, PENDING


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


def test_filtered_workers(hub):
    """Workers with filters get only what they know, and each finds its work."""
    def make(_, what):
        return f"made {what}"

    def producer(ctx, what):
        made = yield ctx.call_activity(make, input=what)
        return made

    def family(ctx, names):
        results = yield task.when_all([ctx.call_sub_orchestrator("producer", input=n) for n in names])
        return results

    hub.worker(family, filtered=True)
    family_id = hub.start(family, ["a", "b"])
    hub.worker(activities=[make], filtered=True)
    hub.worker(producer, filtered=True)
    assert hub.wait(family_id).get_output() == ["made a", "made b"]


def versioned(ctx, _):
    return ctx.version


def only(version, failure):
    """Versioning options of a worker that runs just this version."""
    return VersioningOptions(version=version, match_strategy=VersionMatchStrategy.STRICT,
                             failure_strategy=failure)


def test_versions(hub):
    """The version of the start reaches the orchestrator; none stays none."""
    hub.worker(versioned)
    assert hub.output(versioned, version="1.2.3") == "1.2.3"
    assert hub.output(versioned) is None


def test_version_of_a_sub_orchestration(hub):
    """A child has the version its parent asked for, or the worker's default, not its parent's."""
    def parent(ctx, version):
        child = yield ctx.call_sub_orchestrator(versioned, version=version)
        return [ctx.version, child]

    hub.worker(parent, versioned, versioning=VersioningOptions(
        default_version="7", match_strategy=VersionMatchStrategy.NONE))
    assert hub.output(parent, "3.0", version="2.0") == ["2.0", "3.0"]
    assert hub.output(parent, None, version="2.0") == ["2.0", "7"]


def test_version_mismatch_fails(hub):
    """A worker that fails other versions does so with details."""
    hub.worker(versioned, versioning=only("1.0", VersionFailureStrategy.FAIL))
    assert hub.output(versioned, version="1.0") == "1.0"
    state = hub.run(versioned, version="2.0")
    assert state.runtime_status == FAILED
    assert state.failure_details.error_type == "VersionMismatch"


def test_version_mismatch_is_left_to_another_worker(hub):
    """abandon_reject_version: what one worker gives back is done by the one that can."""
    hub.worker(versioned, versioning=only("1.0", VersionFailureStrategy.REJECT))
    newer = hub.start(versioned, version="2.0")
    assert hub.output(versioned, version="1.0") == "1.0"
    assert hub.status(newer) == PENDING
    hub.worker(versioned, versioning=only("2.0", VersionFailureStrategy.REJECT))
    assert hub.wait(newer).get_output() == "2.0"


def test_continue_as_new_with_another_version(hub):
    """continue_reroute: the next generation goes to the worker that filters for its version."""
    def migrating(ctx, path):
        path.append(ctx.version)
        if ctx.version == "2":
            return path
        ctx.continue_as_new(path, new_version="2")

    for version in ("1", "2"):
        hub.worker(migrating, versioning=only(version, VersionFailureStrategy.FAIL), filtered=True)
    state = hub.run(migrating, [], version="1")
    assert (state.runtime_status, state.get_output()) == (COMPLETED, ["1", "2"])
