"""Chains by the ways of a daemon to PostgreSQL, in turns: with statements prepared, without, and
through a PgBouncer in either mode. Printed are medians of the ratios to the first way, turn by
turn, since the machine may be shared."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(os.environ["DTPG_BUILD"])
os.environ.setdefault("DTPG_SIDECAR", str(BUILD / "durabletask-sidecar"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
# These need DTPG_SIDECAR and the path.
from poolers import Pooler  # noqa: E402
from processes import Daemon, Postgres, schema_up  # noqa: E402

DATABASE = "bench"
FIGURES = ("orchestrations_per_second", "postgres_cpu_seconds_per_1000",
           "daemon_cpu_seconds_per_1000",
           "latency_ms_p50", "commits_per_orchestration")


def measure(postgres: Postgres, url: str, options: tuple, in_flight: int, seconds: float) -> list:
    daemon = Daemon("bench", url, postgres.directory, *options)
    try:
        run = subprocess.run(
            [BUILD / "dtbench", "--address", daemon.address, "--postgres", postgres.url(DATABASE),
             "--in-flight",
             str(in_flight), "--seconds", str(seconds), "--warmup-seconds", "1", "--json"],
            check=True, capture_output=True, text=True)
    finally:
        daemon.stop()
    figures = json.loads(run.stdout.splitlines()[-1])
    return [figures[name] for name in FIGURES]


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests/bench/pooler", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 64, 256])
    arguments = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="dt-bench-"))
    directory.chmod(0o755)
    postgres, poolers = None, []
    try:
        postgres = Postgres(directory)
        postgres.create_database(DATABASE)
        direct = postgres.url(DATABASE)
        schema_up(direct)
        ways = {"prepared": (direct, ()),
                "not prepared": (direct, ("--postgres-prepared-statements", "off"))}
        for mode in ("transaction", "session"):
            poolers.append(Pooler(postgres, directory / mode, mode))
            ways[f"pooler, {mode}"] = (poolers[-1].url(DATABASE), ("--postgres-listen-url", direct))
        print("in flight | way |", " | ".join(FIGURES))
        for in_flight in arguments.in_flight:
            found: dict[str, list] = {name: [] for name in ways}
            for _ in range(arguments.repetitions):
                for name, (url, options) in ways.items():
                    found[name].append(measure(postgres, url, options, in_flight,
                                               arguments.seconds))
            for name, runs in found.items():
                ratios = [statistics.median(run[i] / first[i]
                                            for run, first in zip(runs, found["prepared"]))
                          for i in range(len(FIGURES))]
                print(in_flight, "|", name, "|", " | ".join(f"{ratio:.2f}" for ratio in ratios),
                      flush=True)
    finally:
        for pooler in poolers:
            pooler.stop()
        if postgres:
            postgres.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
