"""Purging ended instances, and running instances again."""

from datetime import timedelta

import grpc
from durabletask.history import SubOrchestrationInstanceCreatedEvent

from hub import COMPLETED, FAILED, PENDING, RUNNING, TERMINATED, assert_refused, echo, waiting


def purge(hub, instance_id, **options):
    result = hub.client.purge_orchestration(instance_id, **options)
    return result.deleted_instance_count, result.is_complete


def purge_by(hub, **conditions):
    result = hub.client.purge_orchestrations_by(**conditions)
    return result.deleted_instance_count, result.is_complete


def family(ctx, generations):
    """Has one child, named <own id>-child, and so on down."""
    if generations > 1:
        yield ctx.call_sub_orchestrator(
            family, input=generations - 1, instance_id=f"{ctx.instance_id}-child")


def test_purge_by_id(hub):
    """purge_by_id: an ended instance goes with its history, and its id is free."""
    hub.worker(echo)
    hub.run(echo, "first", instance_id="mine")
    assert purge(hub, "mine") == (1, True)
    assert hub.state("mine") is None
    assert_refused(grpc.StatusCode.NOT_FOUND, "mine",
                   hub.client.get_orchestration_history, "mine")
    assert purge(hub, "mine") == (0, True)
    assert hub.output(echo, "second", instance_id="mine") == "second"


def test_purge_leaves_live_instances(hub):
    """purge_by_id: live and missing ones are no error, and live ones go on."""
    hub.worker(waiting)
    waiting_id = hub.start(waiting)
    hub.until(waiting_id, RUNNING)
    assert purge(hub, waiting_id) == (0, True)
    assert purge(hub, "nobody") == (0, True)
    hub.client.raise_orchestration_event(waiting_id, "finish", data="still here")
    assert hub.wait(waiting_id).get_output() == "still here"


def test_purge_recursive(hub):
    """purge_by_id: children and grandchildren go along when asked for, and only then."""
    hub.worker(family)
    hub.run(family, 3, instance_id="whole")
    assert purge(hub, "whole") == (3, True)
    hub.run(family, 3, instance_id="top")
    assert purge(hub, "top", recursive=False) == (1, True)
    assert [hub.state("top"), hub.status("top-child")] == [None, COMPLETED]
    assert purge(hub, "top-child") == (2, True)


def test_purge_by_filter(hub):
    """purge_by_filter: by status and time of creation, from inclusive, to exclusive."""
    def failing(ctx, _):
        raise ValueError("no such thing")

    hub.worker(echo, failing, waiting)
    ids = [hub.run(orchestrator).instance_id for orchestrator in (echo, failing, echo, echo)]
    live = hub.start(waiting)
    hub.until(live, RUNNING)
    created = [hub.state(instance_id).created_at for instance_id in ids]
    assert purge_by(hub, runtime_status=[FAILED]) == (1, True)
    assert hub.state(ids[1]) is None
    assert purge_by(hub, created_time_from=created[2], created_time_to=created[3]) == (1, True)
    assert [hub.state(ids[2]), hub.status(ids[3])] == [None, COMPLETED]
    assert purge_by(hub, runtime_status=[RUNNING]) == (0, True)
    assert purge_by(hub, runtime_status=[TERMINATED]) == (0, True)
    assert purge_by(hub, timeout=timedelta(seconds=30)) == (2, True)
    assert hub.status(live) == RUNNING


def test_purge_by_filter_recursive(hub):
    """Descendants go along although the filter does not meet them."""
    hub.worker(family)
    hub.run(family, 2, instance_id="top")
    before_the_child = hub.state("top-child").created_at
    assert purge_by(hub, created_time_to=before_the_child, recursive=True) == (2, True)
    assert hub.state("top-child") is None


def test_restart_with_the_same_id(hub):
    """restart: the same name, input, tags and version, as another execution."""
    hub.worker(echo)
    first = hub.run(echo, {"n": [1, 2.50]}, tags={"team": "größe"}, version="1.2.3")
    before = hub.started(first.instance_id)
    assert hub.client.restart_orchestration(first.instance_id) == first.instance_id
    second = hub.wait(first.instance_id)
    after = hub.started(first.instance_id)
    assert (second.runtime_status, second.name) == (COMPLETED, "echo")
    assert second.serialized_output == first.serialized_output
    assert (after.input, after.tags, after.version) == (before.input, before.tags, before.version)
    assert (after.tags, after.version) == ({"team": "größe"}, "1.2.3")
    assert (after.orchestration_instance.execution_id
            != before.orchestration_instance.execution_id)
    assert second.created_at > first.created_at


def test_restart_with_a_new_id(hub):
    """restart: the source stays as it is; it may even be live."""
    hub.worker(waiting)
    source = hub.start(waiting, "input", tags={"team": "a"})
    hub.until(source, RUNNING)
    copy = hub.client.restart_orchestration(source, restart_with_new_instance_id=True)
    assert copy != source
    hub.until(copy, RUNNING)
    assert hub.state(copy).get_input() == "input"
    assert hub.started(copy).tags == {"team": "a"}
    hub.client.raise_orchestration_event(copy, "finish", data="the copy")
    assert hub.wait(copy).get_output() == "the copy"
    assert hub.status(source) == RUNNING


def test_restart_of_a_child(hub):
    """A child that is started again has no parent, whose history stays as it was."""
    def parent(ctx, _):
        child = yield ctx.call_sub_orchestrator(
            echo, input="child", instance_id=f"{ctx.instance_id}-child")
        return child

    hub.worker(parent, echo)
    hub.run(parent, instance_id="parent")
    parent_of_it = hub.started("parent-child").parent_instance
    assert parent_of_it.orchestration_instance.instance_id == "parent"
    hub.client.restart_orchestration("parent-child")
    assert hub.wait("parent-child").get_output() == "child"
    assert hub.started("parent-child").parent_instance is None
    assert len(hub.history("parent", SubOrchestrationInstanceCreatedEvent)) == 1


def test_restart_refused(hub):
    """restart: a live instance keeps its id to itself; a missing one cannot be started."""
    waiting_id = hub.start(waiting)
    assert_refused(grpc.StatusCode.FAILED_PRECONDITION, waiting_id,
                   hub.client.restart_orchestration, waiting_id)
    assert hub.status(waiting_id) == PENDING
    assert_refused(grpc.StatusCode.NOT_FOUND, "nobody",
                   hub.client.restart_orchestration, "nobody")
