"""Several daemons on one private PostgreSQL, and dtbench at all of them."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence

import kill  # noqa: F401  It makes the modules of tests/support importable.
from processes import Daemon, House, Postgres
from runs import Bench
from servers import DTBENCH, bench_at, figures, start

DATABASE = "fleet"
# A pod of Kubernetes is such a namespace: nobody outside sees which of its processes live.
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


class FleetHouse(House):
    """With pg_stat_statements where statements are to be counted, for it takes time of its own."""

    def __init__(self, bench: Bench, counted: bool):
        directory = bench.directory("fleet")
        directory.mkdir(mode=0o755)
        settings = dict(shared_preload_libraries="pg_stat_statements") if counted else {}
        super().__init__(Postgres(directory, max_connections="400", **settings), DATABASE)
        self.postgres.create_database(DATABASE)
        if counted:
            self.sql("create extension pg_stat_statements")
        if not bench.settings:
            for name in ("server_version", "fsync", "synchronous_commit", "shared_buffers"):
                bench.settings[name] = self.sql(f"show {name}")

    def sql(self, text: str) -> str:
        """What psql prints."""
        return subprocess.run(
            [self.postgres.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1",
             self.postgres.url(DATABASE), "-c", text],
            check=True, capture_output=True, text=True).stdout.strip()

    def add_daemon(self, *options: str, prefix: Sequence[str] = ()) -> Daemon:
        return super().add_daemon("--schema-up", *options, prefix=prefix)

    def add_daemons(self, count: int) -> list[Daemon]:
        return [self.add_daemon() for _ in range(count)]

    @property
    def addresses(self) -> list[str]:
        return [daemon.address for daemon in self.daemons]

    def chains(self, bench: Bench, activities: int, *arguments: str,
               addresses: Sequence[str] = ()) -> dict:
        """dtbench's figures of chains for the time of the suite, with clients and workers at these
        daemons, or at all of them."""
        return figures(bench_at(
            addresses or self.addresses, "--workload", "chain", "--activities", str(activities),
            "--seconds", str(bench.options.seconds), "--warmup-seconds",
            str(bench.options.warmup_seconds), *arguments))


@contextlib.contextmanager
def fleet(bench: Bench, daemons: int = 0, counted: bool = False) -> Iterator[FleetHouse]:
    """After an error the daemons are left to the kernel, which ends them with this program."""
    house = FleetHouse(bench, counted)
    house.add_daemons(daemons)
    yield house
    house.close()
    house.postgres.stop()


@contextlib.contextmanager
def workers(addresses: Sequence[str], *arguments: str) -> Iterator[None]:
    """A worker alone at each of these daemons."""
    process = start([DTBENCH, "--serve", "--addresses", ",".join(addresses), *arguments],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def namespaces_are_allowed() -> bool:
    return subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0
