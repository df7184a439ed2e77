"""What the SDK sends as strings comes back as it was: text of all kinds, empty, absent; tags."""

import pytest
from durabletask import task
from durabletask.history import (
    EventRaisedEvent,
    ExecutionStartedEvent,
    TaskCompletedEvent,
    TaskScheduledEvent,
)
from durabletask.serialization import DataConverter

from hub import new_hub

TEXTS = [
    "",
    " leading and trailing ",
    "Zażółć gęślą jaźń",
    "日本語テキスト",
    "🙂👩‍👩‍👧‍👦🏴‍☠️",
    "e\u0301 is not \u00e9",
    "line\nbreaks\r\nand\ttabs",
    "quotes ' \" \\ $1 %s {} \\x00 \\N",
    "\u0000 and \u001f escaped",
    "\ufeff\u2028\u202e",
]


class Verbatim(DataConverter):
    """Sends text as it is: so "" is an empty payload and None an absent one."""

    def serialize(self, value):
        return value

    def deserialize(self, data, target_type=None):
        return data

    def coerce(self, value, target_type=None):
        return value


@pytest.fixture
def verbatim_hub():
    fresh = new_hub(data_converter=Verbatim())
    yield fresh
    fresh.close()


def test_unicode(hub):
    """All texts survive input, activity, event, sub-orchestration, custom status and output."""
    def repeat(_, text):
        return text

    def echo(ctx, text):
        return text

    def journey(ctx, texts):
        ctx.set_custom_status(texts)
        texts = yield task.when_all([ctx.call_activity(repeat, input=t) for t in texts])
        texts = yield ctx.call_sub_orchestrator(echo, input=texts)
        event = yield ctx.wait_for_external_event("größe 📏")
        return [texts, event]

    hub.worker(journey, echo, activities=[repeat])
    journey_id = hub.start(journey, TEXTS, instance_id="ключ-🔑")
    hub.client.raise_orchestration_event(journey_id, "größe 📏", data=TEXTS)
    state = hub.wait(journey_id)
    assert state.get_input() == TEXTS
    assert state.get_custom_status() == TEXTS
    assert state.get_output() == [TEXTS, TEXTS]


@pytest.mark.parametrize("payload", ["", None, "null", '""', "text"])
def test_empty_and_absent_payloads_are_kept_apart(verbatim_hub, payload):
    """An empty payload is not an absent one, wherever it goes: input, result, event, output."""
    hub = verbatim_hub

    def give(_, __):
        return payload

    def journey(ctx, _):
        yield ctx.wait_for_external_event("here")
        result = yield ctx.call_activity(give, input=payload)
        return result

    hub.worker(journey, activities=[give], data_converter=Verbatim())
    journey_id = hub.start(journey, payload)
    hub.client.raise_orchestration_event(journey_id, "here", data=payload)
    hub.wait(journey_id)
    [started] = hub.history(journey_id, ExecutionStartedEvent)
    [raised] = hub.history(journey_id, EventRaisedEvent)
    [scheduled] = hub.history(journey_id, TaskScheduledEvent)
    [completed] = hub.history(journey_id, TaskCompletedEvent)
    assert [started.input, raised.input, scheduled.input, completed.result] == [payload] * 4


def test_tags(hub):
    """Tags stay with the orchestration, go to its children, and stay with its activities."""
    def work(_, __):
        return None

    def child(ctx, _):
        return None

    def parent(ctx, _):
        yield ctx.call_activity(work, tags={"cost": "high"})
        yield ctx.call_sub_orchestrator(child, instance_id=f"{ctx.instance_id}-child")

    hub.worker(parent, child, activities=[work])
    tags = {"team": "größe", "empty": ""}
    parent_id = hub.run(parent, tags=tags).instance_id
    for instance_id in (parent_id, f"{parent_id}-child"):
        [started] = hub.history(instance_id, ExecutionStartedEvent)
        assert started.tags == tags
    [scheduled] = hub.history(parent_id, TaskScheduledEvent)
    assert scheduled.tags == {"cost": "high"}


def test_large_payload(hub):
    """One megabyte in, one megabyte out."""
    def echo(ctx, text):
        return text

    hub.worker(echo)
    text = "0123456789abcdef" * 65536
    assert hub.output(echo, text) == text
