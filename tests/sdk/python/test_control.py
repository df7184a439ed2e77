"""Suspend and resume, terminate, custom status."""

from hub import (
    COMPLETED,
    FAILED,
    PENDING,
    RUNNING,
    SUSPENDED,
    TERMINATED,
    eventually,
    waiting,
)


def parent_of_waiting(ctx, generations):
    """Has one child, named <own id>-child, and so on down; the last one is waiting."""
    child = parent_of_waiting if generations > 1 else waiting
    result = yield ctx.call_sub_orchestrator(
        child, input=generations - 1, instance_id=f"{ctx.instance_id}-child")
    return result


def test_suspend_and_resume(hub):
    """A suspended orchestration keeps its events for later; others go on meanwhile."""
    def quick(ctx, _):
        return "quick"

    hub.worker(waiting, quick)
    waiting_id = hub.start(waiting)
    hub.until(waiting_id, RUNNING)
    hub.client.suspend_orchestration(waiting_id, reason="lunch")
    hub.until(waiting_id, SUSPENDED)
    hub.client.raise_orchestration_event(waiting_id, "finish", data="after lunch")
    assert hub.output(quick) == "quick"
    assert hub.status(waiting_id) == SUSPENDED
    hub.client.resume_orchestration(waiting_id, reason="back")
    state = hub.wait(waiting_id)
    assert (state.runtime_status, state.get_output()) == (COMPLETED, "after lunch")


def test_suspend_and_resume_without_effect(hub):
    """suspend_twice, resume_not_suspended, suspend_completed: superfluous calls change nothing."""
    hub.worker(waiting)
    waiting_id = hub.start(waiting)
    hub.client.resume_orchestration(waiting_id)
    hub.until(waiting_id, RUNNING)
    hub.client.suspend_orchestration(waiting_id)
    hub.client.suspend_orchestration(waiting_id)
    hub.until(waiting_id, SUSPENDED)
    hub.client.resume_orchestration(waiting_id)
    hub.client.resume_orchestration(waiting_id)
    hub.until(waiting_id, RUNNING)
    hub.client.raise_orchestration_event(waiting_id, "finish", data="fine")
    assert hub.wait(waiting_id).get_output() == "fine"
    hub.client.suspend_orchestration(waiting_id)
    hub.client.resume_orchestration(waiting_id)
    assert hub.status(waiting_id) == COMPLETED


def test_terminate_recursive(hub):
    """Terminating an orchestration takes its children and grandchildren along."""
    hub.worker(parent_of_waiting, waiting)
    top = hub.start(parent_of_waiting, 2)
    family = [top, f"{top}-child", f"{top}-child-child"]
    for instance_id in family:
        hub.client.wait_for_orchestration_start(instance_id)
    hub.client.terminate_orchestration(top, output="that is all", recursive=True)
    for instance_id in family:
        state = hub.wait(instance_id)
        assert (state.runtime_status, state.get_output()) == (TERMINATED, "that is all")


def test_terminate_recursive_below_an_ended_child(hub):
    """recursive_terminate: what a child started without waiting ends, although the child has
    ended."""
    def starter(ctx, _):
        ctx.call_sub_orchestrator(waiting, instance_id=f"{ctx.instance_id}-below")

    def root(ctx, _):
        yield ctx.call_sub_orchestrator(starter, instance_id=f"{ctx.instance_id}-child")
        yield ctx.wait_for_external_event("never")

    hub.worker(root, starter, waiting)
    top = hub.start(root)
    assert hub.wait(f"{top}-child").runtime_status == COMPLETED
    hub.until(f"{top}-child-below", RUNNING)
    hub.client.terminate_orchestration(top, output="that is all", recursive=True)
    for instance_id in (top, f"{top}-child-below"):
        state = hub.wait(instance_id)
        assert (state.runtime_status, state.get_output()) == (TERMINATED, "that is all")


def test_terminate_not_recursive(hub):
    """Without recursion the child goes on to its own end; its result changes nothing above."""
    hub.worker(parent_of_waiting, waiting)
    top = hub.start(parent_of_waiting, 1)
    child = f"{top}-child"
    for instance_id in (top, child):
        hub.client.wait_for_orchestration_start(instance_id)
    hub.client.terminate_orchestration(top, output="only me", recursive=False)
    assert hub.wait(top).runtime_status == TERMINATED
    hub.client.raise_orchestration_event(child, "finish", data="still here")
    state = hub.wait(child)
    assert (state.runtime_status, state.get_output()) == (COMPLETED, "still here")
    assert hub.client.get_orchestration_state(top).get_output() == "only me"


def test_terminate_suspended(hub):
    """terminate_suspended: a suspended orchestration can be terminated."""
    hub.worker(waiting)
    waiting_id = hub.start(waiting)
    hub.client.suspend_orchestration(waiting_id)
    hub.until(waiting_id, SUSPENDED)
    hub.client.terminate_orchestration(waiting_id, output=["enough"])
    state = hub.wait(waiting_id)
    assert (state.runtime_status, state.get_output()) == (TERMINATED, ["enough"])


def test_terminate_pending(hub):
    """terminate_pending: without any worker it ends at once, and no worker ever gets it."""
    started = []

    def never(ctx, _):
        started.append(ctx.instance_id)

    def probe(ctx, _):
        return "ran"

    never_id = hub.start(never)
    assert hub.status(never_id) == PENDING
    hub.client.terminate_orchestration(never_id, output="not needed")
    state = hub.client.get_orchestration_state(never_id)
    assert (state.runtime_status, state.get_output()) == (TERMINATED, "not needed")
    hub.worker(never, probe)
    assert hub.output(probe) == "ran"
    assert started == []


def test_terminate_missing_or_ended(hub):
    """terminate_missing: terminating nothing, or what has ended, is no error and changes
    nothing."""
    hub.worker(waiting)
    hub.client.terminate_orchestration("nobody")
    assert hub.client.get_orchestration_state("nobody") is None
    waiting_id = hub.start(waiting)
    hub.client.raise_orchestration_event(waiting_id, "finish", data=1)
    hub.wait(waiting_id)
    hub.client.terminate_orchestration(waiting_id, output=2)
    state = hub.client.get_orchestration_state(waiting_id)
    assert (state.runtime_status, state.get_output()) == (COMPLETED, 1)


def test_custom_status(hub):
    """The custom status shows while the orchestration runs, follows it, and stays at its end."""
    def talkative(ctx, steps):
        for step in range(steps):
            ctx.set_custom_status({"step": step, "of": steps})
            yield ctx.wait_for_external_event("next")
        ctx.set_custom_status("over ✓")
        return steps

    hub.worker(talkative)
    talkative_id = hub.start(talkative, 3)
    for step in range(3):
        expected = {"step": step, "of": 3}
        seen = lambda: hub.client.get_orchestration_state(talkative_id).get_custom_status()
        eventually(lambda: seen() == expected)
        hub.client.raise_orchestration_event(talkative_id, "next")
    state = hub.wait(talkative_id)
    assert (state.get_output(), state.get_custom_status()) == (3, "over ✓")


def test_custom_status_over_failure_and_continue_as_new(hub):
    """custom_status_over_continue: it survives continue-as-new, and a failure of a later turn."""
    def unlucky(ctx, generation):
        if generation == 1:
            ctx.set_custom_status("set once")
            ctx.continue_as_new(2, save_events=True)
        else:
            yield ctx.wait_for_external_event("fail")
            raise RuntimeError("as told")

    hub.worker(unlucky)
    unlucky_id = hub.start(unlucky, 1)
    hub.client.raise_orchestration_event(unlucky_id, "fail")
    state = hub.wait(unlucky_id)
    assert (state.runtime_status, state.get_custom_status()) == (FAILED, "set once")


def test_suspend_stops_generations(hub):
    """suspend_over_continue: who continues as new without waiting begins no generation while
    suspended."""
    generations = []

    def spinning(ctx, number):
        generations.append(number)
        ctx.continue_as_new(number + 1)

    def quick(ctx, _):
        return "quick"

    hub.worker(spinning, quick)
    instance_id = hub.start(spinning, 1)
    eventually(lambda: len(generations) > 3)
    hub.client.suspend_orchestration(instance_id)
    hub.until(instance_id, SUSPENDED)
    count = len(generations)
    for _ in range(20):  # the worker and the server are busy all the same
        assert hub.output(quick) == "quick"
    assert (hub.status(instance_id), len(generations)) == (SUSPENDED, count)
    hub.client.resume_orchestration(instance_id)
    eventually(lambda: len(generations) > count + 3)
    hub.client.suspend_orchestration(instance_id)
    hub.until(instance_id, SUSPENDED)
    hub.client.terminate_orchestration(instance_id, output="enough")
    state = hub.wait(instance_id)
    assert (state.runtime_status, state.get_output()) == (TERMINATED, "enough")


def test_events_of_a_suspended_orchestration(hub):
    """suspend_ends_turn: none is lost, though each generation takes one and continues as new."""
    def collecting(ctx, seen):
        seen.append((yield ctx.wait_for_external_event("e")))
        if len(seen) == 10:
            return seen
        ctx.continue_as_new(seen, save_events=True)

    hub.worker(collecting)
    instance_id = hub.start(collecting, [])
    hub.until(instance_id, RUNNING)
    for number in range(10):
        hub.client.raise_orchestration_event(instance_id, "e", data=number)
        if number == 1:
            hub.client.suspend_orchestration(instance_id)
    hub.until(instance_id, SUSPENDED)
    hub.client.resume_orchestration(instance_id)
    assert sorted(hub.wait(instance_id).get_output()) == list(range(10))
