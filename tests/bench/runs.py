"""Runs of dtbench on fresh servers, several builds of the daemon in turns."""

import argparse
import contextlib
import dataclasses
import itertools
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

from servers import BUILD, SIDECAR, NullServer, Server, figures, note
from tables import Column, Table, figure_table, medians, number, paired_ratio

NULL = BUILD / "durabletask-null"
CURRENT = "current"
CALL_SECONDS = 900  # that one orchestration may take; a chain of 1,000 on a busy machine is slow
COLUMNS = (
    Column("orchestrations_per_second", "orchestrations/s"),
    Column("work_items_per_second", "work items/s", 0),
    Column("turns_per_orchestration", "turns", 2),
    Column("latency_ms_p50", "p50 ms"),
    Column("latency_ms_p99", "p99 ms"),
    Column("lateness_ms_p50", "late p50 ms"),
    Column("lateness_ms_p99", "late p99 ms"),
    Column("events_per_second", "events/s", 0),
    Column("generations_per_second", "generations/s", 0),
    Column("commits_per_orchestration", "commits", 3),
    Column("wal_bytes_per_orchestration", "WAL bytes", 0),
    Column("daemon_cpu_seconds_per_1000", "daemon CPU s/1,000", 3),
    Column("postgres_cpu_seconds_per_1000", "PostgreSQL CPU s/1,000", 3),
    Column("generator_cpu_seconds_per_1000", "dtbench CPU s/1,000", 3),
)
# For runs whose orchestrations differ in size.
ACTIVITY_COLUMNS = (
    Column("turns_per_orchestration", "turns", 0),
    Column("streamed_turns_per_orchestration", "streamed", 0),
    Column("wall_ms_per_activity", "wall ms/activity", 3),
    Column("daemon_cpu_seconds_per_1000_activities", "daemon CPU s/1,000 activities", 3),
    Column("postgres_cpu_seconds_per_1000_activities", "PostgreSQL CPU s/1,000 activities", 3),
    Column("generator_cpu_seconds_per_1000_activities", "dtbench CPU s/1,000 activities", 3),
)
OPERATION_COLUMNS = (
    Column("operations_per_second", "operations/s", 0),
    Column("operations_per_batch", "in a batch", 2),
    Column("orchestrations_per_second", "orchestrations/s"),
    Column("work_items_per_second", "work items/s", 0),
    Column("latency_ms_p50", "p50 ms"),
    Column("latency_ms_p99", "p99 ms"),
    Column("commits_per_operation", "commits/operation", 3),
    Column("wal_bytes_per_operation", "WAL bytes/operation", 0),
    Column("daemon_cpu_seconds_per_1000", "daemon CPU s/1,000", 3),
    Column("postgres_cpu_seconds_per_1000", "PostgreSQL CPU s/1,000", 3),
    Column("generator_cpu_seconds_per_1000", "dtbench CPU s/1,000", 3),
)


@dataclasses.dataclass(frozen=True)
class Load:
    """One way of running dtbench."""

    name: str
    arguments: tuple[str, ...]
    exact: bool = False  # it says itself how much it runs, so no time is given to it
    finished: int = 0  # instances that its hub keeps already


@dataclasses.dataclass
class Outcome:
    """What a set found: for people, and for programs."""

    tables: list[Table]
    figures: Any


class Bench:
    """What all sets share: the options, a place for data, and the builds that are compared."""

    def __init__(self, options: argparse.Namespace, root: pathlib.Path):
        self.options = options
        self.root = root
        self.settings: dict[str, str] = {}  # of PostgreSQL, as the first server had them
        self.builds: dict[str, tuple[type[Server], pathlib.Path]] = {CURRENT: (Server, SIDECAR)}
        if options.baseline:
            self.builds["baseline"] = (Server, options.baseline)
        if options.null:
            self.builds["null"] = (NullServer, NULL)
        self._numbers = itertools.count(1)

    def directory(self, name: str) -> pathlib.Path:
        return self.root / f"{name}-{next(self._numbers)}"

    def server(self, directory: pathlib.Path) -> Server:
        """Of the current build, on data that stay."""
        return Server(directory, SIDECAR)

    @contextlib.contextmanager
    def fresh_server(self, build: str = CURRENT) -> Iterator[Server]:
        """On data that nobody used before, and that go with it."""
        kind, sidecar = self.builds[build]
        directory = self.directory(build)
        with kind(directory, sidecar) as server:
            self.look_at(server)
            yield server
        shutil.rmtree(directory, ignore_errors=kind is NullServer)

    def look_at(self, server: Server) -> None:
        """Notes what the tables say about PostgreSQL."""
        if self.settings or isinstance(server, NullServer):
            return
        for name in ("server_version", "fsync", "synchronous_commit", "shared_buffers"):
            self.settings[name] = server.psql("-c", f"show {name}")

    def arguments(self, load: Load) -> list[str]:
        arguments = [*load.arguments, "--timeout-seconds", str(CALL_SECONDS)]
        if load.exact:
            return arguments
        return [*arguments, "--seconds", str(self.options.seconds), "--warmup-seconds",
                str(self.options.warmup_seconds)]

    def run(self, load: Load, build: str = CURRENT) -> dict:
        """One run on a fresh server."""
        with self.fresh_server(build) as server:
            if load.finished:
                figures(server.bench("--in-flight", "8", "--warmup-seconds", "0", "--count", "20"))
                server.fill(load.finished, 0)
            result = figures(server.bench(*self.arguments(load)))
        note(f"{load.name}, {build}: {result['orchestrations_per_second']:.1f} orchestrations/s")
        return result

    def interleaved(self, loads: Sequence[Load], builds: Sequence[str] | None = None,
                    ) -> dict[str, dict[str, list[dict]]]:
        """Load -> build -> runs. All of them in turns, so that a slow minute meets them alike."""
        builds = builds or list(self.builds)
        runs: dict[str, dict[str, list[dict]]] = {
            load.name: {build: [] for build in builds} for load in loads}
        for _ in range(self.options.repetitions):
            for load in loads:
                for build in builds:
                    runs[load.name][build].append(self.run(load, build))
        return runs

    def outcome(self, title: str, loads: Sequence[Load], columns: Sequence[Column] = COLUMNS,
                ) -> Outcome:
        """The table of these loads, and how the builds compare."""
        runs = self.interleaved(loads)
        tables = [figure_table(title, columns, [
            (load if build == CURRENT else f"{load}, {build}", medians(found))
            for load, by_build in runs.items() for build, found in by_build.items()])]
        if len(self.builds) > 1:
            tables.append(comparison(title, runs))
        return Outcome(tables, runs)


def comparison(title: str, runs: dict[str, dict[str, list[dict]]]) -> Table:
    """Current : other, the medians of the ratios of runs that followed each other."""
    keys = (("orchestrations_per_second", "orchestrations/s"), ("latency_ms_p50", "p50"),
            ("commits_per_orchestration", "commits"), ("wal_bytes_per_orchestration", "WAL"),
            ("daemon_cpu_seconds_per_1000", "daemon CPU"),
            ("postgres_cpu_seconds_per_1000", "PostgreSQL CPU"))
    table = Table(f"{title}: ratios", ["current : other", *(name for _, name in keys)])
    for load, by_build in runs.items():
        for build, found in by_build.items():
            if build != CURRENT:
                table.rows.append([f"{load}, current : {build}", *(
                    number(paired_ratio(by_build[CURRENT], found, key), 3) for key, _ in keys)])
    return table
