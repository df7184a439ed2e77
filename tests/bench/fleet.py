"""Several daemons on one PostgreSQL, as when each worker has a daemon beside it: the table of
issue 18, row by row.

Each row is a function that measures as often as the suite repeats, on a PostgreSQL of its own.
"""

import subprocess
import time
from collections.abc import Callable

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal.orchestrator_service_pb2_grpc import TaskHubSidecarServiceStub
from google.protobuf.wrappers_pb2 import StringValue

import idle as idle_set
import machine
from chain_values import chain_input
from fleet_figures import (FANOUT, FANOUT_CONCURRENCY, FANOUT_CREDITS, FANOUT_DAEMONS,
                           FANOUT_SECONDS, FLEET, IDLE_DAEMONS, LINES, detail_table, error_count,
                           fleet_table, ideal_seconds, shares)
from fleet_house import NAMESPACE, FleetHouse, fleet, namespaces_are_allowed, workers
from kill import check, completed
from kill_load import activities_of, instance_id
from processes import Daemon, eventually
from runs import Bench, Outcome
from servers import bench_at, figures, figures_of, note

Runs = list[dict[str, float | None]]

LOW_STARTS = 100  # a second, of the whole fleet
COUNTED_CHAINS = 300  # whose statements are looked at
KILL_STARTED = 60  # orchestrations
KILL_HELD = 30  # of them, those that a daemon has at least when it is killed
KILL_ACTIVITY_SECONDS = 0.5
# Lanes close connections that they have not used for 30 s (storage/postgres/lane.h).
IDLE_SETTLE_SECONDS = 45
ROLLING_DAEMONS = 4
ROLLING_STARTS = 40  # a second
ROLLING_ACTIVITY_SECONDS = 0.02
ROLLING_ROUNDS = 3  # of one run
ROLLING_SECONDS = 15  # in which all daemons must have been restarted so often


def wait(bench: Bench) -> Runs:
    """The client waits at another daemon than the one that its orchestration ends at."""
    runs: Runs = []
    with fleet(bench, 2) as house:
        a, b = house.addresses
        for _ in range(bench.options.repetitions):
            one = house.chains(bench, 3, "--in-flight", "1", addresses=[a])
            apart = house.chains(bench, 3, "--in-flight", "1", "--client-addresses", a,
                                 addresses=[b])
            runs.append(dict(one_ms=one["latency_ms_p50"], apart_ms=apart["latency_ms_p50"],
                             added_ms=apart["latency_ms_p50"] - one["latency_ms_p50"]))
    return runs


def fanout(bench: Bench) -> Runs:
    """Workers announce far more than they run at once, as those of the SDKs do."""
    runs: Runs = []
    with fleet(bench, max(FANOUT_DAEMONS)) as house:
        for _ in range(bench.options.repetitions):
            run: dict[str, float | None] = {}
            for count in FANOUT_DAEMONS:
                found = figures(bench_at(
                    house.addresses[:count], "--workload", "fanout", "--activities", str(FANOUT),
                    "--activity-seconds", str(FANOUT_SECONDS),
                    "--activity-concurrency", str(FANOUT_CONCURRENCY),
                    "--worker-activities", str(FANOUT_CREDITS), "--in-flight", "1",
                    "--warmup-seconds", "0", "--count", "1"))
                seconds = found["latency_ms_max"] / 1000
                ideal = ideal_seconds(FANOUT, FANOUT_SECONDS, count * FANOUT_CONCURRENCY)
                least, most = shares(found["stream_activities"])
                run |= {f"seconds_of_{count}": seconds, f"time_of_{count}": seconds / ideal,
                        f"least_of_{count}": least, f"most_of_{count}": most}
            runs.append(run)
    return runs


def start_at(daemon: Daemon, number: int) -> None:
    """Starts a chain through this daemon, which gives it to its own worker."""
    with grpc.insecure_channel(daemon.address) as channel:
        TaskHubSidecarServiceStub(channel).StartInstance(pb.CreateInstanceRequest(
            instanceId=instance_id(number), name="DtbenchChain",
            input=StringValue(value=chain_input(number, activities_of(number)))))


def held_by(house: FleetHouse, worker_id: int) -> list[dict]:
    """Instances that this daemon has, and that have had a turn."""
    return house.query(f"select instance_key, turn from dt.ReadyInstances"
                       f" where lease_token >> 40 = {worker_id} and turn > 0")


def went_on(house: FleetHouse, held: list[dict], since: float) -> list[float]:
    """When each of these instances had a later turn, in seconds since then; of those that had."""
    values = ",".join(f"({one['instance_key']}, {one['turn']})" for one in held)
    rows = house.query(
        f"select extract(epoch from min(h.committed_time))::float8 - {since!r} as seconds"
        f" from (values {values}) k (instance_key, turn) join dt.History h"
        " on h.instance_key = k.instance_key and h.turn > k.turn group by k.instance_key")
    return sorted(row["seconds"] for row in rows)


def take_over(bench: Bench) -> dict[str, float | None]:
    """One kill. Afterwards every orchestration must end with its output."""
    load = ("--activity-seconds", str(KILL_ACTIVITY_SECONDS))
    with fleet(bench) as house:
        killed = house.add_daemon(prefix=NAMESPACE)
        # Nobody else is there yet.
        [worker] = eventually(lambda: house.query("select worker_id from dt.Workers"),
                              "the daemon has a row in Workers")
        other = house.add_daemon()
        with workers([killed.address], *load), workers([other.address], *load):
            start_at(other, 0)  # whose end says that the other daemon's worker works
            eventually(lambda: completed(house), "the other daemon runs a chain")
            for number in range(1, KILL_STARTED):
                start_at(killed, number)
            held = eventually(
                lambda: (found := held_by(house, worker["worker_id"]))[KILL_HELD - 1:] and found,
                "the daemon holds instances")
            killed.kill()
            now = time.time()
            eventually(lambda: len(went_on(house, held, now)) == len(held), "all go on elsewhere")
            seconds = went_on(house, held, now)
            check(house, KILL_STARTED)
    return dict(held=len(held), median_seconds=seconds[len(seconds) // 2], last_seconds=seconds[-1])


def kill(bench: Bench) -> Runs:
    """Other daemons cannot see that the process is gone, since it has a namespace of its own."""
    if not namespaces_are_allowed():
        note(f"fleet, kill: not measured, {' '.join(NAMESPACE)} is not permitted here")
        return []
    return [take_over(bench) for _ in range(bench.options.repetitions)]


def cpu(bench: Bench) -> Runs:
    """The same load for one daemon, and spread over many."""
    runs: Runs = [{} for _ in range(bench.options.repetitions)]
    with fleet(bench, 1) as house:
        for name, more in (("one", 0), (str(FLEET), FLEET - 1)):
            house.add_daemons(more)
            for run in runs:
                found = house.chains(bench, 5, "--starts-per-second", str(LOW_STARTS))
                run |= {f"postgres_of_{name}": found["postgres_cpu_seconds_per_1000"],
                        f"daemons_of_{name}": found["daemon_cpu_seconds_per_1000"],
                        f"p50_ms_of_{name}": found["latency_ms_p50"],
                        f"commits_of_{name}": found["commits_per_orchestration"]}
    return runs


def execution_ms(house: FleetHouse, *statements: str) -> float:
    """What a call of one of these takes inside PostgreSQL, by pg_stat_statements."""
    patterns = ", ".join(f"'%{statement}%'" for statement in statements)
    [row] = house.query(
        "select sum(total_exec_time) / sum(calls) as ms from pg_stat_statements where toplevel"
        f" and query like any (array[{patterns}])")
    assert row["ms"] is not None, f"nobody called {statements}"
    return row["ms"]


def statements(bench: Bench) -> Runs:
    """One chain at a time, so each call of the daemon has one item."""
    runs: Runs = []
    with fleet(bench, 1, counted=True) as house:
        for _ in range(bench.options.repetitions):
            house.sql("select pg_stat_statements_reset()")
            figures(bench_at(house.addresses, "--workload", "chain", "--activities", "5",
                             "--in-flight", "1", "--warmup-seconds", "0",
                             "--count", str(COUNTED_CHAINS)))
            runs.append(dict(
                checkpoint_ms=execution_ms(house, "_CheckpointOrchestration(", "/* checkpoint_"),
                creation_ms=execution_ms(house, "_CreateInstances(", "/* create_")))
    return runs


def single(bench: Bench) -> Runs:
    """Seven commits in a row, so how long the disk takes for each at that time stands beside it."""
    runs: Runs = []
    with fleet(bench, 1) as house:
        for _ in range(bench.options.repetitions):
            found = house.chains(bench, 5, "--in-flight", "1")
            runs.append(dict(p50_ms=found["latency_ms_p50"], p99_ms=found["latency_ms_p99"],
                             sync_us=machine.sync_microseconds(bench.root)))
    return runs


def sixteen(bench: Bench) -> Runs:
    """What a load of the middle keeps of the rate of a larger one."""
    runs: Runs = []
    with fleet(bench, 1) as house:
        for _ in range(bench.options.repetitions):
            few, many = (house.chains(bench, 5, "--in-flight", in_flight)
                         ["orchestrations_per_second"] for in_flight in ("16", "64"))
            runs.append(dict(rate_of_16=few, rate_of_64=many, percent=few / many * 100))
    return runs


def restarts(house: FleetHouse) -> dict[str, float | None]:
    """Rolling restarts under load; of a run that went wrong only the number of errors is
    known, and whether an orchestration was lost, which is one that does not end in time."""
    load = bench_at(house.addresses, "--reconnect", "--workload", "chain", "--activities", "5",
                    "--activity-seconds", str(ROLLING_ACTIVITY_SECONDS),
                    "--starts-per-second", str(ROLLING_STARTS), "--warmup-seconds", "1",
                    "--seconds", str(ROLLING_SECONDS), stderr=subprocess.PIPE)
    seconds = 0.0
    for _ in range(ROLLING_ROUNDS):
        # More than the warm-up has.
        enough = completed(house) + 2 * ROLLING_STARTS
        eventually(lambda: completed(house) >= enough or load.poll(), "chains end")
        begin = time.monotonic()
        for daemon in house.daemons:
            assert daemon.stop() == 0, f"the daemon ended badly; its log: {daemon.log}"
            daemon.start()
        seconds += time.monotonic() - begin
    assert load.poll() != 0, f"restarts took {seconds:.0f} s, longer than the load"
    output, errors = load.communicate()
    if load.returncode != 0:
        note(f"fleet, rolling: {errors}")
        return dict(errors=error_count(errors), lost=float("Deadline Exceeded" in errors))
    found = figures_of(output)
    return dict(lost=0, errors=found["cancelled"], repeated=found["repeated_activities"],
                unavailable=found["unavailable"], seconds_of_each=seconds / ROLLING_ROUNDS,
                pause_seconds=found["longest_pause_seconds"],
                slowest_seconds=(found["latency_ms_max"] - found["latency_ms_p50"]) / 1000)


def rolling(bench: Bench) -> Runs:
    """SIGTERM and a new start of one daemon after the other."""
    with fleet(bench, ROLLING_DAEMONS) as house:
        return [restarts(house) for _ in range(bench.options.repetitions)]


def idle(bench: Bench) -> Runs:
    """What each daemon asks PostgreSQL when there is nothing to do."""
    runs: Runs = []
    with (fleet(bench, IDLE_DAEMONS, counted=True) as house, workers(house.addresses)):
        # Pauses between looks for work grow to their longest, and connections that nothing needs
        # are closed, so a time is what is waited for.
        time.sleep(IDLE_SETTLE_SECONDS)
        for _ in range(bench.options.repetitions):
            house.sql("select pg_stat_statements_reset()")
            begin = time.monotonic()
            time.sleep(bench.options.seconds)
            calls = sum(row["calls"] for row in house.query(idle_set.STATEMENTS))
            passed = time.monotonic() - begin
            connections = int(house.sql(
                "select count(*) from pg_stat_activity where backend_type = 'client backend'"
                " and pid <> pg_backend_pid()"))
            runs.append(dict(queries=calls / passed / IDLE_DAEMONS,
                             connections=connections / IDLE_DAEMONS))
    return runs


ROWS: dict[str, Callable[[Bench], Runs]] = {
    "wait": wait, "fanout": fanout, "kill": kill, "cpu": cpu, "statements": statements,
    "single": single, "sixteen": sixteen, "rolling": rolling, "idle": idle}
assert ROWS.keys() == LINES.keys()


def measure(bench: Bench) -> Outcome:
    runs: dict[str, Runs] = {}
    for name, row in ROWS.items():
        if not bench.options.only or name in bench.options.only:
            begin = time.monotonic()
            runs[name] = row(bench)
            note(f"fleet, {name}, {time.monotonic() - begin:.0f} s: {runs[name]}")
    table = fleet_table(runs)
    if runs.get("kill") == []:
        table.notes.append(f"`{' '.join(NAMESPACE)}` is not permitted on this machine, so the kill "
                           "of a daemon in a namespace of its own was not measured.")
    return Outcome([table, detail_table(runs)], runs)
