"""Queries over instances and lists of their ids: conditions, pages, payloads."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import grpc
import pytest
from durabletask.client import AsyncTaskHubGrpcClient, OrchestrationQuery

from hub import (
    COMPLETED,
    FAILED,
    PENDING,
    RUNNING,
    SUSPENDED,
    TERMINATED,
    assert_refused,
    echo,
    new_hub,
    waiting,
)


class CountedCalls(grpc.UnaryUnaryClientInterceptor):
    """Counts the calls of a client by the last part of their method names."""

    def __init__(self):
        self.methods = []

    def intercept_unary_unary(self, continuation, details, request):
        self.methods.append(details.method.rsplit("/", 1)[1])
        return continuation(details, request)


@pytest.fixture
def counted_hub():
    """A hub that tells in `calls` what its client called."""
    calls = CountedCalls()
    fresh = new_hub(interceptors=[calls])
    fresh.calls = calls.methods
    yield fresh
    fresh.close()


def query(hub, **conditions):
    """The ids that a query answers, in its order."""
    states = hub.client.get_all_orchestration_states(OrchestrationQuery(**conditions))
    return [state.instance_id for state in states]


def list_ids(hub, **conditions):
    """All ids that a list answers, page by page."""
    ids, token = [], None
    while True:
        page = hub.client.list_instance_ids(continuation_token=token, **conditions)
        ids += page.items
        token = page.continuation_token
        if token is None:
            return ids
        assert page.items and page.items[-1] in token


def start_many(hub, count):
    """Starts so many instances that no worker knows, and returns their ids."""
    ids = [f"many-{n:03}" for n in range(count)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda i: hub.start("many", i, instance_id=i), ids)) == ids
    return ids


def failing(ctx, _):
    raise ValueError("no such thing")


def start_one_of_each_status(hub):
    """Returns {status: id of an instance that has it}."""
    hub.worker(echo, waiting, failing)
    ids = {
        PENDING: hub.start(echo, start_at=datetime.now(timezone.utc) + timedelta(hours=1)),
        RUNNING: hub.start(waiting),
        SUSPENDED: hub.start(waiting),
        COMPLETED: hub.start(echo),
        FAILED: hub.start(failing),
        TERMINATED: hub.start(waiting),
    }
    hub.client.suspend_orchestration(ids[SUSPENDED])
    hub.client.terminate_orchestration(ids[TERMINATED])
    for status, instance_id in ids.items():
        hub.until(instance_id, status)
    return ids


def test_query_by_status(hub):
    """Each status is found alone, several together, all without a condition."""
    ids = start_one_of_each_status(hub)
    for status, instance_id in ids.items():
        assert query(hub, runtime_status=[status]) == [instance_id]
    live = [PENDING, RUNNING, SUSPENDED]
    assert sorted(query(hub, runtime_status=live)) == sorted(ids[status] for status in live)
    assert sorted(query(hub)) == sorted(ids.values())
    states = hub.client.get_all_orchestration_states()
    assert {state.runtime_status: state.instance_id for state in states} == ids


def test_query_by_creation_time(hub):
    """From is inclusive, to is exclusive, and the oldest comes first."""
    ids = [hub.start("nothing", instance_id=name) for name in ("c", "b", "a")]
    created = [hub.state(instance_id).created_at for instance_id in ids]
    assert query(hub) == ids
    assert query(hub, created_time_from=created[1]) == ids[1:]
    assert query(hub, created_time_to=created[1]) == ids[:1]
    assert query(hub, created_time_from=created[1], created_time_to=created[2]) == ids[1:2]
    assert query(hub, created_time_from=created[2] + timedelta(microseconds=1)) == []


def test_query_by_prefix(hub):
    """A prefix is plain text, and its case counts; nothing stands for other characters."""
    ids = ["order-1", "order-2", "Order-3", "order%4", "order_5", "orderly", "größe-6"]
    for instance_id in ids:
        hub.start("nothing", instance_id=instance_id)
    assert query(hub, instance_id_prefix="order-") == ["order-1", "order-2"]
    assert query(hub, instance_id_prefix="order%") == ["order%4"]
    assert query(hub, instance_id_prefix="order_") == ["order_5"]
    assert query(hub, instance_id_prefix="größ") == ["größe-6"]
    assert query(hub, instance_id_prefix="order-", runtime_status=[COMPLETED]) == []
    assert query(hub, instance_id_prefix="") == ids


def test_query_payloads_only_on_request(hub):
    """Input, output, custom status and failure come when asked for; names and times always do."""
    def talkative(ctx, value):
        ctx.set_custom_status("almost")
        return value

    hub.worker(talkative, failing)
    hub.run(talkative, "heavy", instance_id="talkative")
    hub.run(failing, "light", instance_id="failing")
    [light, failed] = hub.client.get_all_orchestration_states()
    assert (light.name, light.runtime_status) == ("talkative", COMPLETED)
    assert (light.serialized_input, light.serialized_output) == (None, None)
    assert (light.serialized_custom_status, failed.failure_details) == (None, None)
    assert light.last_updated_at >= light.created_at
    [heavy, failed] = hub.client.get_all_orchestration_states(
        OrchestrationQuery(fetch_inputs_and_outputs=True))
    assert (heavy.get_input(), heavy.get_output()) == ("heavy", "heavy")
    assert heavy.get_custom_status() == "almost"
    assert failed.get_input() == "light"
    assert failed.failure_details.error_type == "builtins.ValueError"
    assert [heavy.created_at, heavy.last_updated_at] == [light.created_at, light.last_updated_at]


def test_query_pages(counted_hub):
    """query_pages: 21 instances, 5 a page, are five calls of the SDK's own loop."""
    hub = counted_hub
    ids = [hub.start("nothing", instance_id=f"page-{n:02}") for n in range(21)]
    assert query(hub, max_instance_count=5) == ids
    assert hub.calls.count("QueryInstances") == 5
    assert query(hub, max_instance_count=21) == ids
    assert hub.calls.count("QueryInstances") == 6


def test_many_instances_are_listed_once_each(counted_hub):
    """250 instances: one page, many pages, and as a list of the ended ones."""
    hub = counted_hub
    ids = start_many(hub, 250)
    states = hub.client.get_all_orchestration_states()
    assert sorted(state.instance_id for state in states) == ids
    in_order = sorted(states, key=lambda state: (state.created_at, state.instance_id))
    assert query(hub, max_instance_count=60) == [state.instance_id for state in in_order]
    assert hub.calls.count("QueryInstances") == 1 + 5
    assert list_ids(hub) == []
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hub.client.terminate_orchestration, ids))
    assert sorted(list_ids(hub, page_size=60)) == ids
    assert sorted(list_ids(hub)) == ids


def test_children_are_found_and_hubs_are_apart(hub):
    """A child is an instance as its parent is; other hubs know neither."""
    def parent(ctx, _):
        yield ctx.call_sub_orchestrator(echo, instance_id=f"{ctx.instance_id}-child")

    hub.worker(parent, echo)
    hub.run(parent, instance_id="parent")
    assert query(hub, instance_id_prefix="parent") == ["parent", "parent-child"]
    other = new_hub()
    try:
        assert (query(other), list_ids(other)) == ([], [])
    finally:
        other.close()


def test_list_ids(hub):
    """list_ids: the ended ones, by the time of their end, from inclusive, to exclusive."""
    ids = start_one_of_each_status(hub)
    ended = [COMPLETED, FAILED, TERMINATED]
    assert sorted(list_ids(hub)) == sorted(ids[status] for status in ended)
    for status in ended:
        assert list_ids(hub, runtime_status=[status]) == [ids[status]]
    assert list_ids(hub, runtime_status=[RUNNING, SUSPENDED, PENDING]) == []
    ends = [hub.state(ids[status]).last_updated_at for status in ended]
    begin = max(ends) + timedelta(microseconds=1)
    last = [hub.run(echo, instance_id=name).instance_id for name in ("z", "y", "x")]
    times = [hub.state(instance_id).last_updated_at for instance_id in last]
    assert list_ids(hub, completed_time_from=begin) == last
    assert list_ids(hub, completed_time_from=times[1], page_size=1) == last[1:]
    assert list_ids(hub, completed_time_from=begin, completed_time_to=times[1]) == last[:1]


def test_list_ids_while_they_are_purged(hub):
    """paging_while_deleting: each page is purged before the next one; none is skipped."""
    hub.worker(echo)
    ids = [hub.start(echo, instance_id=f"ended-{n:02}") for n in range(12)]
    for instance_id in ids:
        hub.wait(instance_id)
    seen, token = [], None
    while True:
        page = hub.client.list_instance_ids(page_size=5, continuation_token=token)
        for instance_id in page.items:
            assert hub.client.purge_orchestration(instance_id).deleted_instance_count == 1
        seen += page.items
        token = page.continuation_token
        if token is None:
            break
    assert sorted(seen) == ids
    assert list_ids(hub) == []


def test_bad_token_is_refused(hub):
    """A token that no page gave is an error, not the first page."""
    assert_refused(grpc.StatusCode.INVALID_ARGUMENT, "lastInstanceKey",
                   hub.client.list_instance_ids, continuation_token="yesterday")


def test_async_client(hub):
    """The SDK's client for asyncio pages, lists and purges as the other one does."""
    hub.worker(echo)
    ids = [f"async-{n}" for n in range(7)]

    async def manage():
        async with AsyncTaskHubGrpcClient(**hub.connection) as client:
            for instance_id in ids:
                await client.schedule_new_orchestration(echo, instance_id=instance_id)
                await client.wait_for_orchestration_completion(instance_id)
            states = await client.get_all_orchestration_states(
                OrchestrationQuery(max_instance_count=3))
            assert [state.instance_id for state in states] == ids
            page = await client.list_instance_ids(page_size=4)
            assert page.items == ids[:4]
            page = await client.list_instance_ids(continuation_token=page.continuation_token)
            assert (page.items, page.continuation_token) == (ids[4:], None)
            purged = await client.purge_orchestrations_by(runtime_status=[COMPLETED])
            assert (purged.deleted_instance_count, purged.is_complete) == (7, True)

    asyncio.run(manage())
    assert query(hub) == []
