"""The gate: what a chain of five activities, and one of five calls of entities, costs, counted and
not timed, against a baseline.

Counts instructions (callgrind), round trips, commits, rows and WAL, which are the same on a busy
machine and on an idle one, and fails when one has grown over gate.json by more than it may. What is
counted, and why so, is in README.md. Ends with "N passed, N failed".
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from processes import Daemon, Postgres, schema_up

HERE = pathlib.Path(__file__).resolve().parent
BASELINE = HERE / "gate.json"
BUILD = pathlib.Path(os.environ["DTPG_BUILD"])
ACTIVITIES = 5
WORK_ITEMS = 2 * ACTIVITIES + 1  # of one chain: its turns and its activities
TURNS_CHAINS = 256  # what gate_turns runs: kRounds of kInFlight
# In flight -> chains that are counted. Alone, each chain is a sequence of single commits, which no
# other process can change; with others, batches depend on the machine, so less is counted there.
CHAINS = {1: 300, 64: 3000}
WARM_UP_CHAINS = 100
# Chains of calls, one in flight. All entities are there after the first chains.
ENTITY_CALLS = ("entity_many", "--entities", 10, "--signals", 0, "--calls", 5)
ENTITY_CHAINS = 200
DATABASE = "gate"
SERVER_SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    # The first change of a page after a checkpoint would be logged whole: a matter of time.
    "full_page_writes": "off",
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
    "jit": "off",
}
# However slow the machine is, results wait for their turn, and no call looks whether its chain
# ended.
DAEMON_OPTIONS = ("--workers-result-hold-ms-max", "10000", "--waits-poll-ms", "600000")
# What the daemon calls because time has passed: the slower the machine, the more of it per chain.
BY_CLOCK = "_(LockNext|ReadNewMessages|SweepExpired)|Worker"
REWRITE = "tests/bench/gate --write"


@dataclasses.dataclass(frozen=True)
class Figure:
    name: str
    what: str
    percent_max: float = 5  # how far over the baseline it may be


# How far each differed in five runs is in README.md. Batches follow the machine, so their number
# only tells whether there are any; so do the claims of entities that were idle for long.
FIGURES = (
    Figure("instructions.dispatch", "instructions of dispatcher and rules per chain"),
    Figure("instructions.encode", "instructions of the encoding for PostgreSQL per chain"),
    Figure("alone.round_trips", "round trips per work item, 1 in flight"),
    Figure("alone.commits", "commits per chain, 1 in flight"),
    Figure("alone.rows_written", "rows inserted, updated and deleted per chain, 1 in flight"),
    Figure("alone.cold_updates", "updates that are not HOT per chain, 1 in flight"),
    Figure("alone.wal_bytes", "bytes of WAL per chain, 1 in flight"),
    Figure("alone.wal_records", "records of WAL per chain, 1 in flight"),
    Figure("many.rows_written", "rows inserted, updated and deleted per chain, 64 in flight"),
    Figure("many.wal_bytes", "bytes of WAL per chain, 64 in flight"),
    Figure("many.wal_records", "records of WAL per chain, 64 in flight"),
    Figure("many.commits", "commits per chain, 64 in flight", percent_max=200),
    Figure("entities.commits", "commits per chain of calls of entities", percent_max=25),
    Figure("entities.rows_written", "rows written per chain of calls of entities", percent_max=25),
    Figure("entities.cold_updates", "cold updates per chain of calls of entities", percent_max=25),
    Figure("entities.wal_bytes", "bytes of WAL per chain of calls of entities", percent_max=25),
    Figure("entities.wal_records", "records of WAL per chain of calls of entities", percent_max=25),
)

# What callgrind collects for each figure of gate_turns: inside these functions.
# By their mangled names: that of Step, with all kinds of events in it, is too long to be demangled.
COLLECTED = {
    "instructions.dispatch": "_ZN2dt8dispatch10Dispatcher4StepE*",
    "instructions.encode": "_ZNK2dt8postgres8CallVerbI*E6EncodeE*",
}

COUNTERS = f"""
    select s.round_trips,
           d.xact_commit - s.by_clock as commits,
           (select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables) as rows_written,
           (select sum(n_tup_upd - n_tup_hot_upd) from pg_stat_user_tables) as cold_updates,
           w.wal_bytes, w.wal_records
      from pg_stat_database d, pg_stat_wal w,
           lateral (select sum(calls) filter (where query !~* '{BY_CLOCK}')::int8 as round_trips,
                           coalesce(sum(calls) filter (where query ~* '{BY_CLOCK}'), 0)::int8
                             as by_clock
                      from pg_stat_statements where dbid = d.datid and toplevel) s
     where d.datname = current_database()"""


class Broken(Exception):
    """It could not be measured; the text says what to do."""


def run(*command) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise Broken(f"{' '.join(str(word) for word in command)}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def count_instructions() -> dict:
    figures = {}
    for name, function in COLLECTED.items():
        output = run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                     "--demangle=no", f"--toggle-collect={function}", BUILD / "gate_turns")
        collected = int(re.search(r"Collected : (\d+)", output)[1])
        if collected == 0:
            raise Broken(f"callgrind found no call of {function}: if it has another name now, mend "
                         f"COLLECTED in tests/bench/gate.py")
        figures[name] = collected / TURNS_CHAINS
    return figures


def load(daemon: Daemon, workload: tuple, in_flight: int, chains: int) -> None:
    run(BUILD / "dtbench", "--address", daemon.address, "--workload", *workload, "--in-flight",
        in_flight, "--count", chains, "--warmup-seconds", 0)


def count_database(postgres: Postgres, directory: pathlib.Path, workload: tuple, in_flight: int,
                   counted: int) -> dict:
    """What chains cost, from the start of a daemon to its end: only then all has been reported."""
    samples = []
    for chains in (WARM_UP_CHAINS, counted):
        daemon = Daemon(f"daemon-{workload[0]}-{in_flight}-{chains}", postgres.url(DATABASE),
                        directory, *DAEMON_OPTIONS)
        load(daemon, workload, in_flight, chains)
        if daemon.stop() != 0:
            raise Broken(f"the daemon did not end well: {daemon.log.read_text()}")
        samples.append(postgres.query(DATABASE, COUNTERS)[0])
    return {name: (samples[1][name] - samples[0][name]) / chains for name in samples[0]}


def measure() -> tuple[dict, dict]:
    """The figures by name, and what they depend on beside our code."""
    figures = count_instructions()
    with tempfile.TemporaryDirectory(prefix="gate-") as name, contextlib.ExitStack() as cleanup:
        directory = pathlib.Path(name)
        directory.chmod(0o755)  # the user of PostgreSQL passes through it
        (directory / "postgres").mkdir()
        postgres = Postgres(directory / "postgres", **SERVER_SETTINGS)
        cleanup.callback(postgres.stop)
        postgres.create_database(DATABASE)
        run(postgres.bin / "psql", "-Xq", postgres.url(DATABASE), "-c",
            "create extension pg_stat_statements")
        schema_up(postgres.url(DATABASE))
        chain = ("chain", "--activities", ACTIVITIES)
        for prefix, workload, in_flight, chains in (
                ("alone", chain, 1, CHAINS[1]), ("many", chain, 64, CHAINS[64]),
                ("entities", ENTITY_CALLS, 1, ENTITY_CHAINS)):
            counted = count_database(postgres, directory, workload, in_flight, chains)
            for counter, value in counted.items():
                figures[f"{prefix}.{counter}"] = value
        version = postgres.query(DATABASE, "select current_setting('server_version') as version")
    figures["alone.round_trips"] /= WORK_ITEMS
    tools = {"compiler": compiler(), "postgresql": version[0]["version"]}
    return {figure.name: round(figures[figure.name], 3) for figure in FIGURES}, tools


def compiler() -> str:
    cache = (BUILD / "CMakeCache.txt").read_text()
    path = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.MULTILINE)[1]
    return run(path, "--version").splitlines()[0]


def compare(baseline: dict, measured: dict, tools: dict) -> list[tuple[bool, str]]:
    """For each figure whether it may pass, and a line about it."""
    others = [f"{name} was {baseline['tools'].get(name)} and is {now}"
              for name, now in tools.items() if baseline["tools"].get(name) != now]
    lines = []
    for figure in FIGURES:
        value = measured[figure.name]
        wanted = baseline["figures"].get(figure.name)
        if wanted is None:
            lines.append((False, f"FAILED {figure.name}: {value:,} {figure.what}, and no baseline: "
                                 f"write one with {REWRITE}"))
            continue
        percent = 100 * (value - wanted) / wanted if wanted else float("inf") if value else 0
        seen = f"{value:,} {figure.what}, baseline {wanted:,}, {percent:+.1f} %"
        if percent > figure.percent_max:
            advice = (f"Mend what made it grow, or, if that is worth it, make it the new baseline "
                      f"with {REWRITE} and say why in the commit message.")
            if others:
                advice += (f" The tools differ: {', '.join(others)}. If the commit before yours "
                           f"fails here too, they are the reason: rewrite the baseline in a commit "
                           f"of its own.")
            lines.append((False,
                          f"FAILED {figure.name}: {seen}, allowed {figure.percent_max:+g} %. "
                                 f"{advice}"))
        elif percent < -figure.percent_max:
            lines.append((True, f"{figure.name}: {seen}. Keep it with {REWRITE}"))
        else:
            lines.append((True, f"{figure.name}: {seen}"))
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/gate", description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="make what was counted the baseline")
    arguments = parser.parse_args()
    try:
        measured, tools = measure()
    except Broken as broken:
        print(f"FAILED {broken}\n0 passed, 1 failed")
        return 1
    if arguments.write:
        BASELINE.write_text(json.dumps({"tools": tools, "figures": measured}, indent=2) + "\n")
    lines = compare(json.loads(BASELINE.read_text()), measured, tools)
    print(*(text for _, text in lines), sep="\n")
    failed = sum(not passed for passed, _ in lines)
    print(f"{len(lines) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
