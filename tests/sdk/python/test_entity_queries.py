"""What clients learn of entities: lists by prefix, time and page, the backlog, and cleaning."""

from datetime import timedelta

from durabletask.client import EntityQuery
from durabletask.entities import EntityInstanceId

from entities import COUNTER, GATE, OTHER, Counter, Diary, Gate, call, in_seconds
from hub import eventually, new_hub
from test_queries import CountedCalls


def listed(hub, **conditions):
    """The ids that a query answers, in its order."""
    return [str(found.id) for found in hub.client.get_all_entities(EntityQuery(**conditions))]


def make_counters(hub, keys):
    """One entity per key, with the state 0, 1 and so on; the worker that made them."""
    worker = hub.worker(call, entities=[Counter])
    for number, key in enumerate(keys):
        assert hub.output(call, ["Counter", key, "set", number]) == number
    return worker


def test_query_by_prefix(hub):
    """query_entities: a prefix with and without @, of names in any case, of keys in theirs."""
    keys = ["a-1", "a-2", "A-3", "b-4", "a%5"]
    make_counters(hub, keys).stop()  # It takes all work, and has no Diary.
    hub.worker(entities=[Diary])
    hub.signal(EntityInstanceId("Diary", "a-6"), "write", "x")
    eventually(lambda: hub.entity(EntityInstanceId("Diary", "a-6")))
    counters = sorted(f"@counter@{key}" for key in keys)
    assert sorted(listed(hub)) == counters + ["@diary@a-6"]
    assert sorted(listed(hub, instance_id_starts_with="")) == counters + ["@diary@a-6"]
    for prefix in ("@counter@", "counter@", "@COUNTER@", "Counter", "@cou"):
        assert sorted(listed(hub, instance_id_starts_with=prefix)) == counters, prefix
    assert sorted(listed(hub, instance_id_starts_with="@counter@a-")) == [
        "@counter@a-1", "@counter@a-2"]
    assert listed(hub, instance_id_starts_with="@Counter@A") == ["@counter@A-3"]
    assert listed(hub, instance_id_starts_with="@counter@a%") == ["@counter@a%5"]
    assert listed(hub, instance_id_starts_with="@nobody") == []


def test_query_pages():
    """21 entities, 5 a page, are five calls of the SDK's own loop, and each is there once."""
    calls = CountedCalls()
    hub = new_hub(interceptors=[calls])
    try:
        hub.worker(entities=[Counter])
        keys = [f"page-{n:02}" for n in range(21)]
        for key in keys:
            hub.signal(EntityInstanceId("Counter", key), "set", 1)
        for key in keys:
            hub.until_state(EntityInstanceId("Counter", key), 1)
        ids = [f"@counter@{key}" for key in keys]
        assert sorted(listed(hub, page_size=5)) == ids
        assert calls.methods.count("QueryEntities") == 5
        assert sorted(listed(hub, page_size=21)) == ids
        assert sorted(listed(hub)) == ids
    finally:
        hub.close()


def test_query_states(hub):
    """States come when asked for, and times are those of the last change."""
    begin = in_seconds(0)
    make_counters(hub, ["one", "two"])
    found = hub.client.get_all_entities(EntityQuery(include_state=True))
    assert {str(e.id): e.get_typed_state() for e in found} == {
        "@counter@one": 0, "@counter@two": 1}
    assert [e.includes_state for e in hub.client.get_all_entities(
        EntityQuery(include_state=False))] == [False, False]
    assert hub.client.get_entity(COUNTER, include_state=False).get_typed_state() is None
    one, two = hub.entity(COUNTER).last_modified, hub.entity(OTHER).last_modified
    assert begin <= one < two <= in_seconds(0)
    assert hub.output(call, ["Counter", "one", "get", None]) == 0
    assert hub.entity(COUNTER).last_modified > two


def test_query_by_time(hub):
    """From is inclusive, to is exclusive."""
    make_counters(hub, ["one", "two"])
    one, two = hub.entity(COUNTER).last_modified, hub.entity(OTHER).last_modified
    tick = timedelta(microseconds=1)
    assert listed(hub, last_modified_from=two) == ["@counter@two"]
    assert sorted(listed(hub, last_modified_from=one)) == ["@counter@one", "@counter@two"]
    assert listed(hub, last_modified_to=two) == ["@counter@one"]
    assert listed(hub, last_modified_from=two + tick) == []
    assert listed(hub, last_modified_to=one) == []


def test_backlog(hub):
    """entity_metadata: what is due and has not run; a delayed signal is none of it."""
    make_counters(hub, ["one"]).stop()
    for _ in range(2):
        hub.signal(COUNTER, "add", 1)
    hub.signal(COUNTER, "add", 1, signal_time=in_seconds(3600))
    assert hub.entity(COUNTER).backlog_queue_size == 2
    hub.worker(entities=[Counter])
    hub.until_state(COUNTER, 2)
    assert hub.entity(COUNTER).backlog_queue_size == 0


def test_transient_entities(hub):
    """An entity with messages and without state is shown to who asks for such ones, and to
    GetEntity never."""
    gate = Gate()
    hub.worker(entities=[gate.gate])
    hub.signal(GATE, "pass", "first")
    assert gate.reached.wait(60)
    assert listed(hub) == []
    assert listed(hub, include_transient=True) == [str(GATE)]
    assert hub.entity(GATE) is None
    gate.open()
    hub.until_state(GATE, ["first"])
    assert listed(hub) == [str(GATE)]


def test_entities_are_no_orchestrations(hub):
    """Entities are in no list of instances, and instances in none of entities."""
    make_counters(hub, ["one"])
    states = hub.client.get_all_orchestration_states()
    assert [state.name for state in states] == ["call"]
    assert hub.client.list_instance_ids().items == [states[0].instance_id]
    assert listed(hub) == ["@counter@one"]


def test_clean_storage(hub):
    """clean_storage: what has a state stays; empty entities and locks without an owner go by
    themselves, so there is nothing to clean."""
    make_counters(hub, ["one", "two"])
    hub.signal(OTHER, "delete")
    eventually(lambda: hub.entity(OTHER) is None)
    cleaned = hub.client.clean_entity_storage()
    assert (cleaned.empty_entities_removed, cleaned.orphaned_locks_released) == (0, 0)
    assert listed(hub, include_transient=True) == ["@counter@one"]
    assert hub.entity_state(COUNTER) == 0
