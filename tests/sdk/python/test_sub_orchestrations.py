"""Sub-orchestrations: results, failures, retries, ids in use."""

from datetime import timedelta

from durabletask import task

from hub import COMPLETED, FAILED, RUNNING, TERMINATED


def test_sub_orchestrations(hub):
    """Children and grandchildren know their parent, and their results come back in order."""
    def leaf(ctx, number):
        return [ctx.parent_instance_id, number]

    def branch(ctx, number):
        parent, result = yield ctx.call_sub_orchestrator(leaf, input=number * 10)
        assert parent == ctx.instance_id
        return [ctx.parent_instance_id, result + number]

    def tree(ctx, count):
        children = [ctx.call_sub_orchestrator(branch, input=n) for n in range(count)]
        answers = yield task.when_all(children)
        assert all(parent == ctx.instance_id for parent, _ in answers)
        return [result for _, result in answers]

    hub.worker(tree, branch, leaf)
    assert hub.output(tree, 10) == [n * 11 for n in range(10)]


def test_failing_sub_orchestration(hub):
    """The failure of a child reaches its parent, with type and message."""
    def child(ctx, _):
        raise ValueError("child gives up")

    def parent(ctx, _):
        try:
            yield ctx.call_sub_orchestrator(child, instance_id=f"{ctx.instance_id}-child")
        except task.TaskFailedError as error:
            return [error.details.error_type, error.details.message]

    hub.worker(parent, child)
    state = hub.run(parent)
    assert state.get_output() == ["builtins.ValueError", "child gives up"]
    assert hub.status(f"{state.instance_id}-child") == FAILED


def test_sub_orchestration_retried_with_the_same_id(hub):
    """child_retry_same_id: a child that failed twice under one id completes under the same id."""
    runs = []

    def child(ctx, _):
        if not ctx.is_replaying:
            runs.append(ctx.instance_id)
        if len(runs) < 3:
            raise RuntimeError("again")
        return "third time lucky"

    def parent(ctx, _):
        policy = task.RetryPolicy(first_retry_interval=timedelta(milliseconds=50),
                                  max_number_of_attempts=3)
        result = yield ctx.call_sub_orchestrator(
            child, instance_id=f"{ctx.instance_id}-child", retry_policy=policy)
        return result

    hub.worker(parent, child)
    state = hub.run(parent)
    assert state.get_output() == "third time lucky"
    assert runs == [f"{state.instance_id}-child"] * 3
    assert hub.status(f"{state.instance_id}-child") == COMPLETED


def test_sub_orchestration_id_in_use(hub):
    """child_id_running: the id of a live instance fails the call, and leaves that instance
    alone."""
    def busy(ctx, _):
        result = yield ctx.wait_for_external_event("finish")
        return result

    def parent(ctx, taken):
        try:
            yield ctx.call_sub_orchestrator(busy, instance_id=taken)
        except task.TaskFailedError as error:
            return error.details.error_type

    hub.worker(parent, busy)
    taken = hub.start(busy)
    hub.until(taken, RUNNING)
    assert hub.output(parent, taken) == "OrchestrationAlreadyExists"
    hub.client.raise_orchestration_event(taken, "finish", data="undisturbed")
    assert hub.wait(taken).get_output() == "undisturbed"


def test_child_terminated(hub):
    """child_terminated: the parent of a terminated child sees a failure."""
    def child(ctx, _):
        yield ctx.wait_for_external_event("never")

    def parent(ctx, _):
        try:
            yield ctx.call_sub_orchestrator(child, instance_id=f"{ctx.instance_id}-child")
        except task.TaskFailedError as error:
            return error.details.error_type

    hub.worker(parent, child)
    parent_id = hub.start(parent)
    child_id = f"{parent_id}-child"
    hub.client.wait_for_orchestration_start(parent_id)
    hub.client.wait_for_orchestration_start(child_id)
    hub.client.terminate_orchestration(child_id, output="enough")
    assert hub.wait(parent_id).get_output() == "OrchestrationTerminated"
    assert hub.status(child_id) == TERMINATED


def test_event_to_child_of_same_turn(hub):
    """event_to_child_of_same_turn: a child gets what its parent sends in the turn that made it."""
    def child(ctx, _):
        return (yield ctx.wait_for_external_event("go"))

    def parent(ctx, again):
        child_id = f"{ctx.instance_id}-child"
        answers = []
        for round_number in range(again):  # from the second on it replaces an ended one
            called = ctx.call_sub_orchestrator(child, instance_id=child_id)
            ctx.send_event(child_id, "go", data=round_number)
            answers.append((yield called))
        return answers

    hub.worker(parent, child)
    assert hub.output(parent, 3) == [0, 1, 2]
