"""What the set `fleet` is to reach, and what it makes of what it sees. Pure."""

import math
import re
from collections.abc import Mapping, Sequence

from tables import Metric, Table, median, number

FANOUT = 200  # activities
FANOUT_SECONDS = 0.2  # that each of them takes
FANOUT_CREDITS = 200  # that a worker announces, as the Python SDK on two cores
FANOUT_CONCURRENCY = 6  # that it runs at once, as the SDK's pool of threads
FANOUT_DAEMONS = (2, 4, 8)
FLEET = 20  # daemons that share a low load
IDLE_DAEMONS = 50


def fanout_lines(daemons: int) -> dict[str, Metric]:
    """The issue says nothing more of the shares than what they must be."""
    case = (f"fan-out of {FANOUT} activities of {FANOUT_SECONDS} s, {daemons} daemons with a worker"
            " each: ")
    return {
        f"time_of_{daemons}": Metric(case + "time against the ideal one", 1.3, 1.15, "x", 2),
        f"least_of_{daemons}": Metric(case + "what the idlest worker ran of its fair share", 50, 50,
                                      " %", 0, True),
        f"most_of_{daemons}": Metric(case + "what the busiest worker ran of its fair share", 150,
                                     150, " %", 0),
    }


CPU = "CPU per 1,000 chains of 5 at 100 starts/s, "
ROLLING = "rolling restart of 4 daemons under load of 4 workers: "
# Row of the set -> figure of its runs -> what is to be reached.
LINES: dict[str, dict[str, Metric]] = {
    "wait": {"added_ms": Metric(
        "chain of 3, client on daemon A, worker on B: p50 above client and worker on one", 25, 8,
        " ms", 1)},
    "fanout": {key: metric for daemons in FANOUT_DAEMONS
               for key, metric in fanout_lines(daemons).items()},
    "kill": {"last_seconds": Metric(
        "kill -9 of a daemon in a pid namespace of its own: until the last of its instances goes on"
        " elsewhere", 5, 2, " s", 1)},
    "cpu": {
        "postgres_of_one": Metric(f"PostgreSQL {CPU}one daemon", 1.2, 0.8, " s", 2),
        f"postgres_of_{FLEET}": Metric(f"PostgreSQL {CPU}{FLEET} daemons at {100 // FLEET}/s each",
                                       1.8, 1.2, " s", 2),
        "daemons_of_one": Metric(f"daemon {CPU}one daemon", 1.2, 0.9, " s", 2),
    },
    "statements": {
        "checkpoint_ms": Metric("one checkpoint alone, execution in PostgreSQL", 0.10, 0.06, " ms",
                                3),
        "creation_ms": Metric("one creation alone, execution in PostgreSQL", 0.15, 0.10, " ms", 3),
    },
    "single": {"p50_ms": Metric("single chain of 5, low load: p50", 4.5, 4, " ms", 1)},
    "sixteen": {"percent": Metric("chain of 5, rate of 16 in flight beside 64 in flight", 70, 85,
                                  " %", 0, True)},
    "rolling": {
        "lost": Metric(ROLLING + "orchestrations lost", 0, 0, "", 0),
        "repeated": Metric(ROLLING + "activities repeated", 0, 0, "", 0),
        "errors": Metric(ROLLING + "errors other than UNAVAILABLE", 0, 0, "", 0),
        "pause_seconds": Metric(ROLLING + "longest pause between ends", 1, 0.3, " s", 2),
        "slowest_seconds": Metric(ROLLING + "slowest chain beyond the p50 of all", 1, 0.3, " s", 2),
    },
    "idle": {
        "queries": Metric(f"{IDLE_DAEMONS} idle daemons with a worker each: queries per daemon", 1,
                          1, "/s", 2),
        "connections": Metric(f"{IDLE_DAEMONS} idle daemons with a worker each: connections of each"
                              " daemon", 3, 2, "", 2),
    },
}


# Of these the worst run counts and not the median: one fault in five runs is a fault, and a daemon
# opens its connections one after the other and closes none.
WORST = ("lost", "repeated", "errors", "connections")


def ideal_seconds(activities: int, seconds: float, at_once: int) -> float:
    """What activities of equal length take, of which so many run at once and none ever waits for
    the server."""
    return math.ceil(activities / at_once) * seconds


def shares(done: Sequence[int]) -> tuple[float, float]:
    """The least and the most that one of equal workers did, in percent of its fair share."""
    fair = sum(done) / len(done)
    return min(done) / fair * 100, max(done) / fair * 100


def error_count(stderr: str) -> int:
    """What dtbench says of a run that went wrong; one that does not count its errors has one."""
    found = re.search(r"(\d+) error\(s\)", stderr)
    return int(found[1]) if found else 1


def fleet_table(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    """What the issue asks for, of the rows that were measured."""
    table = Table("A fleet of daemons on one PostgreSQL", ["case", "now", "must", "aim"])
    for row, found in runs.items():
        for key, metric in LINES[row].items():
            known = [run[key] for run in found if run.get(key) is not None]
            now = max(known, default=None) if key in WORST else median(known)
            table.rows.append([metric.name, *(
                number(value, metric.digits) + (metric.unit if value is not None else "")
                for value in (now, metric.must, metric.aim))])
    return table


def detail_table(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    """All figures of the rows, with how far they differ."""
    table = Table("The same, all figures of the runs",
                  ["row", "figure", "median", "least", "most", "runs"])
    for row, found in runs.items():
        for key in dict.fromkeys(key for run in found for key in run):
            values = [run[key] for run in found if run.get(key) is not None]
            if values:
                table.rows.append([row, key, *(number(value, 3) for value in (
                    median(values), min(values), max(values))), str(len(values))])
    return table
