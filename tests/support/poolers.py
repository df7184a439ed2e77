"""A PgBouncer of our own before the private PostgreSQL."""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess
from typing import Any

from processes import SECONDS, Postgres, dies_with_tests, eventually

PROGRAM = "/usr/sbin/pgbouncer"
PORT = 6432


class Pooler:
    """On a unix socket in a directory of its own. Modes are "transaction" and "session"."""

    def __init__(self, postgres: Postgres, directory: pathlib.Path, mode: str):
        assert shutil.which(PROGRAM), "install the Debian package pgbouncer (deploy/install test)"
        self._directory = directory
        self._role = postgres.role
        directory.mkdir()
        settings = directory / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={postgres.directory} user={postgres.role}\n[pgbouncer]\n"
            f"listen_addr =\nlisten_port = {PORT}\nunix_socket_dir = {directory}\nauth_type = any\n"
            f"pool_mode = {mode}\ndefault_pool_size = 30\n")
        # It refuses to run as root.
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            user = dict(user=account.pw_uid, group=account.pw_gid, extra_groups=[])
            os.chown(directory, account.pw_uid, account.pw_gid)
        with open(directory / "pgbouncer.log", "wb") as log:
            self._process = subprocess.Popen([*dies_with_tests("KILL"), PROGRAM, settings],
                                             stdout=log,
                                             stderr=log, cwd=directory, **user)
        eventually(self._listens, "the pooler listens")

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._directory / "pgbouncer.log").read_text()
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(str(self._directory / f".s.PGSQL.{PORT}")) == 0

    def url(self, database: str) -> str:
        return f"postgresql:///{database}?host={self._directory}&port={PORT}&user={self._role}"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(SECONDS)
