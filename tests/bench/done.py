"""What is to be reached, what is measured, and how they compare."""

import argparse
from collections.abc import Mapping, Sequence

import aged
import idle
import kill
import loads
from runs import CURRENT, Bench, Load, Outcome, comparison
from servers import figures, note
from tables import Metric, Table, median, medians, paired_ratio, ratio, verdict_table

CHAIN = loads.chain(5, 256)
SINGLE = loads.chain(5, 1)
FANOUT = loads.fanout(1000, 4)
SHORT, LONG = loads.long_chain(10, 16_000, True), loads.long_chain(1000, 16_000, True)
COUNTED = 20_000

SHARE = Metric("chain of 5, 256 in flight, share of the null-storage rate", 70, 85, " %", 0, True)
RATE = Metric("chain of 5, 256 in flight", 1300, 1700, "/s", 0, True)
COMMITS = Metric("commits per chain at 256 in flight", 0.5, 0.2, "", 2)
ROUND_TRIPS = Metric("round trips per work item", 0.1, 0.03, "", 3)
WAL = Metric("WAL per chain of 5", 6, 3.5, " kB", 1)
POSTGRES_CPU = Metric("PostgreSQL CPU per 1,000 chains", 0.25, 0.15, " s", 3)
DAEMON_CPU = Metric("daemon CPU per 1,000 chains", 0.6, 0.45, " s", 3)
LATENCY = Metric("p50 of a single chain at low load", 6, 4, " ms", 1)
AGED = Metric("aged database (1,000,000 finished, 10,000 waiting) against empty", 90, 97, " %", 0,
              True)
FANOUT_RATE = Metric("fan-out 1,000: work items/s against the chain", 1, 1.3, "x", 2, True)
FANIN = Metric("fan-out 1,000: turns per fan-in", 50, 10, "", 0)
LONG_COST = Metric("chain of 1,000: cost per activity against chain of 10, streaming worker",
                   3, 1.2,
                   "x", 2)
IDLE_CPU = Metric("1,000,000 waiting instances, idle: share of a core", 1, 0.1, " %", 2)
IDLE_STATEMENTS = Metric("1,000,000 waiting instances, idle: queries a second", 1, 1, "/s", 2)
IDLE_MEMORY = Metric("1,000,000 waiting instances, idle: memory beside none", 64, 0.5, " MB", 1)
# Since the kill; for PostgreSQL since it accepts connections again, for how long it reads its WAL
# before is a matter of its settings.
KILLED = {
    "daemon": Metric("after kill -9 of the daemon with 10,000 in flight: first completion", 2, 1,
                     " s", 2),
    "PostgreSQL": Metric("after kill -9 of PostgreSQL with 10,000 in flight: first completion after"
                         " its own recovery", 2, 1, " s", 2),
    "worker": Metric("after kill -9 of the worker with 10,000 in flight: "
                     "longest pause between turns",
                     2, 1, " s", 2),
}


def cost_per_activity(run: Mapping) -> float:
    """CPU seconds of daemon and PostgreSQL for 1,000 activities."""
    return (run["daemon_cpu_seconds_per_1000_activities"]
            + run["postgres_cpu_seconds_per_1000_activities"])


def statements_per_work_item(bench: Bench) -> dict:
    """In a run of its own, since pg_stat_statements takes a part of PostgreSQL's time."""
    server = bench.server(bench.directory("counted"))
    with server:
        server.count_statements()
    with server:
        return figures(server.bench(*CHAIN.arguments, "--count", str(COUNTED)))


def aged_against_empty(bench: Bench) -> list[float | None]:
    """Ratios of runs that followed each other, on the hubs that tests/bench/aged compares."""
    options = argparse.Namespace(
        activities=5, in_flight=256, seconds=bench.options.seconds,
        warmup_seconds=bench.options.warmup_seconds, repetitions=bench.options.repetitions)
    directory = bench.directory("aged")
    with bench.server(directory) as server:
        figures(server.bench("--in-flight", "8", "--warmup-seconds", "0", "--count", "20"))
        server.fill(bench.options.finished, 10_000)
    runs = aged.compare(bench.root, directory, options)
    return [ratio(old["orchestrations_per_second"], new["orchestrations_per_second"])
            for old, new in zip(runs["aged"], runs["empty"])]


def chain_lines(runs: Mapping[str, Mapping[str, Sequence[dict]]], counted: Mapping) -> list:
    """The lines about chains and fan-outs; `counted` is the run with pg_stat_statements."""
    chains, singles, fanouts = (runs[load.name][CURRENT] for load in (CHAIN, SINGLE, FANOUT))
    null = runs[CHAIN.name].get("null")
    share = paired_ratio(chains, null, "orchestrations_per_second") if null else None
    found, wal = medians(chains), medians(chains)["wal_bytes_per_orchestration"]
    return [
        (SHARE, share * 100 if share is not None else None),
        (RATE, found["orchestrations_per_second"]),
        (COMMITS, found["commits_per_orchestration"]),
        (ROUND_TRIPS, counted.get("statements_per_work_item")),
        (WAL, wal / 1000 if wal is not None else None),
        (POSTGRES_CPU, found["postgres_cpu_seconds_per_1000"]),
        (DAEMON_CPU, found["daemon_cpu_seconds_per_1000"]),
        (LATENCY, medians(singles)["latency_ms_p50"]),
        (FANOUT_RATE, paired_ratio(fanouts, chains, "work_items_per_second")),
        # The first turn schedules, the others take results in.
        (FANIN, medians(fanouts)["turns_per_orchestration"] - 1),
    ]


def idle_lines(runs: Mapping[int, list[dict]]) -> list:
    found = idle.summary(runs, max(runs))
    return [
        (IDLE_CPU, found["daemon_cpu_percent"] + found["postgres_cpu_percent"]),
        (IDLE_STATEMENTS, found["statements_per_second"]),
        (IDLE_MEMORY, found["added_mib"]),
    ]


def kill_lines(runs: Mapping[str, list[dict]]) -> list:
    waited = {
        "daemon": lambda run: run["first_completion_seconds"],
        "PostgreSQL": lambda run: run["first_completion_seconds"] - run["back_seconds"],
        # It includes the start of the new one. What the daemon had got from the dead one is
        # committed all the while, so other times may be those of its work.
        "worker": lambda run: run["pause_seconds"],
    }
    return [(KILLED[what], median(map(waited[what], found))) for what, found in runs.items()]


def done(bench: Bench) -> Outcome:
    main_loads: list[Load] = [CHAIN, SINGLE, FANOUT, SHORT, LONG]
    runs = bench.interleaved(main_loads)
    counted = statements_per_work_item(bench)
    note("the aged database")
    aged_ratio = median(aged_against_empty(bench))
    idle_runs = idle.measure(bench, (0, bench.options.waiting))
    kill_runs = kill.measure(bench)
    lines = chain_lines(runs, counted)
    position = 1 + [metric for metric, _ in lines].index(LATENCY)
    lines.insert(position, (AGED, aged_ratio * 100 if aged_ratio is not None else None))
    lines.append((LONG_COST, median(
        cost_per_activity(long) / cost_per_activity(short)
        for long, short in zip(runs[LONG.name][CURRENT], runs[SHORT.name][CURRENT]))))
    lines += idle_lines(idle_runs) + kill_lines(kill_runs)
    table: Table = verdict_table("What is wanted, and what is measured", lines)
    table.notes.append("PostgreSQL's own recovery took "
                       f"{medians(kill_runs['PostgreSQL'])['back_seconds']:.1f} s.")
    measured = {metric.name: value for metric, value in lines}
    tables = [table, comparison("done", runs)] if len(bench.builds) > 1 else [table]
    return Outcome(tables, dict(metrics=measured, runs=runs, counted=counted, idle=idle_runs,
                                 kill=kill_runs))
