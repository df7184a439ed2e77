"""The processes that the measurements start; the kernel ends them when this program ends."""

import argparse
import contextlib
import glob
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import grpc
from durabletask.internal.orchestrator_service_pb2_grpc import TaskHubSidecarServiceStub

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ["DTPG_BUILD"])
SIDECAR = BUILD / "durabletask-sidecar"
DTBENCH = BUILD / "dtbench"
START_SECONDS = 120
FILL_BATCH = 100_000
FILL_DAYS = 30


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(arguments: list, **options) -> subprocess.Popen:
    """A child that ends with this program, however that ends. Not by a function for the child to
    run: Python would then call gRPC's fork handlers in it (tests/support/processes.py)."""
    return subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", *map(str, arguments)],
                            **options)


class Server:
    """`dev` of a build of the daemon on a data directory, while the context lasts."""

    def __init__(self, directory: pathlib.Path, sidecar: pathlib.Path = SIDECAR):
        self.directory = directory
        self.address = f"127.0.0.1:{free_port()}"
        self._sidecar = sidecar

    def __enter__(self) -> "Server":
        self._log = open(self.directory.with_suffix(".log"), "ab")
        self._process = start(self._command(), stdout=self._log, stderr=self._log)
        self.wait_until_serving()
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def _command(self) -> list:
        return [self._sidecar, "dev", "--data-dir", self.directory, "--listen", self.address]

    def wait_until_serving(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run([SIDECAR, "healthcheck", "--address", self.address],
                             capture_output=True).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the daemon does not serve; its log: {self._log.name}")
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def postmaster(self) -> int:
        """The pid of its private PostgreSQL, another one each time that the daemon is started."""
        [file] = self.directory.glob("*/postmaster.pid")
        return int(file.read_text().split()[0])

    def bench(self, *arguments: str) -> subprocess.Popen:
        """dtbench on its way; see `figures`."""
        return bench_at([self.address], *arguments)

    def psql(self, *arguments: str) -> str:
        """What psql prints on the daemon's private PostgreSQL."""
        done = subprocess.run(self.psql_command(*arguments), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"psql {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def psql_command(self, *arguments: str) -> list[str]:
        program = sorted(glob.glob("/usr/lib/postgresql/*/bin/psql"))[-1]
        url = f"postgresql:///durabletask?host={self.directory}/socket&user=postgres"
        return [program, "-XqAt", "-v", "ON_ERROR_STOP=1", url, *arguments]

    def query(self, sql: str) -> list[dict]:
        """The rows of a query, by column name in lower case."""
        return json.loads(self.psql("-c", f"select coalesce(json_agg(r), '[]') from ({sql}) r"))

    def fill(self, instances: int, waiting: int) -> float:
        """Adds so many finished and waiting instances, after dtbench ran; returns the seconds."""
        begin = time.monotonic()
        self.psql("-v", f"instances={instances}", "-v", f"waiting={waiting}", "-v",
                  f"batch={FILL_BATCH}", "-v", f"days={FILL_DAYS}", "-f", str(HERE / "aged.sql"))
        self.psql("-c", "vacuum analyze")
        self.psql("-c", "checkpoint")
        return time.monotonic() - begin

    def count_statements(self) -> None:
        """Loads pg_stat_statements, with the next start."""
        self.psql("-c", "alter system set shared_preload_libraries = 'pg_stat_statements'", "-c",
                  "create extension if not exists pg_stat_statements")

    @contextlib.contextmanager
    def client(self):
        with grpc.insecure_channel(self.address) as channel:
            yield TaskHubSidecarServiceStub(channel)


class NullServer(Server):
    """The daemon without PostgreSQL, the ceiling of the transport."""

    def _command(self) -> list:
        return [self._sidecar, "serve", "--listen", self.address]


def bench_at(addresses: Sequence[str], *arguments: str, **options) -> subprocess.Popen:
    """dtbench on its way, with clients and workers at these daemons."""
    return start([DTBENCH, "--addresses", ",".join(addresses), *arguments, "--json"],
                 stdout=subprocess.PIPE, text=True, **options)


def figures(bench: subprocess.Popen) -> dict:
    """What dtbench measured; it has checked that every result was right."""
    output, _ = bench.communicate()
    if bench.returncode != 0:
        sys.exit(f"dtbench failed: {' '.join(bench.args)}\n{output}")
    return figures_of(output)


def figures_of(output: str) -> dict:
    """What dtbench printed as its last line."""
    return json.loads(output.splitlines()[-1])


def chain_arguments(options: argparse.Namespace, seconds: float) -> list[str]:
    return ["--workload", "chain", "--activities", str(options.activities), "--in-flight",
            str(options.in_flight), "--warmup-seconds", str(options.warmup_seconds), "--seconds",
            str(seconds)]
