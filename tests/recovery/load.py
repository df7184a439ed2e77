"""The load: orchestrations whose outputs name the very executions of the activities they used."""

import functools
import itertools
import json
import logging
import sys
import threading
from collections.abc import Iterable

import grpc
from durabletask import task
from durabletask.client import OrchestrationState, OrchestrationStatus, TaskHubGrpcClient
from durabletask.grpc_options import GrpcWorkerResiliencyOptions
from durabletask.worker import ConcurrencyOptions, TaskHubGrpcWorker

from processes import SECONDS, eventually

ORCHESTRATIONS = 500
CHAIN = 3
FAN_OUT = 2
ACTIVITIES = CHAIN + FAN_OUT  # of one orchestration
LARGE_FAN_OUT = 400  # activities of one orchestration, all in flight at once

# Everything can be in flight at once, so that a kill meets all of it.
CONCURRENCY = ConcurrencyOptions(maximum_concurrent_orchestration_work_items=ORCHESTRATIONS,
                                 maximum_concurrent_activity_work_items=ORCHESTRATIONS)
RECONNECT = GrpcWorkerResiliencyOptions(reconnect_backoff_base_seconds=0.2,
                                        reconnect_backoff_cap_seconds=1.0)


def order(ctx, number):
    """Three steps one after the other, then two at once; returns what each step returned."""
    results = []
    for step in range(CHAIN):
        result = yield ctx.call_activity("step", input=[number, step])
        results.append(result)
    rest = [ctx.call_activity("step", input=[number, step]) for step in range(CHAIN, ACTIVITIES)]
    results += yield task.when_all(rest)
    return results


def large_order(ctx, number):
    """Many steps at once; returns what each step returned."""
    return (yield task.when_all([ctx.call_activity("step", input=[number, step])
                                 for step in range(LARGE_FAN_OUT)]))


def reported_order(ctx, number):
    """The same, but its last step reports the results to this process, since nothing of it is
    kept."""
    results = yield from order(ctx, number)
    yield ctx.call_activity("report", input=[number, results])


class Reports:
    """The activity that takes the results of each orchestration."""

    def __init__(self):
        self._found: dict[int, list] = {}
        self._changed = threading.Condition()

    def report(self, _, task_input):
        number, results = task_input
        with self._changed:
            assert self._found.setdefault(number, results) == results, f"{number} reports twice"
            self._changed.notify_all()

    def wait_for_all(self) -> dict[int, list]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._found) == ORCHESTRATIONS, SECONDS), (
                f"{len(self._found)} orchestrations reported instead of {ORCHESTRATIONS}")
            return self._found


class Steps:
    """The activity. No two executions return the same, so one that ran twice can be told apart."""

    def __init__(self):
        self._executions = itertools.count(1)
        self._count = 0
        self._held_from = sys.maxsize
        self._changed = threading.Condition()

    def step(self, _, task_input):
        number, step = task_input
        execution = next(self._executions)
        with self._changed:
            self._count = max(self._count, execution)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: execution < self._held_from, SECONDS), "held"
        return [number, step, execution]

    def hold_from(self, execution: int) -> None:
        """From this execution on they begin, and end only when they are let go."""
        with self._changed:
            self._held_from = execution

    def let_go(self) -> None:
        with self._changed:
            self._held_from = sys.maxsize
            self._changed.notify_all()

    @property
    def count(self) -> int:
        with self._changed:
            return self._count

    def wait_for(self, count: int) -> None:
        """Returns when so many executions have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._count >= count, SECONDS), (
                f"{self._count} activities ran instead of {count}")


def quiet_logger() -> logging.Logger:
    """The SDK logs each lost connection; here they are the point."""
    logger = logging.getLogger("durabletask.recovery")
    logger.setLevel(logging.CRITICAL)
    return logger


def start_worker(address: str, steps: Steps, reports: Reports) -> TaskHubGrpcWorker:
    worker = TaskHubGrpcWorker(host_address=address, logger=quiet_logger(),
                               concurrency_options=CONCURRENCY, resiliency_options=RECONNECT)
    worker.add_orchestrator(order)
    worker.add_orchestrator(large_order)
    worker.add_orchestrator(reported_order)
    worker.add_activity(steps.step)
    worker.add_activity(reports.report)
    worker.start()
    return worker


def start_orchestrations(address: str, orchestrator=order,
                         numbers: Iterable[int] = range(ORCHESTRATIONS)) -> list[str]:
    client = TaskHubGrpcClient(host_address=address, logger=quiet_logger())
    ids = [client.schedule_new_orchestration(orchestrator, input=number) for number in numbers]
    client.close()
    return ids


def completed(client: TaskHubGrpcClient, instance_id: str) -> OrchestrationState | None:
    """Waits for its end; None when the server cannot be reached, as it was down a moment ago."""
    try:
        return client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        return None


def outputs(address: str, ids: list[str]) -> list[list]:
    """Waits for all of them, which must be completed; what each returned."""
    client = TaskHubGrpcClient(host_address=address, logger=quiet_logger())
    found = []
    for instance_id in ids:
        state = eventually(functools.partial(completed, client, instance_id), instance_id)
        assert state.runtime_status == OrchestrationStatus.COMPLETED, (
            f"{instance_id}: {state.runtime_status} {state.failure_details}")
        found.append(json.loads(state.serialized_output))
    client.close()
    return found
