"""W13: kill -9 of the daemon, of PostgreSQL and of the worker at full load.

What is killed is started again at once on the same host. Times come from the database's own records of
turns and ends; the daemon, PostgreSQL and this program share a clock. Afterwards every orchestration
that was started must have completed, with the output that it must have.
"""

import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import machine
from chain_values import chain_input, chain_output
from runs import Bench, Outcome
from servers import DTBENCH, SIDECAR, note, start
from tables import Column, figure_table, medians, seconds_to_rate

sys.path.insert(0, str(machine.ROOT / "tests" / "recovery"))
os.environ.setdefault("DTPG_SIDECAR", str(SIDECAR))
from processes import Daemon, Postgres, eventually  # noqa: E402

DATABASE = "kill"
COMPLETED = 1  # OrchestrationStatus
REFILL_SECONDS = 0.2
RATE_SECONDS = 5  # before the kill, which is full rate
RATE_SHARE = 0.8
BIN_SECONDS = 0.1
DRAIN_SECONDS = 300
KILLS = ("daemon", "PostgreSQL", "worker")
COLUMNS = (
    Column("in_flight", "in flight", 0),
    Column("serving_seconds", "serves again, s", 2),
    Column("first_turn_seconds", "first turn, s", 2),
    Column("first_completion_seconds", "first completion, s", 2),
    Column("pause_seconds", "longest pause between turns, s", 2),
    Column("full_rate_seconds", f"{RATE_SHARE:.0%} of full rate, s", 1),
    Column("turns_per_second", "turns/s before", 0),
    Column("checked", "orchestrations checked", 0),
)


def activities_of(number: int) -> int:
    """1 to 9, 5 in the mean: chains that were started together soon do not go in step."""
    return 1 + number % 9


class House:
    """A PostgreSQL and a daemon that can be killed, each by itself."""

    def __init__(self, directory: pathlib.Path):
        directory.mkdir(mode=0o755)
        self.postgres = Postgres(directory)
        self.postgres.create_database(DATABASE)
        self.daemon = Daemon(DATABASE, self.postgres.url(DATABASE), directory, "--schema-up")

    def close(self) -> None:
        self.daemon.stop()
        self.postgres.stop()

    def query(self, sql: str) -> list[dict]:
        return self.postgres.query(DATABASE, sql)

    def psql(self, sql: str) -> str | None:
        """What psql prints; None while PostgreSQL is away."""
        done = subprocess.run(
            [self.postgres.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1",
             self.postgres.url(DATABASE)], input=sql, capture_output=True, text=True)
        # 1 is an error of psql itself, 2 a connection that is lost, 3 an error in the statement.
        away = done.returncode == 2 or "the database system is" in done.stderr
        assert done.returncode == 0 or away, done.stderr
        return done.stdout if done.returncode == 0 else None

    def live(self) -> int | None:
        """Orchestrations that have not ended; None while PostgreSQL is away."""
        found = self.psql("select count(*) from dt.ReadyInstances")
        return None if found is None else int(found)


class Starter(threading.Thread):
    """Keeps so many orchestrations in flight, whatever happens to the daemon: it starts them by SQL."""

    def __init__(self, house: House, in_flight: int):
        super().__init__(daemon=True)
        self._house, self._in_flight = house, in_flight
        self._stopping = threading.Event()
        self.started = 0

    def run(self) -> None:
        while not self._stopping.wait(REFILL_SECONDS):
            live = self._house.live()
            if live is not None and live < self._in_flight:
                self.start_until(self.started + self._in_flight - live)

    def start_until(self, count: int) -> None:
        """Starts numbers below `count`. Nobody knows what became of a call whose connection was lost,
        so it is repeated, for those that are not there."""
        rows = ",".join(f"('kill-{number}', '{chain_input(number, activities_of(number))}')"
                        for number in range(self.started, count))
        sql = ("select count(dt.CreateInstance('DtbenchChain', InstanceID => n.id,"
               f" InputText => n.input)) from (values {rows}) n (id, input) where not exists"
               " (select from dt.Instances i where i.instance_id = n.id)")
        while self._house.psql(sql) is None:
            self._stopping.wait(REFILL_SECONDS)
        self.started = count

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join()


class Worker(threading.Thread):
    """dtbench as a worker alone: it ends with its connection, and is started again at once."""

    def __init__(self, address: str, credits: int):
        super().__init__(daemon=True)
        host, port = address.split(":")
        self._socket_address = (host, int(port))
        # It finishes what it finds in the hub; of its own it starts one in a hundred seconds.
        self._command = [
            DTBENCH, "--address", address, "--workload", "chain", "--starts-per-second", "0.01",
            "--seconds", "86400", "--warmup-seconds", "0", "--timeout-seconds", "86400",
            "--worker-orchestrations", credits, "--worker-activities", credits]
        self._stopping = threading.Event()
        self._process: subprocess.Popen | None = None
        self.last_start = 0.0

    def run(self) -> None:
        while not self._stopping.is_set():
            if self._server_listens():
                self.last_start = time.time()
                self._process = start(self._command, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
                self._process.wait()

    def _server_listens(self) -> bool:
        try:
            socket.create_connection(self._socket_address, 1).close()
            return True
        except OSError:
            self._stopping.wait(0.005)
            return False

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._stopping.set()
        if self._process:
            self._process.kill()
        if self.is_alive():
            self.join()


def strike(house: House, worker: Worker, what: str) -> dict:
    """Kills it and starts it again; returns the times since then, by the clock."""
    killed = time.time()
    if what == "daemon":
        house.daemon.kill()
        restarted = time.time()
        house.daemon.start()
    elif what == "PostgreSQL":
        house.postgres.kill()
        restarted = time.time()
        house.postgres.start()
    else:
        worker.kill()
        eventually(lambda: worker.last_start > killed, "the worker is started again")
        restarted = worker.last_start
    serving = time.time()
    # What a killed postmaster leaves behind commits for a moment more: that is no recovery.
    since = serving if what == "PostgreSQL" else restarted
    return dict(killed=killed, restarted=restarted, since=since,
                serving_seconds=serving - restarted)


def completed(house: House) -> int:
    [row] = house.query("select count(*) as n from dt.Instances where completed_time is not null")
    return row["n"]


def wait_for_completed(house: House, count: int) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    while (found := completed(house)) < count:
        assert time.monotonic() < deadline, f"only {found} orchestrations have ended"
        time.sleep(REFILL_SECONDS)


def times(house: House, event: dict) -> dict:
    """What the database's records say about the time after the restart."""
    after = f"to_timestamp({event['since']!r})"
    [first] = house.query(
        "select (select extract(epoch from min(committed_time)) from dt.History"
        f" where committed_time > {after})::float8 as turn, (select extract(epoch from"
        f" min(completed_time)) from dt.Instances where completed_time > {after})::float8 as ended")
    [before] = house.query(
        f"select count(*) / {RATE_SECONDS}.0 as rate from dt.History where committed_time between"
        f" to_timestamp({event['killed'] - RATE_SECONDS!r}) and to_timestamp({event['killed']!r})")
    rows = house.query(
        f"select floor(extract(epoch from committed_time - {after}) / {BIN_SECONDS})::int as bin,"
        f" count(*) as n from dt.History where committed_time > {after} group by 1")
    bins = {row["bin"]: row["n"] for row in rows}
    counts = [bins.get(i, 0) for i in range(max(bins) + 1)]
    [pause] = house.query(
        "select max(gap)::float8 as seconds from (select extract(epoch from committed_time -"
        " lag(committed_time) over (order by committed_time)) as gap from dt.History where"
        f" committed_time > to_timestamp({event['killed'] - 1!r})) g")
    return dict(
        turns_per_second=before["rate"], pause_seconds=pause["seconds"],
        first_turn_seconds=first["turn"] - event["restarted"],
        first_completion_seconds=first["ended"] - event["restarted"],
        full_rate_seconds=seconds_to_rate(counts, BIN_SECONDS, RATE_SHARE * before["rate"]))


def check(house: House, started: int) -> None:
    """Every orchestration has completed with the output that it must have."""
    deadline = time.monotonic() + DRAIN_SECONDS
    unfinished = ("select count(*) as n from dt.Instances where completed_time is null"
                  " and instance_id like 'kill-%'")
    while (left := house.query(unfinished)[0]["n"]) > 0:
        assert time.monotonic() < deadline, f"{left} orchestrations do not end"
        time.sleep(0.2)
    rows = house.query("select instance_id, runtime_status, encode(output, 'escape') as output"
                       " from dt.Instances where instance_id like 'kill-%'")
    found = {row["instance_id"]: (row["runtime_status"], row["output"]) for row in rows}
    wanted = {f"kill-{number}": (COMPLETED, chain_output(number, activities_of(number)))
              for number in range(started)}
    wrong = [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
    assert not wrong, (f"{len(wrong)} of {started} orchestrations are lost or wrong, such as "
                       f"{wrong[0]}: {found.get(wrong[0])} and not {wanted.get(wrong[0])}")


def run(bench: Bench, what: str, in_flight: int) -> dict:
    house = House(bench.directory(f"kill-{what.lower()}"))
    starter, worker = Starter(house, in_flight), Worker(house.daemon.address, in_flight)
    try:
        starter.start_until(in_flight)
        worker.start()
        starter.start()
        # Everything that was there at first has ended: turns of all kinds are under way.
        wait_for_completed(house, in_flight)
        live = house.live()
        event = strike(house, worker, what)
        wait_for_completed(house, completed(house) + in_flight // 2)
        starter.stop()
        check(house, starter.started)
        found = event | times(house, event) | dict(in_flight=live, checked=starter.started)
    finally:
        starter.stop()
        worker.stop()
        house.close()
    note(f"kill of the {what}: first completion after {found['first_completion_seconds']:.2f} s")
    return found


def measure(bench: Bench, kills: tuple[str, ...] = KILLS) -> dict[str, list[dict]]:
    runs: dict[str, list[dict]] = {what: [] for what in kills}
    for _ in range(bench.options.repetitions):
        for what in kills:
            runs[what].append(run(bench, what, bench.options.kill_in_flight))
    return runs


def kill(bench: Bench) -> Outcome:
    runs = measure(bench)
    table = figure_table("kill -9 at full load, since the restart", COLUMNS,
                         [(f"of the {what}", medians(found)) for what, found in runs.items()])
    table.notes.append("Each orchestration that was started was checked afterwards: none was lost, "
                       "each output was right.")
    return Outcome([table], runs)
