"""Who gets what: work item filters, and the versions that workers accept."""

import pytest
from durabletask import task
from durabletask.worker import (
    ActivityWorkItemFilter,
    OrchestrationWorkItemFilter,
    VersionFailureStrategy,
    VersioningOptions,
    VersionMatchStrategy,
    WorkItemFilters,
)

from hub import COMPLETED, FAILED, PENDING, Hub, echo

FAIL = VersionFailureStrategy.FAIL
REJECT = VersionFailureStrategy.REJECT


def versioned(ctx, _):
    return ctx.version


def only(version, failure):
    """Versioning options of a worker that runs just this version."""
    return VersioningOptions(version=version, match_strategy=VersionMatchStrategy.STRICT,
                             failure_strategy=failure)


def up_to(version, failure):
    """Versioning options of a worker that runs this version and older ones."""
    return VersioningOptions(version=version,
                             match_strategy=VersionMatchStrategy.CURRENT_OR_OLDER,
                             failure_strategy=failure)


def orchestrations(*named):
    """Filters for these pairs of a name and versions, and for no activity."""
    return WorkItemFilters(orchestrations=[
        OrchestrationWorkItemFilter(name, versions) for name, versions in named])


def test_filters_from_what_is_registered(hub):
    """Workers with filters get only what they know, and each finds its work."""
    def make(_, what):
        return f"made {what}"

    def producer(ctx, what):
        made = yield ctx.call_activity(make, input=what)
        return made

    def family(ctx, names):
        children = [ctx.call_sub_orchestrator("producer", input=name) for name in names]
        results = yield task.when_all(children)
        return results

    hub.worker(family, filtered=True)
    family_id = hub.start(family, ["a", "b"])
    hub.worker(activities=[make], filtered=True)
    hub.worker(producer, filtered=True)
    assert hub.wait(family_id).get_output() == ["made a", "made b"]


def test_filters_by_name(hub):
    """What no filter names stays PENDING, and the first worker that takes it gets it."""
    hub.worker(echo, versioned, filtered=orchestrations(("echo", [])))
    unmatched = hub.start(versioned, version="1.0")
    for version in (None, "1.0", "2.0"):
        assert hub.output(echo, "named", version=version) == "named"
    assert hub.status(unmatched) == PENDING
    hub.worker(versioned)
    assert hub.wait(unmatched).get_output() == "1.0"


def test_filters_by_version(hub):
    """A filter's version is an exact one, and "" is none at all; others wait."""
    hub.worker(versioned, filtered=orchestrations(("versioned", ["1.0", "2.0"])))
    none, newer = hub.start(versioned), hub.start(versioned, version="2.0.0")
    assert hub.output(versioned, version="1.0") == "1.0"
    assert hub.output(versioned, version="2.0") == "2.0"
    assert [hub.status(none), hub.status(newer)] == [PENDING, PENDING]
    hub.worker(versioned, filtered=orchestrations(("versioned", [""])))
    assert hub.wait(none).get_output() is None
    assert hub.status(newer) == PENDING
    hub.worker(versioned, filtered=orchestrations(("versioned", ["2.0.0"])))
    assert hub.wait(newer).get_output() == "2.0.0"


def test_filters_with_a_name_twice(hub):
    """filter_duplicate_names: the versions add up, and an entry without any means all."""
    hub.worker(versioned, filtered=orchestrations(("versioned", ["1.0"]), ("versioned", ["2.0"])))
    third = hub.start(versioned, version="3.0")
    assert hub.output(versioned, version="1.0") == "1.0"
    assert hub.output(versioned, version="2.0") == "2.0"
    assert hub.status(third) == PENDING
    hub.worker(versioned, filtered=orchestrations(("versioned", ["1.0"]), ("versioned", [])))
    assert hub.wait(third).get_output() == "3.0"


def test_filter_in_another_case(hub):
    """Filters name orchestrations without regard to case."""
    hub.worker(echo, filtered=orchestrations(("ECHO", [])))
    assert hub.output(echo, "heard") == "heard"


def test_filters_without_a_category(hub):
    """An empty category means none of it: one worker for orchestrations, one for activities."""
    did = []

    def make(_, __):
        did.append("made")

    def producer(ctx, _):
        yield ctx.call_activity(make)

    activities = WorkItemFilters(activities=[ActivityWorkItemFilter("make")])
    hub.worker(producer, activities=[make], filtered=activities)
    hub.worker(echo, filtered=orchestrations(("echo", [])))
    producer_id = hub.start(producer)
    assert hub.output(echo, "in between") == "in between"
    assert hub.status(producer_id) == PENDING
    hub.worker(producer, filtered=orchestrations(("producer", [])))
    assert (hub.wait(producer_id).runtime_status, did) == (COMPLETED, ["made"])


def test_filters_that_name_nothing(hub):
    """filter_absent_empty_name_version: filters without any entry are none, as .NET sends them."""
    hub.worker(echo, filtered=WorkItemFilters())
    assert hub.output(echo, "all") == "all"


def test_versions(hub):
    """The version of the start reaches the orchestrator; none stays none."""
    hub.worker(versioned)
    assert hub.output(versioned, version="1.2.3") == "1.2.3"
    assert hub.output(versioned) is None
    assert hub.started(hub.run(versioned, version="1.2.3").instance_id).version == "1.2.3"


def test_default_version_of_a_client(hub):
    """A client's default version is that of starts that name none."""
    hub.worker(versioned)
    client = Hub(hub.name, default_version="5.0")
    try:
        assert client.output(versioned) == "5.0"
        assert client.output(versioned, version="1.0") == "1.0"
    finally:
        client.close()


def test_version_of_a_sub_orchestration(hub):
    """A child has the version its parent asked for, or the worker's default, not its parent's."""
    def parent(ctx, version):
        child = yield ctx.call_sub_orchestrator(versioned, version=version)
        return [ctx.version, child]

    hub.worker(parent, versioned, versioning=VersioningOptions(
        default_version="7", match_strategy=VersionMatchStrategy.NONE))
    assert hub.output(parent, "3.0", version="2.0") == ["2.0", "3.0"]
    assert hub.output(parent, None, version="2.0") == ["2.0", "7"]


@pytest.mark.parametrize("versioning, accepted, refused", [
    (only("2.0", FAIL), ["2.0"], ["1.0", "2.1", None]),
    (up_to("2.0", FAIL), ["2.0", "1.10", None], ["2.1", "10.0"]),
])
def test_version_mismatch_fails(hub, versioning, accepted, refused):
    """A worker that fails other versions does so with details."""
    hub.worker(versioned, versioning=versioning)
    for version in accepted:
        assert hub.output(versioned, version=version) == version
    for version in refused:
        state = hub.run(versioned, version=version)
        assert state.runtime_status == FAILED
        assert state.failure_details.error_type == "VersionMismatch"


@pytest.mark.parametrize("strategy", [only, up_to])
def test_version_mismatch_is_left_to_another_worker(hub, strategy):
    """abandon_reject_version: what one worker gives back is done by the one that can."""
    hub.worker(versioned, versioning=strategy("1.0", REJECT))
    newer = hub.start(versioned, version="2.0")
    assert hub.output(versioned, version="1.0") == "1.0"
    assert hub.status(newer) == PENDING
    hub.worker(versioned, versioning=strategy("2.0", REJECT))
    assert hub.wait(newer).get_output() == "2.0"


def test_continue_as_new_with_another_version(hub):
    """continue_reroute: the next generation goes to the worker that filters for its version."""
    def migrating(ctx, path):
        path.append(ctx.version)
        if ctx.version == "2":
            return path
        ctx.continue_as_new(path, new_version="2")

    for version in ("1", "2"):
        hub.worker(migrating, versioning=only(version, FAIL), filtered=True)
    state = hub.run(migrating, [], version="1")
    assert (state.runtime_status, state.get_output()) == (COMPLETED, ["1", "2"])


@pytest.mark.parametrize("version", ["3.0.0", None])
def test_activities_of_a_versioned_worker(hub, version):
    """activity_version_unset: filters that the SDK makes give activities the worker's version, and
    its calls give them none; they are routed by that of their orchestration."""
    def make(_, what):
        return f"made {what}"

    def producer(ctx, what):
        return (yield ctx.call_activity(make, input=what))

    hub.worker(producer, activities=[make], versioning=only(version, FAIL) if version else None,
               filtered=True)
    state = hub.run(producer, "it", version=version)
    assert (state.runtime_status, state.get_output()) == (COMPLETED, "made it")
