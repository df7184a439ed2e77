"""Starting: schedules, ids in use, reuse policies, bad input, the hub of callers that name none."""

import uuid
from datetime import datetime, timedelta, timezone

import grpc
import pytest
from durabletask.internal.orchestrator_service_pb2 import OrchestrationIdReusePolicy

from hub import COMPLETED, PENDING, RUNNING, TERMINATED, Hub, assert_refused, echo, waiting


def replace(*statuses):
    """The SDK's reuse policy: an instance with one of these statuses may be replaced."""
    return OrchestrationIdReusePolicy(replaceableStatus=[status.value for status in statuses])


def assert_in_use(hub, orchestrator, instance_id, **options):
    assert_refused(grpc.StatusCode.ALREADY_EXISTS, "orchestration instance already exists",
                   hub.start, orchestrator, instance_id=instance_id, **options)


def test_scheduled_start(hub):
    """A scheduled orchestration is PENDING until its time, and starts then, not before."""
    def clock(ctx, due):
        assert ctx.current_utc_datetime >= datetime.fromisoformat(due)
        return "on time"

    hub.worker(clock, echo)
    due = datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(seconds=1.5)
    clock_id = hub.start(clock, due.isoformat(), start_at=due)
    assert hub.output(echo, "in between") == "in between"
    assert hub.status(clock_id) == PENDING
    assert hub.wait(clock_id).get_output() == "on time"


def test_event_before_scheduled_start(hub):
    """event_before_scheduled_start: the event does not start the instance, and is not lost."""
    hub.worker(waiting, echo)
    due = datetime.now(timezone.utc) + timedelta(seconds=1.5)
    waiting_id = hub.start(waiting, start_at=due)
    hub.client.raise_orchestration_event(waiting_id, "finish", data="early bird")
    assert hub.output(echo, 1) == 1
    assert hub.status(waiting_id) == PENDING
    assert hub.wait(waiting_id).get_output() == "early bird"
    assert datetime.now(timezone.utc) >= due


def test_ended_instance_is_replaced(hub):
    """start_no_policy: the id of an ended instance can be used again."""
    hub.worker(echo)
    first = hub.run(echo, "first", instance_id="mine")
    second = hub.run(echo, "second", instance_id="mine")
    assert (first.get_output(), second.get_output()) == ("first", "second")
    assert second.created_at > first.created_at


def test_live_instance_is_not_replaced(hub):
    """start_no_policy: ALREADY_EXISTS for the id of a live instance, which goes on untouched."""
    hub.worker(waiting)
    hub.start(waiting, instance_id="mine")
    hub.until("mine", RUNNING)
    assert_in_use(hub, waiting, "mine")
    hub.client.raise_orchestration_event("mine", "finish", data="the first")
    assert hub.wait("mine").get_output() == "the first"


def test_reuse_policy(hub):
    """start_policy: a status in the policy's list is replaced, another one is ALREADY_EXISTS."""
    hub.worker(echo, waiting)
    hub.run(echo, "first", instance_id="mine")
    assert_in_use(hub, echo, "mine", reuse_id_policy=replace())
    assert_in_use(hub, echo, "mine", reuse_id_policy=replace(TERMINATED))
    assert hub.output(echo, "second", instance_id="mine",
                      reuse_id_policy=replace(COMPLETED)) == "second"


def test_reuse_policy_replaces_a_live_instance(hub):
    """A running instance in the policy's list gives way, with its history and its events."""
    hub.worker(waiting, echo)
    hub.start(waiting, instance_id="mine")
    hub.until("mine", RUNNING)
    old = hub.client.get_orchestration_state("mine")
    assert hub.output(echo, "new", instance_id="mine",
                      reuse_id_policy=replace(RUNNING, PENDING, TERMINATED)) == "new"
    new = hub.client.get_orchestration_state("mine")
    assert new.name == "echo" and new.created_at > old.created_at


def test_reuse_policy_invalid(hub):
    """start_policy_invalid: live statuses without TERMINATED make no sense for a live one."""
    policy = replace(RUNNING, PENDING, COMPLETED)
    hub.start(echo, instance_id="mine", reuse_id_policy=policy)
    assert_refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        "Invalid reusable statuses: cannot exclude 'Terminated' while also allowing reuse of "
        "running instances",
        hub.start, echo, instance_id="mine", reuse_id_policy=policy)
    hub.worker(echo)
    hub.until("mine", COMPLETED)
    assert hub.output(echo, "again", instance_id="mine", reuse_id_policy=policy) == "again"


def test_bad_input_is_refused(hub):
    """start_bad_ids, raise_event_missing: a clear refusal, and nothing is left behind."""
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert_refused(invalid, "instanceId", hub.start, echo, instance_id="@a@b")
    assert_refused(invalid, "length", hub.start, echo, instance_id="x" * 513)
    assert_refused(invalid, "name", hub.start, "")
    missing = grpc.StatusCode.NOT_FOUND
    assert_refused(missing, "nobody", hub.client.raise_orchestration_event, "nobody", "finish")
    assert_refused(missing, "nobody", hub.client.suspend_orchestration, "nobody")
    assert_refused(missing, "nobody", hub.client.resume_orchestration, "nobody")
    assert hub.client.get_orchestration_state("nobody") is None


def test_wait_for_an_instance_that_is_not_there_yet(hub):
    """wait_missing_then_created: the wait ends with the instance that comes later."""
    hub.worker(echo)
    with pytest.raises(TimeoutError):
        hub.client.wait_for_orchestration_completion("later", timeout=0.2)
    hub.start(echo, "here", instance_id="later")
    assert hub.wait("later").get_output() == "here"


def test_payloads_only_on_request(hub):
    """get_payload_flag: input and output stay away from those who do not ask for them."""
    hub.worker(echo)
    echo_id = hub.run(echo, "heavy").instance_id
    light = hub.client.get_orchestration_state(echo_id, fetch_payloads=False)
    assert (light.runtime_status, light.name) == (COMPLETED, "echo")
    assert (light.serialized_input, light.serialized_output) == (None, None)


def test_hub_of_callers_that_name_none():
    """default_hub, hub_isolation: plain clients and workers share a hub, apart from all others."""
    plain, default, other = Hub(), Hub("default"), Hub("python-other")
    try:
        plain.worker(echo, filtered=True)
        echo_id = f"plain-{uuid.uuid4().hex}"
        assert plain.output(echo, "plain", instance_id=echo_id) == "plain"
        assert default.client.get_orchestration_state(echo_id).get_output() == "plain"
        assert other.client.get_orchestration_state(echo_id) is None
    finally:
        for hub in (plain, default, other):
            hub.close()
