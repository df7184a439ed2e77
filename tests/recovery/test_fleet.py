"""Several daemons with a worker each feel like one server: callers hear of what ends elsewhere, and
workers get their parts; a restart of one after the other is noticed by nobody."""

import collections
import threading
import time

import pytest
from durabletask import task
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.worker import TaskHubGrpcWorker

from load import ACTIVITIES, ORCHESTRATIONS, order, outputs, quiet_logger, start_orchestrations
from processes import SECONDS, House, eventually
from test_recovery import LoadedHouse, check_all

ITEMS = 200
ITEM_SECONDS = 0.1


def fan_out(ctx, _):
    """As many items at once; who ran how many of them."""
    ran = yield task.when_all([ctx.call_activity("item") for _ in range(ITEMS)])
    return collections.Counter(ran)


def start_item_worker(address: str, name: str) -> TaskHubGrpcWorker:
    """A worker as the SDK makes it: it announces hundreds of credits, and runs a few at once."""
    def item(_, __):
        time.sleep(ITEM_SECONDS)  # the work itself
        return name

    worker = TaskHubGrpcWorker(host_address=address, logger=quiet_logger())
    worker.add_orchestrator(fan_out)
    worker.add_activity(item)
    worker.start()
    return worker


@pytest.fixture
def house(postgres, request):
    house = LoadedHouse(postgres, request.node.name.removeprefix("test_").replace("[", "_")
                        .replace("]", ""))
    yield house
    house.close()


def heard_of_each_other(house: House) -> bool:
    """Each daemon has said what its workers take, and has had the time to read what others say."""
    [row] = house.query("select count(distinct WorkerID) as n, count(*) filter (where Since >"
                        " now() - interval '6 seconds') as young from dt.vWorkers")
    return row["n"] == len(house.daemons) and row["young"] == 0


@pytest.mark.parametrize("count", [2, 4])
def test_fair_shares(house, count):
    """fair_shares: a large fan-out is done by all workers, at the SDK's defaults."""
    for _ in range(count):
        house.add_daemon()
    workers = [start_item_worker(daemon.address, daemon.address) for daemon in house.daemons]
    try:
        eventually(lambda: heard_of_each_other(house), "the daemons know of each other's workers")
        client = TaskHubGrpcClient(host_address=house.daemons[0].address, logger=quiet_logger())
        begin = time.monotonic()
        instance_id = client.schedule_new_orchestration(fan_out)
        state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
        print(f"{count} daemons: {time.monotonic() - begin:.2f} s: {state.serialized_output}")
        client.close()
        assert state.runtime_status == OrchestrationStatus.COMPLETED
        shares = state.get_output()
        assert sum(shares.values()) == ITEMS
        for daemon in house.daemons:
            assert 0.5 <= shares.get(daemon.address, 0) * count / ITEMS <= 1.5, shares
    finally:
        for worker in workers:
            worker.stop()


def test_wait_at_another_daemon(house):
    """wait_elsewhere: callers at one daemon wait for what a worker at another one does."""
    here, there = house.add_daemon(), house.add_daemon()
    house.add_worker(there)
    outputs(here.address, start_orchestrations(here.address, numbers=range(50)))
    client = TaskHubGrpcClient(host_address=here.address, logger=quiet_logger())
    waits = []
    for number in range(20):
        begin = time.monotonic()
        client.wait_for_orchestration_completion(
            client.schedule_new_orchestration(order, input=number), timeout=SECONDS)
        waits.append(time.monotonic() - begin)
    client.close()
    print(f"one after the other: median {sorted(waits)[10] * 1000:.0f} ms")


def test_rolling_restart(house):
    """rolling_restart: four daemons are restarted one after the other under load. Everything ends,
    and no activity runs twice: what is at workers is awaited, the rest is given to others."""
    for _ in range(4):
        house.add_worker(house.add_daemon())
    ids: list[str] = []
    starting = threading.Thread(target=lambda: ids.extend(
        start_orchestrations(house.daemons[-1].address, numbers=range(ORCHESTRATIONS))))
    starting.start()
    for daemon in house.daemons[:-1]:
        house.steps.wait_for(house.steps.count + ORCHESTRATIONS // 10)
        assert daemon.stop() == 0
        daemon.start()
    starting.join(SECONDS)
    assert len(ids) == ORCHESTRATIONS
    check_all(house, house.daemons[-1].address, ids)
    assert house.steps.count == ORCHESTRATIONS * ACTIVITIES
