"""GetInstanceWaits names the reason of every kind of wait, of orchestrations that a worker of the
real Python SDK runs, with a real daemon."""

import datetime
import logging
import socket
import threading

import pytest
from durabletask import task
from durabletask.client import TaskHubGrpcClient
from durabletask.entities import EntityInstanceId
from durabletask.worker import (
    ActivityWorkItemFilter,
    ConcurrencyOptions,
    OrchestrationWorkItemFilter,
    TaskHubGrpcWorker,
    WorkItemFilters,
)

from processes import House, eventually

LOCKED = EntityInstanceId("stock", "lima")


def charge(ctx, _):
    """An activity that runs until the test is over."""
    RELEASE.wait()


def fail(ctx, _):
    raise ValueError("no route to the bank")


def missing(ctx, _):
    """An activity that no worker has."""


def one_activity(ctx, _):
    yield ctx.call_activity(charge)


def many_activities(ctx, count):
    yield task.when_all([ctx.call_activity(charge, input=n) for n in range(count)])


def unaccepted_activity(ctx, _):
    yield ctx.call_activity(missing)


def sleeper(ctx, _):
    yield ctx.create_timer(datetime.timedelta(hours=1))


def retries(ctx, _):
    pause = datetime.timedelta(hours=1)
    yield ctx.call_activity(fail, retry_policy=task.RetryPolicy(
        first_retry_interval=pause, max_number_of_attempts=3, max_retry_interval=pause))


def waits_for_event(ctx, _):
    yield ctx.wait_for_external_event("go")


def parent(ctx, _):
    yield ctx.call_sub_orchestrator(waits_for_event, instance_id="the-child")


def holder(ctx, _):
    with (yield ctx.lock_entities([LOCKED])):
        yield ctx.wait_for_external_event("leave")


def lock_waiter(ctx, _):
    with (yield ctx.lock_entities([LOCKED])):
        pass


def caller(ctx, _):
    yield ctx.call_entity(LOCKED, "count")


def slow_turn(ctx, _):
    RELEASE.wait()
    yield ctx.create_timer(datetime.timedelta(hours=1))


def stock(ctx, _):
    """An entity."""
    ctx.set_state(1)
    return 1


RELEASE = threading.Event()
ORCHESTRATORS = (one_activity, many_activities, unaccepted_activity, sleeper, retries,
                 waits_for_event, parent, holder, lock_waiter, caller, slow_turn)


class Ward(House):
    """A daemon of the hub "shop", whose workers come when the test wants them."""

    def __init__(self, postgres, database: str):
        super().__init__(postgres, database, postgres.url(database, "service"), "shop", "app")
        self.daemon = self.add_daemon()
        self.logger = logging.getLogger("durabletask")
        self.client = TaskHubGrpcClient(host_address=self.daemon.address, logger=self.logger)
        self.workers = []

    def worker(self, *, orchestrators=ORCHESTRATORS, activities=(charge, fail), entities=(stock,),
               slots=100, filters=None):
        """A worker that takes these and nothing else, or what the filters say, and so many of each
        at a time."""
        worker = TaskHubGrpcWorker(
            host_address=self.daemon.address, logger=self.logger,
            concurrency_options=ConcurrencyOptions(
                maximum_concurrent_orchestration_work_items=slots,
                maximum_concurrent_activity_work_items=slots))
        for one in orchestrators:
            worker.add_orchestrator(one)
        for one in activities:
            worker.add_activity(one)
        for one in entities:
            worker.add_entity(one)
        worker.use_work_item_filters(*([filters] if filters else []))
        worker.start()
        self.workers.append(worker)

    def start(self, orchestrator, instance_id: str, argument=None, **options) -> None:
        self.client.schedule_new_orchestration(orchestrator, input=argument,
                                               instance_id=instance_id, **options)

    def waits(self, instance_id: str) -> list[dict]:
        return self.query("select w.*, Since <= now() as begun, Until > now() as ahead "
                          f"from dt.GetInstanceWaits('{instance_id}') w")

    def until(self, instance_id: str, kind: str, state: str) -> dict:
        """Waits until it waits for this and nothing else; returns the row."""
        def only():
            rows = self.waits(instance_id)
            seen.append(rows)
            named = [(row["kind"], row["state"]) for row in rows]
            return rows if named == [(kind, state)] else None
        seen = []
        try:
            return eventually(only, f"{instance_id} waits for {kind} {state}")[0]
        except AssertionError as error:
            raise AssertionError(f"{error}; the last answer: {seen[-1]}") from None

    def until_told(self, instance_id: str, text: str) -> None:
        """Waits until the first of the sentences has this in it."""
        eventually(lambda: text in self.waits(instance_id)[0]["sentence"], f"{instance_id}: {text}")

    def close(self) -> None:
        RELEASE.set()
        self.client.close()
        for worker in self.workers:
            worker.stop()
        super().close()


@pytest.fixture
def ward(postgres, database):
    RELEASE.clear()
    ward = Ward(postgres, database)
    yield ward
    ward.close()


def host() -> str:
    return socket.gethostname()


def test_activity_queued_running_and_unaccepted(ward):
    ward.worker()
    ward.start(one_activity, "runs")
    row = ward.until("runs", "activity", "running")
    assert (row["name"], row["id"], row["host"], row["begun"]) == ("charge", "1", host(), True)
    # It has no row of its own.
    inline = ward.postgres.query(ward.database,
                                 "select inline_tasks::text as ids from dt.ReadyInstances")
    assert inline == [{"ids": "{[1,2)}"}]
    # The daemon may tell of its workers a moment later.
    told = eventually(lambda: ward.query("select WorkerID as id from dt.vWorkers"),
                      "the daemon is in vWorkers")
    assert row["workerid"] == told[0]["id"]
    assert row["sentence"].startswith(f'Activity "charge" (task 1) is with the daemon on {host()}')
    ward.start(unaccepted_activity, "unaccepted")
    row = ward.until("unaccepted", "activity", "unaccepted")
    assert row["name"] == "missing"
    assert "no connected worker accepts it; accepted activities: charge, fail" in row["sentence"]


def test_versions_that_no_worker_accepts(ward):
    ward.worker(filters=WorkItemFilters(
        orchestrations=[OrchestrationWorkItemFilter("one_activity", ["1.0", "2.0"])],
        activities=[ActivityWorkItemFilter("charge", ["1.0"])]))
    ward.start(one_activity, "old", version="0.9")
    ward.until_told("old", 'no connected worker accepts it in version "0.9"; accepted versions: '
                           "1.0, 2.0")
    ward.until("old", "turn", "unaccepted")
    # An activity without a version has that of its orchestration.
    ward.start(one_activity, "new", version="2.0")
    row = ward.until("new", "activity", "unaccepted")
    assert 'no connected worker accepts it in version "2.0"; accepted versions: 1.0' in (
        row["sentence"])
    ward.start(one_activity, "current", version="1.0")
    ward.until("current", "activity", "running")


def test_activities_beyond_what_workers_take_are_queued_and_counted(ward):
    ward.worker(slots=1)
    ward.start(many_activities, "many", 60)

    def told():
        rows = ward.waits("many")
        states = [row["state"] for row in rows]
        return rows if states == ["running", *["queued"] * 49, "more"] else None
    rows = eventually(told, "one runs, and the others wait")
    assert [row["id"] for row in rows[:50]] == [str(number) for number in range(1, 51)]
    assert rows[1]["sentence"].startswith(
        'Activity "charge" (task 2) waits for a free worker; workers that take it are connected to '
        f"the daemon on {host()}; since ")
    assert rows[50]["sentence"] == "10 more activities have not ended."


def test_turn_without_a_worker_and_with_a_busy_one(ward):
    ward.start(sleeper, "nobody")
    row = ward.until("nobody", "turn", "unaccepted")
    assert "no worker is connected to the task hub" in row["sentence"]
    ward.worker(orchestrators=(), entities=())
    ward.until_told("nobody", "no connected worker runs orchestrations")
    ward.worker(orchestrators=(slow_turn,), activities=(), entities=())
    ward.until_told("nobody", "no connected worker accepts it; accepted orchestrations: slow_turn")
    ward.start(slow_turn, "slow")
    row = ward.until("slow", "turn", "running")
    assert (row["name"], row["host"]) == ("slow_turn", host())


def test_start_timer_retry_and_event(ward):
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=2)
    ward.start(sleeper, "scheduled", start_at=later)
    row = ward.until("scheduled", "start", "scheduled")
    assert row["ahead"]
    assert row["sentence"].startswith(f"It starts at {later:%Y-%m-%d %H:%M:%S} UTC")
    ward.worker()
    ward.start(sleeper, "sleeps")
    row = ward.until("sleeps", "timer", "set")
    assert (row["id"], row["begun"], row["ahead"]) == ("1", True, True)
    ward.start(retries, "retries")
    row = ward.until("retries", "retry", "set")
    assert (row["name"], row["ahead"]) == ("fail", True)
    assert "no route to the bank" in row["detail"]
    ward.start(waits_for_event, "waits")
    row = ward.until("waits", "event", "expected")
    assert "none was raised so far" in row["sentence"]
    ward.client.raise_orchestration_event("waits", "Go!")
    eventually(lambda: ward.waits("waits")[0]["detail"] == 'raised last: "Go!"', "it has got that")


def test_child_suspension_and_end(ward):
    ward.worker()
    ward.start(parent, "parent")
    row = ward.until("parent", "child", "Running")
    assert (row["id"], row["name"], row["begun"]) == ("the-child", "waits_for_event", True)
    ward.client.suspend_orchestration("the-child")
    row = ward.until("the-child", "suspended", "suspended")
    assert row["begun"]
    row = ward.until("parent", "child", "Suspended")
    ward.client.terminate_orchestration("parent", recursive=True)
    row = ward.until("parent", "ended", "Terminated")
    ward.until("nobody", "unknown", "unknown")


def test_lock_and_call_of_an_entity(ward):
    ward.worker()
    ward.start(holder, "holder")
    ward.until("holder", "event", "expected")
    ward.start(lock_waiter, "waiter")
    row = ward.until("waiter", "lock", "locked")
    assert (row["id"], row["detail"]) == ("@stock@lima", "holder")
    assert 'lock of entity "@stock@lima", which orchestration "holder" holds' in row["sentence"]
    ward.start(caller, "caller")
    row = ward.until("caller", "call", "locked")
    assert (row["id"], row["name"]) == ("@stock@lima", "count")
    assert 'orchestration "holder" holds its lock' in row["sentence"]
    kinds = [(row["kind"], row["state"], row["name"]) for row in ward.waits("@stock@lima")]
    assert kinds == [("lock", "held", "holder"), ("lock", "requested", "waiter")]
    ward.client.raise_orchestration_event("holder", "leave")
    for instance_id in ("holder", "waiter", "caller"):
        ward.until(instance_id, "ended", "Completed")
    ward.until("@stock@lima", "operation", "expected")
