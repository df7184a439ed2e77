"""W10: what a daemon with a worker and nothing to do costs, however many instances wait."""

import contextlib
import time
from collections.abc import Iterator

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb

import machine
from runs import Bench, Outcome
from servers import Server, figures, note
from tables import Column, Table, figure_table, medians, number

SOME_WAITING = 10_000
CREDITS = 100
# Pauses between looks for work grow to their longest, and the statistics of what was before are
# reported. A time is what is waited for here, so a time it is.
SETTLE_SECONDS = 12
COLUMNS = (
    Column("statements_per_second", "statements/s", 2),
    Column("wal_bytes_per_second", "WAL bytes/s", 0),
    Column("daemon_cpu_percent", "daemon, % of a core", 3),
    Column("postgres_cpu_percent", "PostgreSQL, % of a core", 3),
    Column("daemon_mib", "daemon MiB", 1),
    Column("database_mib", "database MiB", 0),
)
STATEMENTS = ("select query, calls from pg_stat_statements where toplevel and dbid ="
              " (select oid from pg_database where datname = current_database())"
              " and query not like '%pg_stat_statements%' and calls > 0")
WAL = "select (pg_current_wal_insert_lsn() - '0/0')::float8 as bytes"


@contextlib.contextmanager
def idle_worker(server: Server) -> Iterator[None]:
    """A worker that wants everything. It must get nothing but pings, or the hub is not idle."""
    with server.client() as client:
        stream = client.GetWorkItems(pb.GetWorkItemsRequest(
            maxConcurrentOrchestrationWorkItems=CREDITS, maxConcurrentActivityWorkItems=CREDITS))
        yield
        stream.cancel()
        try:
            for item in stream:
                assert item.WhichOneof("request") == "healthPing", f"the hub is not idle: {item}"
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.CANCELLED, error


def prepare(bench: Bench, waiting: int) -> Server:
    """A server whose hub has so many instances that wait; half for a timer, half for an event."""
    server = bench.server(bench.directory(f"waiting-{waiting}"))
    with server:
        bench.look_at(server)
        figures(server.bench("--workload", "chain", "--activities", "5", "--in-flight", "8",
                             "--warmup-seconds", "0", "--count", "20"))
        seconds = server.fill(0, waiting)
        server.count_statements()
    note(f"{waiting:,} waiting instances in {seconds:.0f} s")
    return server


def statements(server: Server) -> dict[str, int]:
    return {row["query"]: row["calls"] for row in server.query(STATEMENTS)}


def window(server: Server, seconds: float) -> dict:
    """What a daemon that has just started, and has settled, uses in this time."""
    with server, idle_worker(server):
        time.sleep(SETTLE_SECONDS)
        [wal_before] = server.query(WAL)
        server.psql("-c", "select pg_stat_statements_reset()")
        begin = time.monotonic()
        daemon = machine.cpu_seconds(server.pid)
        postgres = machine.family_cpu_seconds(server.postmaster)
        time.sleep(seconds)
        daemon = machine.cpu_seconds(server.pid) - daemon
        postgres = machine.family_cpu_seconds(server.postmaster) - postgres
        passed = time.monotonic() - begin
        calls = statements(server)
        [wal_after] = server.query(WAL)
        size = float(server.psql("-c", "select pg_database_size(current_database())"))
        return dict(
            statements_per_second=sum(calls.values()) / passed,
            wal_bytes_per_second=(wal_after["bytes"] - wal_before["bytes"]) / passed,
            daemon_cpu_percent=daemon / passed * 100, postgres_cpu_percent=postgres / passed * 100,
            daemon_mib=machine.resident_bytes(server.pid) / 2**20, database_mib=size / 2**20,
            per_second={text: count / passed for text, count in calls.items()})


def measure(bench: Bench, waiting: tuple[int, ...]) -> dict[int, list[dict]]:
    """Number of waiting instances -> windows, in turns."""
    servers = {count: prepare(bench, count) for count in waiting}
    runs: dict[int, list[dict]] = {count: [] for count in waiting}
    for _ in range(bench.options.repetitions):
        for count, server in servers.items():
            found = window(server, bench.options.seconds)
            runs[count].append(found)
            note(f"{count:,} waiting: {found['statements_per_second']:.2f} statements/s")
    return runs


def summary(runs: dict[int, list[dict]], waiting: int) -> dict:
    """The figures of one line, with what the memory is beside that of no waiting instance."""
    figures_of = medians(runs[waiting])
    return dict(figures_of, added_mib=figures_of["daemon_mib"] - medians(runs[0])["daemon_mib"])


def statement_table(runs: dict[int, list[dict]]) -> Table:
    """Who asks PostgreSQL what, when there is nothing to do."""
    table = Table("Idle: statements per second", ["", *(f"{count:,} waiting" for count in runs)])
    found = {count: medians([run["per_second"] for run in windows])
             for count, windows in runs.items()}
    for query in dict.fromkeys(query for one in found.values() for query in one):
        table.rows.append([f"`{' '.join(query.split())[:70]}`",
                           *(number(one.get(query), 2) for one in found.values())])
    return table


def idle(bench: Bench) -> Outcome:
    runs = measure(bench, (0, SOME_WAITING, bench.options.waiting))
    lines = [(f"{count:,} waiting", summary(runs, count)) for count in runs]
    columns = (*COLUMNS, Column("added_mib", "MiB more than with none waiting", 1))
    return Outcome([figure_table("Idle, with one worker", columns, lines), statement_table(runs)],
                   {str(count): windows for count, windows in runs.items()})
