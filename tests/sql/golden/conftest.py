"""One PostgreSQL for all tests, and databases in which the schema "dt" is installed by psql
alone."""

import pathlib
import subprocess

import pytest

from processes import Postgres, private_postgres

HERE = pathlib.Path(__file__).resolve().parent
SQL = HERE.parents[2] / "sql"
TEMPLATE = "golden"


def psql(postgres: Postgres, database: str, *arguments: str, role: str = "postgres",
         **options) -> subprocess.CompletedProcess:
    """Runs psql as this login; an error of the SQL is one of the test."""
    done = subprocess.run(
        [postgres.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
         postgres.url(database, role), *arguments], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done


@pytest.fixture(scope="session")
def postgres():
    """The server. Its template database has the schema, the logins of the tests and their hubs."""
    with private_postgres("dt-sql-", role="postgres", fsync="off") as server:
        server.create_database(TEMPLATE)
        psql(server, TEMPLATE, "-f", str(SQL / "install.sql"))
        psql(server, TEMPLATE, "-f", str(HERE / "logins.sql"), "-f", str(HERE / "bindings.sql"))
        yield server


@pytest.fixture
def database(postgres, request):
    """A database of the test's own, with the schema and two hubs."""
    name = request.node.name.replace("[", "_").replace("]", "")
    postgres.create_database(name, "--template", TEMPLATE)
    return name
