"""Entities while the daemon and their worker are killed at random: locks, calls and signals, and
what is due while nobody is there.

DTPG_ENTITIES_SECONDS=120    how long money is moved; 15 s by default
DTPG_ENTITIES_SEED=NUMBER    the kills of an earlier run, which printed it
"""

import json
import os
import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import grpc
import pytest
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.scheduled import ScheduleCreationOptions, ScheduledTaskClient
from durabletask.worker import TaskHubGrpcWorker

from accounts import ACCOUNTS, BALANCE, WorkerProcess, account_id, mover
from load import RECONNECT, completed, outputs, quiet_logger
from processes import SECONDS, Daemon, House, eventually, schema_up

MOVERS = 64
MOVING_SECONDS = float(os.environ.get("DTPG_ENTITIES_SECONDS", "15"))
SEED = int(os.environ.get("DTPG_ENTITIES_SEED", time.time_ns()))
CLOCK_SECONDS = 0.1  # to which a daemon on a busy machine knows the clock of the database
KILL_EVERY = (0.5, 4.0)  # seconds


class EntityHouse(House):
    """A new database with daemons, their clients and a worker on it."""

    def __init__(self, postgres, name: str):
        super().__init__(postgres, name)
        postgres.create_database(name)
        schema_up(self._url)
        self._ends: list[Callable[[], None]] = []

    def client(self, daemon: Daemon) -> TaskHubGrpcClient:
        client = TaskHubGrpcClient(host_address=daemon.address, logger=quiet_logger())
        self._ends.append(client.close)
        return client

    def add_worker(self, daemon: Daemon) -> None:
        worker = TaskHubGrpcWorker(host_address=daemon.address, logger=quiet_logger(),
                                   resiliency_options=RECONNECT)
        worker.configure_scheduled_tasks()
        worker.add_orchestrator(run)
        worker.add_entity(Note)
        worker.start()
        self._ends.append(worker.stop)

    def add_worker_process(self, daemon: Daemon) -> WorkerProcess:
        worker = WorkerProcess(daemon.address)
        self._ends.append(worker.kill)
        return worker

    def close(self) -> None:
        for end in self._ends:
            end()
        super().close()


class Note(DurableEntity):
    """Keeps by how many seconds a signal came later than it was due."""

    def came(self, due):
        late = (datetime.now(timezone.utc) - datetime.fromisoformat(due)).total_seconds()
        self.set_state([*self.get_state(list, []), late])


def run(_, value):
    return value


@pytest.fixture
def house(postgres, request):
    house = EntityHouse(postgres, request.node.name.removeprefix("test_"))
    yield house
    house.close()


def in_seconds(seconds: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


def ask(call, *arguments):
    """What it answers; None when the server cannot be reached, as it was down a moment ago."""
    try:
        return call(*arguments)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        return None


def kill_at_random(daemon, worker, seconds: float) -> dict[str, int]:
    """Kills the daemon, the worker, or both, and starts them again, now and then for so long; how
    often each."""
    choice = random.Random(SEED)
    kills = {"daemon": 0, "worker": 0}
    end = time.monotonic() + seconds
    while (pause := choice.uniform(*KILL_EVERY)) < end - time.monotonic():
        time.sleep(pause)  # Moves are made meanwhile, and the moment of the kill is what varies.
        victims = choice.choice((["daemon"], ["worker"], ["daemon", "worker"]))
        processes = [{"daemon": daemon, "worker": worker}[victim] for victim in victims]
        for process in processes:
            process.kill()
        for victim, process in zip(victims, processes):
            process.start()
            kills[victim] += 1
    return kills


def check_ended(client: TaskHubGrpcClient, ids: list[str]) -> None:
    """Waits for all of them; those that failed are shown by the time of their end, since one may
    make others fail."""
    states = [eventually(lambda i=instance_id: completed(client, i), instance_id)
              for instance_id in ids]
    failures = [f"{state.last_updated_at} {state.instance_id} {state.failure_details.message}"
                for state in states if state.runtime_status != OrchestrationStatus.COMPLETED]
    assert not failures, "\n".join(sorted(failures))


@pytest.mark.timeout(MOVING_SECONDS + 3 * SECONDS)
def test_money(house):
    """64 orchestrations move money between 10 accounts, each move under locks of two; the daemon
    and the worker are killed again and again. Every orchestration ends, no two were in a section
    with one account, each move was made once, and the sum is what it was."""
    daemon = house.add_daemon()
    worker = house.add_worker_process(daemon)
    client = house.client(daemon)
    until = in_seconds(MOVING_SECONDS).isoformat()
    ids = [client.schedule_new_orchestration(mover, input=[number, 0, until])
           for number in range(MOVERS)]
    print(f"DTPG_ENTITIES_SEED={SEED}")
    kills = kill_at_random(daemon, worker, MOVING_SECONDS)
    begin = time.monotonic()
    check_ended(client, ids)
    moves = sum(outputs(daemon.address, ids))
    print(f"{kills}; {moves} moves; all ended {time.monotonic() - begin:.1f} s after the last kill")
    states = [json.loads(client.get_entity(account_id(n)).get_state()) for n in range(ACCOUNTS)]
    assert [inside for _, inside, _ in states] == [None] * ACCOUNTS
    assert sum(changes for *_, changes in states) == 2 * moves
    assert sum(balance for balance, *_ in states) == BALANCE * ACCOUNTS
    assert moves > MOVERS
    eventually(lambda: house.query("select 1 from dt.NewTasks union all select 1 from dt.NewEvents"
                                   " union all select 1 from dt.EntityLockRequests") == [],
               "nothing waits")
    assert client.clean_entity_storage().orphaned_locks_released == 0


def kill_and_start(daemon: Daemon, down_until: datetime | None = None) -> None:
    """Kills the daemon, and starts it again at a time."""
    daemon.kill()
    if down_until:
        time.sleep(max(0.0, (down_until - in_seconds(0)).total_seconds()))
    daemon.start()


def test_delayed_signals_outlive_the_daemon(house):
    """delayed_signal: signals due after the restart and while the daemon is down: each comes once,
    and not before its time."""
    daemon = house.add_daemon()
    client = house.client(daemon)
    note = EntityInstanceId("Note", "of a test")
    dues = [in_seconds(seconds) for seconds in (1.0, 1.2, 2.5)]
    for due in dues:
        client.signal_entity(note, "came", due.isoformat(), signal_time=due)
    kill_and_start(daemon, dues[1])
    house.add_worker(daemon)
    kill_and_start(daemon)

    def late():
        found = ask(client.get_entity, note)
        return found and len(seconds := json.loads(found.get_state())) == len(dues) and seconds

    found = eventually(late, "all signals came")
    assert all(seconds >= -CLOCK_SECONDS for seconds in found), found


def test_schedule_keeps_its_time(house):
    """A schedule over kills of the daemon, before its first run and over the second: the runs are
    those of the grid that began at its first time, and each is made once."""
    daemon = house.add_daemon()
    house.add_worker(daemon)
    client = house.client(daemon)
    first, interval = in_seconds(1.5), timedelta(seconds=2)
    schedule = ScheduledTaskClient(client).create_schedule(ScheduleCreationOptions(
        "kept", "run", interval, orchestration_input="ran", start_at=first))
    kill_and_start(daemon)

    def started(time):
        """The run of this time, once it has ended."""
        run_id = f"kept-{time.isoformat()}"
        eventually(lambda: ask(client.get_orchestration_state, run_id), run_id)
        state = eventually(lambda: completed(client, run_id), run_id)
        assert state.runtime_status == OrchestrationStatus.COMPLETED
        assert state.get_output() == "ran"
        assert state.created_at.replace(tzinfo=timezone.utc) >= time

    def next_run(after):
        """When the schedule will run next, when it has run at a time."""
        def found():
            description = ask(schedule.describe)
            return description and description.last_run_at == after and description.next_run_at
        return eventually(found, f"the schedule is beyond {after}")

    started(first)
    second = next_run(first)
    kill_and_start(daemon, second + timedelta(seconds=0.2))
    started(second)
    third = next_run(second)
    started(third)
    # One that is too late skips what it has missed, and stays on the grid.
    assert all((time - first) % interval == timedelta(0) for time in (second, third))
    schedule.delete()
    runs = [state.instance_id for state in client.get_all_orchestration_states()
            if state.name == "run"]
    assert len(runs) == len(set(runs)) >= 3
