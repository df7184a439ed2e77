"""W14: load for a long time, with a transaction held open in the middle half of it.

While it is open, vacuum can remove nothing that died since. What that costs is seen in the sizes of
the queues and in how latencies drift.
"""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence

from runs import Bench, Outcome
from servers import Server, figures, note, start
from tables import Column, Table, figure_table, medians, number, ratio

SLICES = 40  # at most; a short soak has fewer, not shorter ones than these seconds
SLICE_SECONDS_MIN = 5
QUEUES = ("ReadyInstances", "NewEvents", "NewTasks", "Workers")
PHASES = ("before", "held open", "after")
COLUMNS = (
    Column("orchestrations_per_second", "orchestrations/s"),
    Column("latency_ms_p50", "p50 ms"),
    Column("latency_ms_p99", "p99 ms"),
    Column("postgres_cpu_seconds_per_1000", "PostgreSQL CPU s/1,000", 3),
    Column("daemon_cpu_seconds_per_1000", "daemon CPU s/1,000", 3),
    Column("queues_mib", "queues MiB", 1),
    Column("dead_rows", "dead rows", 0),
    Column("daemon_rss_mib", "daemon MiB, at most", 1),
)


@contextlib.contextmanager
def open_transaction(server: Server) -> Iterator[None]:
    """Holds a snapshot, and says so first."""
    process = start(server.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write("begin isolation level repeatable read; select 'open', txid_current();\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith("open"), "no transaction was opened"
    try:
        yield
    finally:
        process.communicate("commit;\n")


def queue_sizes(server: Server) -> dict[str, dict]:
    """Bytes, with indexes, and dead rows of each queue."""
    names = ",".join(f"('{name}')" for name in QUEUES)
    rows = server.query(
        "select q.name, pg_total_relation_size(c.oid) as bytes, pg_stat_get_dead_tuples(c.oid) as"
        f" dead from (values {names}) q (name)"
        " join pg_class c on c.oid = ('dt.' || q.name)::regclass")
    return {row["name"]: row for row in rows}


def slice_of(bench: Bench, server: Server, seconds: float, phase: str) -> dict:
    found = figures(server.bench("--workload", "chain", "--activities", "5", "--in-flight", "64",
                                 "--warmup-seconds", "0", "--seconds", str(seconds)))
    sizes = queue_sizes(server)
    rss = found.get("daemon_rss_bytes")
    note(f"soak, {phase}: p99 {found['latency_ms_p99']:.0f} ms,"
         f" {sum(size['dead'] for size in sizes.values()):,} dead rows")
    return found | dict(
        phase=phase, sizes=sizes, queues_mib=sum(size["bytes"] for size in sizes.values()) / 2**20,
        dead_rows=sum(size["dead"] for size in sizes.values()),
        daemon_rss_mib=rss / 2**20 if rss else None)


def size_table(slices: Sequence[dict]) -> Table:
    table = Table("Soak: MiB of each queue with its indexes", ["", *QUEUES])
    for title, choose in (("at most, before", max), ("at most, held open", max),
                          ("at the end", lambda values: values[-1])):
        phase = title.removeprefix("at most, ") if title.startswith("at most") else "after"
        chosen = [found["sizes"] for found in slices if found["phase"] == phase]
        table.rows.append([title, *(number(choose([sizes[name]["bytes"] for sizes in chosen])
                                           / 2**20, 1) for name in QUEUES)])
    return table


def soak(bench: Bench) -> Outcome:
    in_all = bench.options.minutes * 60
    quarter = max(1, int(min(SLICES, in_all / SLICE_SECONDS_MIN)) // 4)
    seconds = max(SLICE_SECONDS_MIN, in_all / (4 * quarter))
    slices = []
    with bench.fresh_server() as server:
        begin = time.monotonic()
        for phase, share in zip(PHASES, (1, 2, 1)):
            hold = open_transaction(server) if phase == "held open" else contextlib.nullcontext()
            with hold:
                slices += [slice_of(bench, server, seconds, phase)
                           for _ in range(quarter * share)]
        minutes = (time.monotonic() - begin) / 60
    by_phase = {phase: medians([found for found in slices if found["phase"] == phase])
                for phase in PHASES}
    table = figure_table(f"Soak of {minutes:.1f} minutes, medians of slices of {seconds:.0f} s",
                         COLUMNS, list(by_phase.items()))
    drift = ratio(by_phase["after"]["latency_ms_p99"], by_phase["before"]["latency_ms_p99"])
    held = ratio(by_phase["held open"]["latency_ms_p99"], by_phase["before"]["latency_ms_p99"])
    table.notes.append(f"p99, held open : before {number(held, 2)}, after : before "
                       f"{number(drift, 2)}.")
    return Outcome([table, size_table(slices)], slices)
