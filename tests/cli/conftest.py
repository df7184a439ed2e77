"""A daemon on PostgreSQL with a worker of the Python SDK, and the command line that asks it."""

import json
import logging
import os
import pathlib
import subprocess

import pytest
from durabletask.client import TaskHubGrpcClient
from durabletask.worker import TaskHubGrpcWorker

from processes import SECONDS, SIDECAR, House, eventually, private_postgres, schema_up

# What the environment of whoever runs the tests says of a daemon shall not matter.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("DTPG_")}


@pytest.fixture(scope="session")
def postgres():
    with private_postgres("dt-cli-", fsync="off") as server:
        yield server


def echo(ctx, value):
    return value


def waits(ctx, _):
    return (yield ctx.wait_for_external_event("go"))


def parent(ctx, child):
    return (yield ctx.call_sub_orchestrator(waits, instance_id=child))


def fails(ctx, _):
    raise ValueError("out of paper")


def counter(ctx, amount):
    """An entity: a number to which "add" adds."""
    state = ctx.get_state(int, 0)
    if ctx.operation == "add":
        ctx.set_state(state + amount)
    return state


class Done:
    """What a run of the command line left."""

    def __init__(self, done: subprocess.CompletedProcess):
        self.code, self.out, self.error = done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """Of a table, without its heads: cells that no column holds two blanks in a row."""
        return [[cell.strip() for cell in line.split("  ") if cell.strip()]
                for line in self.out.splitlines()[1:]]


class Desk(House):
    """A daemon with the hub "shop" as its default, and who asks it."""

    def __init__(self, postgres, database: str, *options: str):
        super().__init__(postgres, database, hub="shop")
        schema_up(postgres.url(database))
        self.daemon = self.add_daemon(*options)
        self.worker = None
        self.client = None

    def start_worker(self) -> None:
        logger = logging.getLogger("durabletask")
        self.worker = TaskHubGrpcWorker(host_address=self.daemon.address, logger=logger)
        for orchestrator in (echo, waits, parent, fails):
            self.worker.add_orchestrator(orchestrator)
        self.worker.add_entity(counter)
        self.worker.start()
        self.client = TaskHubGrpcClient(host_address=self.daemon.address, logger=logger)

    def run(self, *arguments: str, **environment: str) -> Done:
        """Runs the command line; the daemon's address comes from the environment."""
        return Done(subprocess.run(
            [SIDECAR, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS,
            env={**ENVIRONMENT, "DTPG_ADDRESS": self.daemon.address, **environment}))

    def ok(self, *arguments: str) -> Done:
        done = self.run(*arguments)
        assert (done.code, done.error) == (0, ""), f"{arguments}: {done.code} {done.error}"
        return done

    def status(self, instance_id: str) -> str:
        state = self.ok("instance", "get", instance_id, "-o", "json").json
        return state["orchestrationStatus"].removeprefix("ORCHESTRATION_STATUS_")

    def until(self, instance_id: str, status: str) -> None:
        eventually(lambda: self.status(instance_id) == status, f"{instance_id} is {status}")

    def close(self) -> None:
        if self.worker is not None:
            self.client.close()
            self.worker.stop()
        super().close()


@pytest.fixture
def desk(postgres, request):
    options = request.node.get_closest_marker("options")
    name = request.node.name
    postgres.create_database(name)
    desk = Desk(postgres, name, *(options.args if options else ()))
    yield desk
    desk.close()


@pytest.fixture
def scratch(tmp_path) -> pathlib.Path:
    return tmp_path
