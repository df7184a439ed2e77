"""Daemons behind a PgBouncer, in either mode: under load, while the pooler's sessions with
PostgreSQL and the daemon are killed; and hints between daemons past it."""

import pytest

from load import ACTIVITIES, outputs, start_orchestrations
from poolers import Pooler
from test_recovery import LoadedHouse, check_all

LOAD = 200  # orchestrations
FOUND = "gives sessions to others between transactions: settings travel"
NO_HINTS = "hints of other daemons do not arrive"


@pytest.fixture(params=["transaction", "session"])
def mode(request):
    return request.param


@pytest.fixture
def house(postgres, mode, request):
    name = request.node.originalname.removeprefix("test_") + "_" + mode
    pooler = Pooler(postgres, postgres.directory / name, mode)
    house = LoadedHouse(postgres, name, pooler.url(name))
    yield house
    house.close()
    pooler.stop()


def end_sessions(house: LoadedHouse) -> None:
    """Ends all sessions of the pooler and of the daemons with the database."""
    ended = house.query("select count(pg_terminate_backend(pid))::int as n from pg_stat_activity"
                        " where datname = current_database() and pid <> pg_backend_pid()")
    print(f"ended: {ended}")
    assert ended[0]["n"] > 0


def test_pooler_under_load(house, mode):
    daemon = house.add_daemon("--postgres-listen-url", house.postgres.url(house.database))
    ids = start_orchestrations(daemon.address, numbers=range(LOAD))
    house.add_worker(daemon)
    all_steps = LOAD * ACTIVITIES
    for part in (6, 4):
        house.steps.wait_for(all_steps // part)
        end_sessions(house)
    house.steps.wait_for(all_steps // 3)
    daemon.kill()
    daemon.start()
    house.steps.wait_for(all_steps // 2)
    end_sessions(house)
    check_all(house, daemon.address, ids)
    log = daemon.log.read_text()
    assert (FOUND in log) == (mode == "transaction"), log
    assert NO_HINTS not in log
    for refused in ("26000", "42P05", " failed for ", " does not fit: "):
        assert refused not in log, log


def test_pooler_and_hints_past_it(house):
    """What one daemon accepts is done by another at once, although that one polls every ten
    minutes."""
    options = ("--postgres-listen-url", house.postgres.url(house.database),
               "--poll-ms-min", "600000", "--poll-ms-max", "600000")
    back = house.add_daemon(*options)
    house.add_worker(back)
    # The first look comes with the worker; when this has run, there is no other.
    outputs(back.address, start_orchestrations(back.address, numbers=[0]))
    front = house.add_daemon(*options)
    ids = start_orchestrations(front.address, numbers=range(1, 4))
    assert len(outputs(back.address, ids)) == 3


@pytest.mark.parametrize("mode", ["transaction"])
def test_pooler_without_a_way_past_it(house):
    """Work is found by polling, and the log says why."""
    front, back = house.add_daemon(), house.add_daemon()
    house.add_worker(back)
    ids = start_orchestrations(front.address, numbers=range(3))
    assert len(outputs(front.address, ids)) == 3
    for daemon in (front, back):
        assert daemon.log.read_text().count(NO_HINTS) == 1


@pytest.mark.parametrize("mode", ["session"])
def test_pooler_with_nothing_prepared(house):
    daemon = house.add_daemon("--postgres-prepared-statements", "off")
    house.add_worker(daemon)
    ids = start_orchestrations(daemon.address, numbers=range(20))
    check_all(house, daemon.address, ids)
