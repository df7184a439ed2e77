"""kill -9 in the middle of 500 running orchestrations, or of one with 400 running activities.

Whatever is killed: all orchestrations complete, each activity's result is recorded once, the
outputs are made of exactly these results, and nothing is left in the queues. Activities may run
more than once; that is what "at least once" means, and how often is printed.
"""

import json
import time

import pytest

from load import (ACTIVITIES, LARGE_FAN_OUT, ORCHESTRATIONS, Reports, Steps, large_order, outputs,
                  reported_order, start_orchestrations, start_worker)
from processes import Daemon, House, eventually, schema_up

# A third of the activities: every orchestration runs, and none has been through.
KILL_AT = ORCHESTRATIONS * ACTIVITIES // 3


class LoadedHouse(House):
    """A new database with daemons and workers on it, and what was started there."""

    def __init__(self, postgres, name: str, url: str | None = None):
        super().__init__(postgres, name, url)
        postgres.create_database(name)
        schema_up(self._url)
        self.steps = Steps()
        self.reports = Reports()
        self._workers = []

    def add_worker(self, daemon: Daemon) -> None:
        self._workers.append(start_worker(daemon.address, self.steps, self.reports))

    def close(self) -> None:
        self.steps.let_go()
        for worker in self._workers:
            worker.stop()
        super().close()


@pytest.fixture
def house(postgres, request):
    house = LoadedHouse(postgres, request.node.name.removeprefix("test_"))
    yield house
    house.close()


def check_in_the_middle(house: LoadedHouse) -> None:
    """What the database shows now is a run that is neither beginning nor ending."""
    [counts] = house.query(
        "select count(*) filter (where RuntimeStatus = 'Running') as running,"
        " count(*) filter (where RuntimeStatus = 'Completed') as completed from dt.vInstances")
    print(f"at the kill: {counts}")
    assert counts["running"] >= ORCHESTRATIONS // 2


def check_history(house: LoadedHouse, found: dict[str, list], activities: int) -> None:
    """Each activity was scheduled once and has one result, the one that the output shows."""
    events = house.query(
        "select InstanceID, EventType, TaskID, Payload from dt.vHistory"
        " where EventType in ('TaskScheduled', 'TaskCompleted', 'TaskFailed', 'ExecutionStarted',"
        " 'ExecutionCompleted')")
    by_instance: dict[str, list] = {instance_id: [] for instance_id in found}
    for event in events:
        by_instance[event["instanceid"]].append(event)
    for instance_id, output in found.items():
        kinds = [event["eventtype"] for event in by_instance[instance_id]]
        assert kinds.count("ExecutionStarted") == 1, (instance_id, kinds)
        assert kinds.count("ExecutionCompleted") == 1, (instance_id, kinds)
        assert kinds.count("TaskFailed") == 0, (instance_id, kinds)
        for kind in ("TaskScheduled", "TaskCompleted"):
            tasks = [e["taskid"] for e in by_instance[instance_id] if e["eventtype"] == kind]
            assert len(tasks) == len(set(tasks)) == activities, (instance_id, kind, tasks)
        results = [json.loads(event["payload"]) for event in by_instance[instance_id]
                   if event["eventtype"] == "TaskCompleted"]
        assert sorted(results) == sorted(output), instance_id


def check_all(house: LoadedHouse, address: str, ids: list[str],
              activities: int = ACTIVITIES) -> None:
    begin = time.monotonic()
    found = dict(zip(ids, outputs(address, ids), strict=True))
    print(f"all completed {time.monotonic() - begin:.1f} s after the service was back;"
          f" {house.steps.count} executions of {len(ids) * activities} activities")
    for number, instance_id in enumerate(ids):
        steps = [result[:2] for result in found[instance_id]]
        assert steps == [[number, step] for step in range(activities)], instance_id
    check_history(house, found, activities)
    eventually(lambda: house.query("select 1 from dt.NewTasks union all select 1 from dt.NewEvents")
               == [], "the queues are empty")
    states = house.query("select RuntimeStatus, count(*) as n from dt.vInstances group by 1")
    assert states == [{"runtimestatus": "Completed", "n": len(ids)}]


def test_kill_daemon(house):
    """The daemon is killed and started again: it goes on at once, without waiting for a lease."""
    daemon = house.add_daemon()
    ids = start_orchestrations(daemon.address)
    house.add_worker(daemon)
    house.steps.wait_for(KILL_AT)
    daemon.kill()
    check_in_the_middle(house)
    daemon.start()
    check_all(house, daemon.address, ids)


def test_kill_daemon_in_large_fan_out(house):
    """The activities of a fan-out run in the daemon without rows of their own; the next makes
    them."""
    daemon = house.add_daemon()
    half = LARGE_FAN_OUT // 2
    house.steps.hold_from(half)
    ids = start_orchestrations(daemon.address, large_order, [0])
    house.add_worker(daemon)
    house.steps.wait_for(half)
    daemon.kill()
    [running] = house.query("select count(*) as n from dt.ReadyInstances r"
                            " cross join dt.__IdsIn(r.inline_tasks)")
    assert running["n"] > half
    house.steps.let_go()
    daemon.start()
    check_all(house, daemon.address, ids, LARGE_FAN_OUT)


def test_kill_postgres(house):
    """PostgreSQL is killed and started again under a daemon that stays."""
    daemon = house.add_daemon()
    ids = start_orchestrations(daemon.address)
    house.add_worker(daemon)
    house.steps.wait_for(KILL_AT)
    check_in_the_middle(house)
    house.postgres.kill()
    house.postgres.start()
    check_all(house, daemon.address, ids)


def test_kill_one_of_two_daemons(house):
    """Two daemons share the work; one is killed for good, and the other does the rest."""
    victim, survivor = house.add_daemon(), house.add_daemon()
    ids = start_orchestrations(victim.address)
    house.add_worker(victim)
    house.add_worker(survivor)
    house.steps.wait_for(KILL_AT)
    victim.kill()
    check_in_the_middle(house)
    check_all(house, survivor.address, ids)


def test_kill_daemon_of_another_pod(house):
    """Nobody sees the victim's process, as in a pod of its own: its session tells that it is gone,
    long before its lease of an hour does."""
    lease = ("--postgres-lease-seconds", "3600")
    pod = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL")
    victim, survivor = house.add_daemon(*lease, prefix=pod), house.add_daemon(*lease)
    ids = start_orchestrations(victim.address)
    house.add_worker(victim)
    house.add_worker(survivor)
    house.steps.wait_for(KILL_AT)
    victim.kill()
    check_in_the_middle(house)
    check_all(house, survivor.address, ids)


def leaders(house: LoadedHouse) -> list[Daemon]:
    """The daemons that have said that they apply retention, the dead ones too."""
    return [daemon for daemon in house.daemons
            if "this daemon applies retention" in daemon.log.read_text()]


def purged(house: LoadedHouse) -> int:
    [row] = house.query("select sum(PurgedTotal)::int as n from dt.vRetention")
    return row["n"]


def test_retention_outlives_its_leader(house):
    """What completes is removed at once by one of two daemons; that one is killed, the other goes
    on."""
    options = ("--retention-enabled", "--retention-completed-hours", "0",
               "--retention-grace-seconds", "0", "--retention-interval-seconds", "1")
    for _ in range(2):
        house.add_daemon(*options)
    [victim] = eventually(lambda: leaders(house), "one of them leads")
    [survivor] = [daemon for daemon in house.daemons if daemon is not victim]
    half = ORCHESTRATIONS // 2
    start_orchestrations(survivor.address, reported_order, range(half))
    house.add_worker(survivor)
    house.add_worker(victim)
    eventually(lambda: purged(house) > 0, "some are removed")
    victim.kill()
    print(f"at the kill: {purged(house)} removed")
    start_orchestrations(survivor.address, reported_order, range(half, ORCHESTRATIONS))
    for number, results in house.reports.wait_for_all().items():
        assert [result[:2] for result in results] == [[number, i] for i in range(ACTIVITIES)]
    eventually(lambda: house.query("select 1 from dt.vInstances union all select 1 from dt.NewTasks"
                                   " union all select 1 from dt.NewEvents union all"
                                   " select 1 from dt.History") == [], "nothing is left")
    assert leaders(house) == house.daemons
    assert purged(house) == ORCHESTRATIONS
