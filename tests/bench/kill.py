"""W13: kill -9 of the daemon, of PostgreSQL and of the worker at full load.

What is killed is started again at once on the same host. All times count from the kill, and say
when something was back: the worker says when it asked for work and when it got some, the database's
own records say when turns and ends were committed; all of them share a clock. Afterwards every
orchestration that was started must have completed, with the output that it must have.
"""

import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import machine
from kill_load import outputs, start_sql
from runs import Bench, Outcome
from servers import DTBENCH, SIDECAR, note, start
from tables import Column, figure_table, medians, seconds_to_rate

sys.path.insert(0, str(machine.ROOT / "tests" / "support"))
os.environ.setdefault("DTPG_SIDECAR", str(SIDECAR))
from processes import House, Postgres, eventually  # noqa: E402

DATABASE = "kill"
COMPLETED = 1  # OrchestrationStatus
REFILL_SECONDS = 0.2
START_BATCH = 500  # starts of one transaction
SPARE_SHARE = 1.25  # started at any time, for each that must have begun and not ended
RATE_SECONDS = 5  # before the kill, which is full rate
RATE_SHARE = 0.8
PAUSE_SECONDS = 10  # after the kill, in which a pause counts
BIN_SECONDS = 0.1
FLIGHT_SECONDS = 120
DRAIN_SECONDS = 300
KILLS = ("daemon", "PostgreSQL", "worker")
COLUMNS = (
    Column("live", "in flight", 0),
    Column("begun", "with a turn done", 0),
    Column("back_seconds", "it is back, s", 2),
    Column("first_item_seconds", "first work item, s", 2),
    Column("first_turn_seconds", "first turn, s", 2),
    Column("first_completion_seconds", "first completion, s", 2),
    Column("pause_seconds", "longest pause between turns, s", 2),
    Column("full_rate_seconds", f"{RATE_SHARE:.0%} of full rate, s", 1),
    Column("turns_per_second", "turns/s before", 0),
    Column("checked", "orchestrations checked", 0),
)


@dataclasses.dataclass(frozen=True)
class Flight:
    """Orchestrations that have not ended."""

    live: int
    begun: int  # of them, those whose first turn was committed


@dataclasses.dataclass(frozen=True)
class Served:
    """What a worker says of itself, by the clock."""

    asked_time: float
    first_item_time: float


class FragileHouse(House):
    """A PostgreSQL and a daemon that can be killed, each by itself."""

    def __init__(self, directory: pathlib.Path):
        directory.mkdir(mode=0o755)
        super().__init__(Postgres(directory), DATABASE)
        self.postgres.create_database(DATABASE)
        self.daemon = self.add_daemon("--schema-up")

    def close(self) -> None:
        super().close()
        self.postgres.stop()

    def psql(self, sql: str) -> str | None:
        """What psql prints; None while PostgreSQL is away."""
        done = subprocess.run(
            [self.postgres.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1",
             self.postgres.url(DATABASE)], input=sql, capture_output=True, text=True)
        # 1 is an error of psql itself, 2 a connection that is lost, 3 an error in the statement.
        away = done.returncode == 2 or "the database system is" in done.stderr
        assert done.returncode == 0 or away, done.stderr
        return done.stdout if done.returncode == 0 else None

    def flight(self) -> Flight | None:
        """None while PostgreSQL is away."""
        found = self.psql("select count(*), count(*) filter (where turn > 0)"
                          " from dt.ReadyInstances")
        return None if found is None else Flight(*map(int, found.split("|")))


class Starter(threading.Thread):
    """Keeps so many orchestrations in flight, whatever happens to the daemon: it starts them by
    SQL."""

    def __init__(self, house: FragileHouse, in_flight: int):
        super().__init__(daemon=True)
        self._house, self._in_flight = house, in_flight
        self._stopping = threading.Event()
        self.started = 0

    def run(self) -> None:
        while not self._stopping.wait(REFILL_SECONDS):
            flight = self._house.flight()
            if flight is not None and flight.live < self._in_flight:
                self.start_until(self.started + self._in_flight - flight.live)

    def start_until(self, count: int) -> None:
        """Starts numbers below `count`."""
        while self.started < count and not self._stopping.is_set():
            end = min(count, self.started + START_BATCH)
            # Also when it is to stop, for what was started must be known.
            while self._house.psql(start_sql(range(self.started, end))) is None:
                time.sleep(BIN_SECONDS)
            self.started = end

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(DRAIN_SECONDS)


class Worker(threading.Thread):
    """dtbench as a worker alone: it ends with its connection, and is started again at once."""

    def __init__(self, address: str, credits: int):
        super().__init__(daemon=True)
        host, port = address.split(":")
        self._socket_address = (host, int(port))
        self._command = [DTBENCH, "--serve", "--address", address,
                         "--worker-orchestrations", credits,
                         "--worker-activities", credits]
        self._stopping = threading.Event()
        self._process: subprocess.Popen | None = None
        self._served: Served | None = None  # of the last one that got work

    def run(self) -> None:
        while not self._stopping.is_set():
            if self._server_listens():
                self._process = start(self._command, stdout=subprocess.PIPE, text=True,
                                      stderr=subprocess.DEVNULL)
                if line := self._process.stdout.readline():
                    self._served = Served(**json.loads(line))
                self._process.communicate()

    def _server_listens(self) -> bool:
        try:
            socket.create_connection(self._socket_address, 1).close()
            return True
        except OSError:
            self._stopping.wait(0.005)
            return False

    def kill(self) -> None:
        self._process.kill()

    def served_after(self, time_of_kill: float) -> Served:
        """What the worker says that was started since then, once it has got work."""
        def served() -> Served | None:
            found = self._served
            return found if found and found.asked_time > time_of_kill else None
        return eventually(served, "the worker gets work again")

    def stop(self) -> None:
        self._stopping.set()
        if self._process:
            self._process.kill()
        if self.is_alive():
            self.join()


def strike(house: FragileHouse, worker: Worker, what: str) -> dict:
    """Kills it and starts it again; returns, by the clock, when that was, when what was killed was
    back, and from when on what is committed is the work of the time after."""
    killed = time.time()
    if what == "PostgreSQL":
        house.postgres.kill()
        house.postgres.start()
        # What a killed postmaster leaves behind commits for a moment more: that is no recovery.
        back = since = time.time()
        return dict(killed=killed, back=back, since=since)
    if what == "daemon":
        house.daemon.kill()
        house.daemon.start()
        back = time.time()
    else:
        worker.kill()
    # What was answered before is stored for a moment more.
    served = worker.served_after(killed)
    since = served.first_item_time
    if what == "worker":
        back = served.asked_time
    return dict(killed=killed, back=back, since=since, first_item_seconds=since - killed)


def completed(house: FragileHouse) -> int:
    [row] = house.query("select count(*) as n from dt.Instances where completed_time is not null")
    return row["n"]


def wait_for_completed(house: FragileHouse, count: int) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    while (found := completed(house)) < count:
        assert time.monotonic() < deadline, f"only {found} orchestrations have ended"
        time.sleep(REFILL_SECONDS)


def wait_for_begun(house: FragileHouse, count: int) -> Flight:
    """Until so many have begun and not ended, at this moment."""
    deadline = time.monotonic() + FLIGHT_SECONDS
    while (flight := house.flight()) is None or flight.begun < count:
        assert time.monotonic() < deadline, (
            f"{flight} and not {count} begun within {FLIGHT_SECONDS} s: the load ends them faster"
            f" than"
            " SQL starts others")
        time.sleep(BIN_SECONDS)
    return flight


def times(house: FragileHouse, event: dict) -> dict:
    """What the database's records say about the time after the kill."""
    killed, since = (f"to_timestamp({event[name]!r})" for name in ("killed", "since"))
    [first] = house.query(
        "select (select extract(epoch from min(committed_time)) from dt.History"
        f" where committed_time > {since})::float8 as turn, (select extract(epoch from"
        f" min(completed_time)) from dt.Instances where completed_time > {since})::float8 as ended")
    [before] = house.query(
        f"select count(*) / {RATE_SECONDS}.0 as rate from dt.History where committed_time between"
        f" {killed} - interval '{RATE_SECONDS} s' and {killed}")
    rows = house.query(
        f"select floor(extract(epoch from committed_time - {killed}) / {BIN_SECONDS})::int as bin,"
        f" count(*) as n from dt.History where committed_time > {killed} group by 1")
    bins = {row["bin"]: row["n"] for row in rows}
    counts = [bins.get(i, 0) for i in range(max(bins) + 1)]
    [pause] = house.query(
        "select max(extract(epoch from next - committed_time))::float8 as seconds from"
        " (select committed_time, lead(committed_time) over (order by committed_time) as next"
        f" from dt.History where committed_time > {killed} - interval '1 s') g"
        f" where committed_time < {killed} + interval '{PAUSE_SECONDS} s'")
    return dict(
        turns_per_second=before["rate"], pause_seconds=pause["seconds"],
        back_seconds=event["back"] - event["killed"],
        first_turn_seconds=first["turn"] - event["killed"],
        first_completion_seconds=first["ended"] - event["killed"],
        full_rate_seconds=seconds_to_rate(counts, BIN_SECONDS, RATE_SHARE * before["rate"]))


def check(house: FragileHouse, started: int) -> None:
    """Every orchestration has completed with the output that it must have."""
    deadline = time.monotonic() + DRAIN_SECONDS
    unfinished = ("select count(*) as n from dt.Instances where completed_time is null"
                  " and instance_id like 'kill-%'")
    while (left := house.query(unfinished)[0]["n"]) > 0:
        assert time.monotonic() < deadline, f"{left} orchestrations do not end"
        time.sleep(0.2)
    rows = house.query("select instance_id, stored_status, encode(output, 'escape') as output"
                       " from dt.Instances where instance_id like 'kill-%'")
    found = {row["instance_id"]: (row["stored_status"], row["output"]) for row in rows}
    wanted = {name: (COMPLETED, output) for name, output in outputs(range(started)).items()}
    wrong = [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
    assert not wrong, (f"{len(wrong)} of {started} orchestrations are lost or wrong, such as "
                       f"{wrong[0]}: {found.get(wrong[0])} and not {wanted.get(wrong[0])}")


def run(bench: Bench, what: str, in_flight: int) -> dict:
    house = FragileHouse(bench.directory(f"kill-{what.lower()}"))
    started = round(in_flight * SPARE_SHARE)
    starter, worker = Starter(house, started), Worker(house.daemon.address, started)
    try:
        starter.start_until(started)
        worker.start()
        starter.start()
        # So many have ended that turns of all kinds are under way.
        wait_for_completed(house, in_flight)
        flight = wait_for_begun(house, in_flight)
        event = strike(house, worker, what)
        wait_for_completed(house, completed(house) + in_flight // 2)
        starter.stop()
        check(house, starter.started)
        found = event | dataclasses.asdict(flight) | times(house, event)
        found["checked"] = starter.started
    finally:
        starter.stop()
        worker.stop()
        house.close()
    note(f"kill of the {what}, {flight.begun} begun and not ended: first completion after"
         f" {found['first_completion_seconds']:.2f} s")
    return found


def measure(bench: Bench, kills: tuple[str, ...] = KILLS) -> dict[str, list[dict]]:
    runs: dict[str, list[dict]] = {what: [] for what in kills}
    for _ in range(bench.options.repetitions):
        for what in kills:
            runs[what].append(run(bench, what, bench.options.kill_in_flight))
    return runs


def kill(bench: Bench) -> Outcome:
    runs = measure(bench)
    table = figure_table("kill -9 at full load, since the kill", COLUMNS,
                         [(f"of the {what}", medians(found)) for what, found in runs.items()])
    table.notes.append("Each orchestration that was started was checked afterwards: none was lost, "
                       "each output was right.")
    return Outcome([table], runs)
