"""The load of test_entities.py: orchestrations that move money between accounts, which are
entities, each move in a critical section of two.

    accounts.py HOST:PORT       a worker in a process of its own, until it is killed
"""

import os
import random
import subprocess
import sys
import threading
from datetime import datetime, timezone

from durabletask import task
from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.worker import ConcurrencyOptions, TaskHubGrpcWorker

from load import RECONNECT, quiet_logger
from processes import dies_with_tests

ACCOUNTS = 10
BALANCE = 1000  # of each account, at first
MOVES = 3  # of one generation
CONCURRENCY = ConcurrencyOptions(maximum_concurrent_orchestration_work_items=64,
                                 maximum_concurrent_activity_work_items=64)


def account_id(number: int) -> EntityInstanceId:
    return EntityInstanceId("account", str(number))


class Account(DurableEntity):
    """A balance, who is in a critical section with it, and how often it was changed. An operation
    that a lock should have kept out fails, and with it the orchestration."""

    def enter(self, owner):
        balance, inside, changes = self._state()
        assert inside is None, f"{inside} is in a section with it, and {owner} enters"
        self.set_state([balance, owner, changes])
        return balance

    def leave(self, arguments):
        owner, seen, amount = arguments
        balance, inside, changes = self._state()
        assert (inside, balance) == (owner, seen), f"{inside}, {balance} instead of {owner}, {seen}"
        self.set_state([balance + amount, None, changes + 1])

    def _state(self):
        return self.get_state(list, [BALANCE, None, 0])


def mover(ctx, arguments):
    """Moves money until a time, [number, moves made, time in ISO 8601]; returns the moves made.
    Every other generation ends in its last section, so that the server releases its locks."""
    number, moves, until = arguments
    if ctx.current_utc_datetime.replace(tzinfo=timezone.utc) >= datetime.fromisoformat(until):
        return moves
    choice = random.Random(f"{number} {moves}")  # the same whenever it is replayed
    for move in range(moves, moves + MOVES):
        pair = [account_id(n) for n in choice.sample(range(ACCOUNTS), 2)]
        amount = choice.randrange(100)
        owner = f"{number}-{move}"
        with (yield ctx.lock_entities(pair)):
            seen = yield task.when_all([ctx.call_entity(one, "enter", owner) for one in pair])
            yield task.when_all([
                ctx.call_entity(one, "leave", [owner, balance, change])
                for one, balance, change in zip(pair, seen, (-amount, amount))])
            if move == moves + MOVES - 1 and move % 2:
                ctx.continue_as_new([number, move + 1, until])
                return None
    ctx.continue_as_new([number, moves + MOVES, until])
    return None


class WorkerProcess:
    """A worker that can be killed."""

    def __init__(self, address: str):
        self._address = address
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [*dies_with_tests("KILL"), sys.executable, __file__, self._address], env=environment)

    def kill(self) -> None:
        assert self._process.poll() is None, "the worker ended by itself"
        self._process.kill()
        self._process.wait()


def main() -> None:
    worker = TaskHubGrpcWorker(host_address=sys.argv[1], logger=quiet_logger(),
                               concurrency_options=CONCURRENCY, resiliency_options=RECONNECT)
    worker.add_orchestrator(mover)
    worker.add_entity(Account)
    worker.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
