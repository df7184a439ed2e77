"""Entities that several files of tests use, and what tells of one in the hands of a worker."""

import threading
import time
from datetime import datetime, timedelta, timezone

from durabletask import task
from durabletask.entities import DurableEntity, EntityInstanceId

# The daemon knows the clock of the database to half a round trip, which a busy machine makes long.
CLOCK_SECONDS = 0.1
COUNTER = EntityInstanceId("Counter", "one")
OTHER = EntityInstanceId("Counter", "two")
DIARY = EntityInstanceId("Diary", "of a test")
GATE = EntityInstanceId("gate", "of a test")


def in_seconds(seconds: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


class Counter(DurableEntity):
    """A number; its operations return what it is then. Its key is of no matter."""

    def add(self, amount):
        return self._to(self.get() + amount)

    def get(self):
        return self.get_state(int, 0)

    def set(self, value):
        return self._to(value)

    def refuse(self, amount):
        """Adds, signals, starts an orchestration, and fails, so that nothing of it may stay."""
        self.add(amount)
        self.signal_entity(OTHER, "add", amount)
        self.schedule_new_orchestration("echo", "of a failed operation", instance_id="refused")
        raise ValueError(f"refused {amount}")

    def _to(self, value):
        self.set_state(value)
        return value


class Diary(DurableEntity):
    """A list of what it was told, in order."""

    def write(self, entry):
        entries = self.get_state(list, [])
        self.set_state([*entries, entry])

    def read(self):
        return self.get_state(list, [])

    def write_lateness(self, due):
        """Writes by how many seconds it is later than a time, in ISO 8601."""
        self.write((datetime.now(timezone.utc) - datetime.fromisoformat(due)).total_seconds())


class Gate:
    """An entity as a function whose operation `pass` waits until the test opens it. An operation
    that hangs for ever would hold up the end of the test's process."""

    def __init__(self, seconds: float = 60):
        self.reached = threading.Event()
        self._open = threading.Event()
        self._seconds = seconds

    def gate(self, ctx, entry):
        """The entity. It writes each entry, as the diary does."""
        if ctx.operation == "pass":
            self.reached.set()
            assert self._open.wait(self._seconds), "nobody opened the gate"
        ctx.set_state([*ctx.get_state(list, []), entry])
        return entry

    def open(self) -> None:
        self._open.set()


class Sections:
    """The activity `inside`, which tells when two critical sections overlap in what they lock."""

    def __init__(self, seconds: float = 0.005):
        self._lock = threading.Lock()
        self._inside: set[str] = set()
        self._seconds = seconds
        self.overlaps: list[str] = []
        self.count = 0

    def inside(self, _, names):
        with self._lock:
            self.count += 1
            self.overlaps += [name for name in names if name in self._inside]
            self._inside.update(names)
        time.sleep(self._seconds)  # Others get their chance; nothing is waited for.
        with self._lock:
            self._inside.difference_update(names)


def failure_of(ctx, entity, operation, value=None):
    """A part of an orchestrator: what the call fails with, as [type, message, inner type, inner
    message]; None when it does not."""
    try:
        yield ctx.call_entity(entity, operation, value)
    except task.TaskFailedError as failure:
        outer, inner = failure.details, failure.details.inner_failure
        return [outer.error_type, outer.message, inner.error_type, inner.message]
    return None


def call(ctx, arguments):
    """An orchestrator that returns what an entity's operation does: [name, key, operation, input].
    """
    name, key, operation, value = arguments
    return (yield ctx.call_entity(EntityInstanceId(name, key), operation, value))


def try_call(ctx, arguments):
    """The same, but it returns the failure."""
    name, key, operation, value = arguments
    return (yield from failure_of(ctx, EntityInstanceId(name, key), operation, value))
