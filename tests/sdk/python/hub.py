"""A task hub that one test has for itself, with a client and workers of the unmodified SDK.

The hub travels as the call metadata `taskhub`, an option that the SDK's client and worker offer. It
keeps apart the tests that run at the same time against one daemon: without it, any worker may be
given any orchestration. The daemon creates a hub when it is first named.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from durabletask.client import OrchestrationState, OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import EntityInstanceId, EntityMetadata
from durabletask.history import ExecutionStartedEvent
from durabletask.worker import TaskHubGrpcWorker, WorkItemFilters

SECONDS = 60  # The bound of every wait; a test that needs so long has failed.

ADDRESS = os.environ["DTPG_ADDRESS"]

COMPLETED = OrchestrationStatus.COMPLETED
FAILED = OrchestrationStatus.FAILED
PENDING = OrchestrationStatus.PENDING
RUNNING = OrchestrationStatus.RUNNING
SUSPENDED = OrchestrationStatus.SUSPENDED
TERMINATED = OrchestrationStatus.TERMINATED


def eventually(condition: Callable[[], Any]) -> Any:
    """Asks until the answer is true and returns it; fails after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not true within {SECONDS} s"
        time.sleep(0.02)
    return answer


def assert_refused(code: grpc.StatusCode, text: str, call: Callable[..., Any], *args: Any,
                   **options: Any) -> None:
    """The call is refused with this code, and with these words in the message."""
    with pytest.raises(grpc.RpcError) as refusal:
        call(*args, **options)
    assert refusal.value.code() == code
    assert text in refusal.value.details()


def echo(ctx, value):
    """An orchestrator that returns its input."""
    return value


def waiting(ctx, _):
    """An orchestrator that ends with the data of the event "finish"."""
    result = yield ctx.wait_for_external_event("finish")
    return result


class Hub:
    """A task hub by name; None is the hub of callers that name none."""

    def __init__(self, name: str | None = None, **client_options: Any):
        self.name = name
        self.connection = dict(
            host_address=ADDRESS,
            metadata=[("taskhub", name)] if name else None,
            logger=logging.getLogger("durabletask"))
        self._workers: list[TaskHubGrpcWorker] = []
        self.client = TaskHubGrpcClient(**self.connection, **client_options)

    def worker(self, *orchestrators: Any, activities: Any = (), entities: Any = (),
               versioning: Any = None, filtered: bool | WorkItemFilters = False,
               **options: Any) -> TaskHubGrpcWorker:
        """Starts a worker with these functions and classes; close() stops it.

        It takes all work, or what it has functions for, or what the filters name.
        """
        worker = TaskHubGrpcWorker(**self.connection, **options)
        for orchestrator in orchestrators:
            worker.add_orchestrator(orchestrator)
        for activity in activities:
            worker.add_activity(activity)
        for entity in entities:
            worker.add_entity(entity)
        if versioning:
            worker.use_versioning(versioning)
        if isinstance(filtered, WorkItemFilters):
            worker.use_work_item_filters(filtered)
        elif filtered:
            worker.use_work_item_filters()
        return self.start_worker(worker)

    def start_worker(self, worker: TaskHubGrpcWorker) -> TaskHubGrpcWorker:
        """Starts a worker that a test made of `connection`; close() stops it."""
        worker.start()
        self._workers.append(worker)
        return worker

    def start(self, orchestrator: Any, input: Any = None, **options: Any) -> str:
        return self.client.schedule_new_orchestration(orchestrator, input=input, **options)

    def wait(self, instance_id: str) -> OrchestrationState:
        """The state of the instance once it has ended."""
        return self.client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)

    def run(self, orchestrator: Any, input: Any = None, **options: Any) -> OrchestrationState:
        return self.wait(self.start(orchestrator, input, **options))

    def output(self, orchestrator: Any, input: Any = None, **options: Any) -> Any:
        """Runs the orchestration and returns what it returned; fails if it did not complete."""
        state = self.run(orchestrator, input, **options)
        assert state.runtime_status == COMPLETED, state.failure_details
        return state.get_output()

    def state(self, instance_id: str) -> OrchestrationState | None:
        return self.client.get_orchestration_state(instance_id)

    def status(self, instance_id: str) -> OrchestrationStatus:
        return self.state(instance_id).runtime_status

    def until(self, instance_id: str, status: OrchestrationStatus) -> None:
        """Waits for the instance to have this status."""
        eventually(lambda: self.status(instance_id) == status)

    def history(self, instance_id: str, kind: type) -> list[Any]:
        """The events of this kind in the instance's history."""
        events = self.client.get_orchestration_history(instance_id)
        return [event for event in events if isinstance(event, kind)]

    def started(self, instance_id: str) -> ExecutionStartedEvent:
        """How the current generation of the instance began."""
        [event] = self.history(instance_id, ExecutionStartedEvent)
        return event

    def signal(self, entity: EntityInstanceId, operation: str, input: Any = None,
               **options: Any) -> None:
        self.client.signal_entity(entity, operation, input, **options)

    def entity(self, entity: EntityInstanceId) -> EntityMetadata | None:
        return self.client.get_entity(entity)

    def entity_state(self, entity: EntityInstanceId) -> Any:
        """The state of the entity; None where there is none."""
        found = self.entity(entity)
        return found and found.get_typed_state()

    def until_state(self, entity: EntityInstanceId, state: Any) -> None:
        """Waits for the entity to have this state."""
        eventually(lambda: self.entity_state(entity) == state)

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()
        self.client.close()


def new_hub(**client_options: Any) -> Hub:
    return Hub(f"python-{uuid.uuid4().hex[:12]}", **client_options)
