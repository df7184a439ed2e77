"""History export: the SDK's extension, an entity and an orchestration for each job, that writes the
histories of what has ended to wherever its user wants; here to a table in memory."""

import asyncio
import gzip
import json
import threading
import uuid
from datetime import timedelta, timezone

import pytest
from durabletask.client import AsyncTaskHubGrpcClient
from durabletask.extensions.history_export import (
    AsyncExportHistoryClient,
    ExportDestination,
    ExportFormat,
    ExportFormatKind,
    ExportHistoryClient,
    ExportJobCreationOptions,
    ExportJobQuery,
    ExportJobStatus,
    ExportMode,
    orchestrator,
    orchestrator_instance_id_for,
)
from durabletask.worker import TaskHubGrpcWorker

from entities import in_seconds
from hub import COMPLETED, FAILED, SECONDS, TERMINATED, echo, eventually, waiting

BATCH, CONTINUOUS = ExportMode.BATCH, ExportMode.CONTINUOUS
PLAIN = ExportFormat(ExportFormatKind.JSON)


class Table:
    """The destination, by the id of the instance."""

    def __init__(self):
        self._lock = threading.Lock()
        self.written = {}
        self.writes = 0

    def write(self, *, instance_id, container, blob_name, payload, content_type, content_encoding,
              metadata=None):
        assert metadata == {"instance_id": instance_id}
        with self._lock:
            self.writes += 1
            self.written[instance_id] = (f"{container}/{blob_name}", payload, content_encoding)


class Exports:
    """A hub with some instances that have ended, and jobs that export them."""

    def __init__(self, hub):
        self.hub = hub
        self.table = Table()
        self.begin = in_seconds(0)
        self.client = ExportHistoryClient(hub.client, self.table)
        worker = TaskHubGrpcWorker(**hub.connection)
        for function in (echo, waiting, failing):
            worker.add_orchestrator(function)
        self.client.register_worker(worker)
        hub.start_worker(worker)

    def end_some(self, count):
        """Ends so many orchestrations in all ways; their ids."""
        ids = [self.hub.start((echo, failing, waiting)[n % 3], f"größe {n}",
                              instance_id=f"ended-{n:02}") for n in range(count)]
        for n, instance_id in enumerate(ids):
            if n % 3 == 2:
                self.hub.client.terminate_orchestration(instance_id)
            self.hub.wait(instance_id)
        return ids

    def options(self, mode=BATCH, **options):
        if mode == BATCH:
            options.setdefault("completed_time_to", in_seconds(0))
        return ExportJobCreationOptions(mode=mode, completed_time_from=self.begin,
                                        destination=ExportDestination("histories", "here"),
                                        **options)

    def export(self, **options):
        """Runs a job to its end; its description."""
        job = self.client.create_job(self.options(**options))
        return self.client.wait_for_job(job.job_id, timeout=SECONDS, poll_interval=0.05)


def failing(ctx, _):
    raise ValueError("no such thing")


@pytest.fixture
def exports(hub):
    return Exports(hub)


def test_export(exports):
    """Each of 14 instances is written once, five a page, with its state and exact history."""
    ids = exports.end_some(14)
    job = exports.export(max_instances_per_batch=5, format=PLAIN)
    assert (job.status, job.last_error) == (ExportJobStatus.COMPLETED, None)
    assert (job.scanned_instances, job.exported_instances, job.failed_instances) == (14, 14, 0)
    assert (sorted(exports.table.written), exports.table.writes) == (ids, 14)
    for n, instance_id in enumerate(ids):
        name, payload, encoding = exports.table.written[instance_id]
        assert name.startswith("histories/here/") and name.endswith(".json") and not encoding
        document = json.loads(payload)
        assert document["instance_id"] == instance_id
        assert document["metadata"]["runtime_status"] == (
            "COMPLETED", "FAILED", "TERMINATED")[n % 3]
        history = exports.hub.client.get_orchestration_history(instance_id)
        assert [event["event_type"] for event in document["events"]] == [
            type(event).__name__ for event in history]
    assert exports.hub.wait(orchestrator_instance_id_for(job.job_id)).runtime_status == COMPLETED


def test_export_of_some(exports):
    """By status and time, as compressed lines."""
    ids = exports.end_some(6)
    assert exports.export(runtime_status=[FAILED, TERMINATED]).exported_instances == 4
    assert sorted(exports.table.written) == [i for n, i in enumerate(ids) if n % 3]
    name, payload, encoding = exports.table.written[ids[1]]
    assert (name.endswith(".jsonl.gz"), encoding) == (True, "gzip")
    lines = [json.loads(line) for line in gzip.decompress(payload).splitlines()]
    assert lines[0]["metadata"]["failure_details"]["message"] == "no such thing"
    assert lines[-1]["event_type"] == "ExecutionCompletedEvent"
    ended = exports.hub.state(ids[3]).last_updated_at.replace(tzinfo=timezone.utc)
    earlier = exports.export(completed_time_to=ended, runtime_status=[COMPLETED])
    assert earlier.exported_instances == 1
    assert sorted(exports.table.written)[0] == ids[0]


def test_export_of_nothing(exports):
    """A window in which nothing ended."""
    job = exports.export()
    assert (job.status, job.scanned_instances) == (ExportJobStatus.COMPLETED, 0)


def test_jobs(exports):
    """Jobs are listed by status, deleted with their orchestration, and made again."""
    exports.end_some(3)
    first, second = exports.export(), exports.export()
    client = exports.client
    assert {job.job_id for job in client.list_jobs()} == {first.job_id, second.job_id}
    done = ExportJobQuery(status=[ExportJobStatus.COMPLETED], page_size=1)
    assert len(list(client.list_jobs(done))) == 2
    assert list(client.list_jobs(ExportJobQuery(status=[ExportJobStatus.FAILED]))) == []
    client.delete_job(first.job_id)
    eventually(lambda: client.get_job(first.job_id) is None)
    assert [job.job_id for job in client.list_jobs()] == [second.job_id]
    assert exports.hub.state(orchestrator_instance_id_for(first.job_id)) is None
    client.create_job(exports.options(), job_id=first.job_id)
    again = client.wait_for_job(first.job_id, timeout=SECONDS, poll_interval=0.05)
    assert again.status == ExportJobStatus.COMPLETED and again.created_at > first.created_at


def test_continuous_export(exports, monkeypatch):
    """What ends after the beginning of the job is written, too, until the job is deleted. Between
    its looks it waits for a durable timer, for which the SDK has a variable for tests."""
    monkeypatch.setattr(orchestrator, "_CONTINUOUS_IDLE_DELAY_OVERRIDE",
                        timedelta(milliseconds=200))
    ids = exports.end_some(3)
    job = exports.client.create_job(exports.options(CONTINUOUS))
    eventually(lambda: set(ids) <= set(exports.table.written))
    late = exports.hub.run(echo, "late", instance_id="late").instance_id
    eventually(lambda: late in exports.table.written)
    assert exports.client.get_job(job.job_id).status == ExportJobStatus.ACTIVE
    exports.client.delete_job(job.job_id)
    eventually(lambda: exports.client.get_job(job.job_id) is None)
    assert exports.hub.state(orchestrator_instance_id_for(job.job_id)) is None


def test_async_client(exports):
    """The SDK's client for asyncio creates, waits, lists and deletes."""
    ids = exports.end_some(3)

    async def manage():
        async with AsyncTaskHubGrpcClient(**exports.hub.connection) as client:
            jobs = AsyncExportHistoryClient(client, exports.table)
            job_id = uuid.uuid4().hex
            await jobs.create_job(exports.options(), job_id=job_id)
            job = await jobs.wait_for_job(job_id, timeout=SECONDS, poll_interval=0.05)
            assert job.exported_instances == 3
            assert [found.job_id async for found in jobs.list_jobs()] == [job_id]
            await jobs.delete_job(job_id)
            while await jobs.get_job(job_id):
                await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(manage(), SECONDS))
    assert sorted(exports.table.written) == ids
