"""Scheduled tasks: the SDK's schedules, each an entity that signals itself for the next run."""

import asyncio
from datetime import timedelta, timezone

import pytest
from durabletask.client import AsyncTaskHubGrpcClient
from durabletask.entities import EntityInstanceId
from durabletask.scheduled import (
    AsyncScheduledTaskClient,
    ScheduleCreationOptions,
    ScheduledTaskClient,
    ScheduleNotFoundError,
    ScheduleQuery,
    ScheduleStatus,
    ScheduleUpdateOptions,
)
from durabletask.worker import TaskHubGrpcWorker

from entities import in_seconds
from hub import COMPLETED, SECONDS, eventually

ACTIVE, PAUSED = ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED
SECOND = timedelta(seconds=1)  # The shortest interval of the SDK.
HOUR = timedelta(hours=1)


class Schedules:
    """The schedules of a hub, and the runs that they started."""

    def __init__(self, hub):
        self.hub = hub
        self.client = ScheduledTaskClient(hub.client, operation_timeout=SECONDS)

    def start_worker(self):
        worker = TaskHubGrpcWorker(**self.hub.connection)
        worker.configure_scheduled_tasks()
        worker.add_orchestrator(job)
        return self.hub.start_worker(worker)

    def create(self, schedule_id, interval=SECOND, **options):
        return self.client.create_schedule(ScheduleCreationOptions(
            schedule_id, "job", interval, orchestration_input=f"for {schedule_id}", **options))

    def runs(self, schedule_id):
        """What the schedule started, the oldest first."""
        states = self.hub.client.get_all_orchestration_states()
        return [state for state in states if state.instance_id.startswith(f"{schedule_id}-")]

    def until_runs(self, schedule_id, count):
        """Waits for so many runs and returns them."""
        return eventually(lambda: len(runs := self.runs(schedule_id)) >= count and runs)


def job(ctx, value):
    return f"done {value}"


@pytest.fixture
def schedules(hub):
    schedules = Schedules(hub)
    schedules.start_worker()
    return schedules


def test_schedule_runs_again_and_again(schedules):
    """At its interval, with its input, each run once and in time."""
    every = schedules.create("every", start_immediately_if_late=True)
    runs = schedules.until_runs("every", 3)
    assert schedules.hub.wait(runs[0].instance_id).get_output() == "done for every"
    gaps = [after.created_at - before.created_at for before, after in zip(runs, runs[1:])]
    assert all(gap > timedelta(0) for gap in gaps)
    assert runs[-1].created_at - runs[0].created_at > SECOND * (len(runs) - 2)
    description = every.describe()
    assert (description.schedule_id, description.status) == ("every", ACTIVE)
    assert (description.orchestration_name, description.interval) == ("job", SECOND)
    assert description.last_run_at < description.next_run_at
    every.delete()


def test_pause_and_resume(schedules):
    """A paused schedule does not run while another one goes on; a resumed one does."""
    schedules.create("clock")
    paused = schedules.create("paused", start_immediately_if_late=True)
    schedules.until_runs("paused", 1)
    paused.pause()
    assert (paused.describe().status, paused.describe().next_run_at) == (PAUSED, None)
    count, ticks = len(schedules.runs("paused")), len(schedules.runs("clock"))
    schedules.until_runs("clock", ticks + 2)
    assert len(schedules.runs("paused")) == count
    with pytest.raises(RuntimeError, match="pause_schedule"):
        paused.pause()
    paused.resume()
    assert paused.describe().status == ACTIVE
    schedules.until_runs("paused", count + 1)


def test_update(schedules):
    """A schedule of an hour becomes one of a second, with another input."""
    changed = schedules.create("changed", interval=HOUR)
    assert eventually(lambda: changed.describe().next_run_at) > in_seconds(3000)
    changed.update(ScheduleUpdateOptions(interval=SECOND, orchestration_input="new"))
    [run, *_] = schedules.until_runs("changed", 1)
    assert schedules.hub.wait(run.instance_id).get_output() == "done new"
    assert changed.describe().interval == SECOND


def test_delete(schedules):
    """It is gone, its late signals change nothing, and one of the same name is a new one."""
    schedules.create("clock")
    gone = schedules.create("gone", start_immediately_if_late=True)
    schedules.until_runs("gone", 1)
    gone.delete()
    assert schedules.client.get_schedule("gone") is None
    with pytest.raises(ScheduleNotFoundError):
        gone.describe()
    count, ticks = len(schedules.runs("gone")), len(schedules.runs("clock"))
    schedules.until_runs("clock", ticks + 2)
    assert len(schedules.runs("gone")) == count
    assert schedules.hub.entity(EntityInstanceId("schedule", "gone")) is None
    again = schedules.create("gone", start_immediately_if_late=True)
    schedules.until_runs("gone", count + 1)
    assert again.describe().status == ACTIVE


def test_first_run_in_the_future(schedules):
    """It is not before its time, and then on the second."""
    begin = in_seconds(1.5)
    schedules.create("later", interval=HOUR, start_at=begin)
    [run] = schedules.until_runs("later", 1)
    assert begin <= run.created_at.replace(tzinfo=timezone.utc)
    assert run.instance_id == f"later-{begin.isoformat()}"
    eventually(lambda: schedules.client.get_schedule("later").next_run_at == begin + HOUR)


def test_end(schedules):
    """A schedule whose end has come deletes itself."""
    schedules.create("ending", end_at=in_seconds(1.5), start_immediately_if_late=True)
    schedules.until_runs("ending", 1)
    eventually(lambda: schedules.client.get_schedule("ending") is None)


def test_runs_with_one_id(schedules):
    """A schedule that names the id of its runs starts it anew each time."""
    schedules.create("same", orchestration_instance_id="one-id", start_immediately_if_late=True)
    hub = schedules.hub
    first = eventually(lambda: hub.state("one-id"))
    eventually(lambda: hub.state("one-id").created_at > first.created_at)
    assert hub.wait("one-id").runtime_status == COMPLETED


def test_list(schedules):
    """By prefix and status, over several pages."""
    ids = [f"list-{n}" for n in range(7)]
    for schedule_id in ids:
        schedules.create(schedule_id, interval=HOUR)
    schedules.create("other", interval=HOUR)
    schedules.client.get_schedule_client("list-3").pause()

    def listed(**conditions):
        found = schedules.client.list_schedules(ScheduleQuery(**conditions))
        return sorted(schedule.schedule_id for schedule in found)

    assert listed() == ids + ["other"]
    assert listed(schedule_id_prefix="list-", page_size=2) == ids
    assert listed(status=PAUSED) == ["list-3"]
    assert listed(schedule_id_prefix="nothing") == []


def test_async_client(schedules):
    """The SDK's client for asyncio does the same."""
    async def manage():
        async with AsyncTaskHubGrpcClient(**schedules.hub.connection) as client:
            tasks = AsyncScheduledTaskClient(client, operation_timeout=SECONDS)
            schedule = await tasks.create_schedule(ScheduleCreationOptions("async", "job", HOUR))
            await schedule.pause()
            assert [found.status for found in await tasks.list_schedules()] == [PAUSED]
            await schedule.resume()
            assert (await schedule.describe()).status == ACTIVE
            await schedule.delete()
            assert await tasks.get_schedule("async") is None

    asyncio.run(asyncio.wait_for(manage(), SECONDS))
