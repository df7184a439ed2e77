"""The processes under test, for all tests that have some: a private PostgreSQL, and daemons on it.
All die with this process."""

import contextlib
import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

SECONDS = 60  # The bound of every wait; a test that needs so long has failed.
SIDECAR = os.environ["DTPG_SIDECAR"]
ROLE = "recovery"  # Its name is also the task hub that the SQL views show to it.


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Asks until the answer is true and returns it; fails after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.02)
    return answer


def dies_with_tests(signal_name: str) -> list[str]:
    """What a command line begins with so that the kernel sends the signal when the tests end,
    however they end. A function for the child to run before its exec would not do: Python then
    calls gRPC's fork handlers in it, and they end the child now and then while a worker runs in
    this process.
    """
    return ["setpriv", "--pdeathsig", signal_name, "--"]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Postgres:
    """A PostgreSQL server of our own, reached by a unix socket in its directory. The variable
    DTPG_TEST_POSTGRES names the directory of its programs, where that is another than that of the
    clients."""

    def __init__(self, directory: pathlib.Path, role: str = ROLE, **settings: str):
        self._settings = [f"--{name}={value}" for name, value in settings.items()]
        self.bin = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        self._server = pathlib.Path(os.environ.get("DTPG_TEST_POSTGRES", self.bin))
        self.regress = self.bin.parent / "lib/pgxs/src/test/regress/pg_regress"
        self.role = role
        self._data = directory / "data"
        self.directory = directory
        # The server refuses to run as root.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            self._user = dict(user=account.pw_uid, group=account.pw_gid, extra_groups=[])
            os.chown(directory, account.pw_uid, account.pw_gid)
        subprocess.run(
            [self._server / "initdb", "--pgdata", self._data, "--username", role, "--auth", "trust",
             "--encoding", "UTF8", "--locale", "C", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd=directory, **self._user)
        self.log = directory / "postgres.log"
        self._process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        """Starts the server; after a kill it waits until the last one's backends have gone."""
        def running() -> bool:
            if self._process is None or self._process.poll() is not None:
                with open(self.log, "ab") as log:
                    self._process = subprocess.Popen(
                        [*dies_with_tests("QUIT"), self._server / "postgres", "-D", self._data,
                         "-k", self.directory, "-c", "listen_addresses=",
                         "-c", "recovery_init_sync_method=syncfs", *self._settings],
                        stdout=log, stderr=log, cwd=self.directory, **self._user)
            ready = subprocess.run([self.bin / "pg_isready", "--quiet", "-h", self.directory])
            return ready.returncode == 0
        eventually(running, "PostgreSQL accepts connections")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown
            self._process.wait(SECONDS)

    def url(self, database: str, role: str | None = None) -> str:
        return f"postgresql:///{database}?host={self.directory}&user={role or self.role}"

    def query(self, database: str, sql: str, role: str | None = None) -> list[dict]:
        """The rows of a query, by column name in lower case."""
        done = subprocess.run(
            [self.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.url(database, role),
             "-c", f"select coalesce(json_agg(r), '[]') from ({sql}) r"],
            capture_output=True, text=True)
        assert done.returncode == 0, f"{sql}: {done.stderr}"
        return json.loads(done.stdout)

    def create_database(self, name: str, *options: str) -> None:
        subprocess.run([self.bin / "createdb", "-h", self.directory, "-U", self.role,
                        *options, name], check=True)


@contextlib.contextmanager
def private_postgres(prefix: str, role: str = ROLE, **settings: str) -> Iterator[Postgres]:
    """A server for as long as the context lasts, in a temporary directory that goes with it."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    directory.chmod(0o755)  # the user of PostgreSQL passes through it
    server = None
    try:
        server = Postgres(directory, role, **settings)
        yield server
    finally:
        if server:
            server.stop()
        shutil.rmtree(directory)


class Daemon:
    """One `durabletask-sidecar serve` on a port that it keeps over restarts. `prefix`: what its
    command line begins with, such as a program that makes it live in a control group."""

    def __init__(self, name: str, url: str, directory: pathlib.Path, *options: str,
                 hub: str = ROLE, prefix: Sequence[str] = ()):
        self._prefix = prefix
        self._arguments = ["--postgres", url, "--hubs", hub, "--hubs-default", hub, *options]
        self.address = f"127.0.0.1:{free_port()}"
        self.log = directory / f"{name}.log"
        self._process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [*dies_with_tests("KILL"), *self._prefix, SIDECAR, "serve", "--listen",
                 self.address, *self._arguments],
                stdout=log, stderr=log)
        eventually(self._serves, f"the daemon serves; its log: {self.log}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def _serves(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        check = subprocess.run([SIDECAR, "healthcheck", "--address", self.address],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return check.returncode == 0

    def kill(self) -> None:
        assert self._process.poll() is None, self.log.read_text()
        self._process.kill()
        self._process.wait()

    def stop(self) -> int | None:
        """Asks it to end, as an operator would; its exit status, or None if it was killed
        before."""
        if self._process.poll() is not None:
            return None
        self._process.terminate()
        return self._process.wait(SECONDS)


class House:
    """A database with daemons on it. `url`: the way of the daemons to the database, if it is not
    the direct one; `login`: who asks the queries, if not the owner of everything."""

    def __init__(self, postgres: Postgres, database: str, url: str | None = None,
                 hub: str = ROLE, login: str | None = None):
        self.postgres = postgres
        self.database = database
        self.daemons: list[Daemon] = []
        self._url = url or postgres.url(database)
        self._hub = hub
        self._login = login

    def add_daemon(self, *options: str, prefix: Sequence[str] = ()) -> Daemon:
        daemon = Daemon(f"{self.database}-{len(self.daemons)}", self._url, self.postgres.directory,
                        *options, hub=self._hub, prefix=prefix)
        self.daemons.append(daemon)
        return daemon

    def query(self, sql: str) -> list[dict]:
        return self.postgres.query(self.database, sql, self._login)

    def close(self) -> None:
        """Ends the daemons that run, all of which must end well."""
        statuses = [daemon.stop() for daemon in self.daemons]
        ends = "".join(f"--- the end of {daemon.log.name}:\n{daemon.log.read_text()[-4000:]}\n"
                       for daemon in self.daemons)
        assert all(status in (0, None) for status in statuses), f"exit statuses {statuses}\n{ends}"


def schema_up(url: str) -> None:
    subprocess.run([SIDECAR, "schema", "up", "--postgres", url], check=True,
                   stdout=subprocess.DEVNULL)
