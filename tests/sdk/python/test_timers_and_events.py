"""Durable timers, external events, and continue-as-new."""

import time
from datetime import datetime, timedelta, timezone

from durabletask import task
from durabletask.history import TimerCreatedEvent, TimerFiredEvent

from hub import COMPLETED, RUNNING


def test_durable_timer(hub):
    """A timer fires at its time, not before, for the orchestrator's clock as for everybody's."""
    def sleeper(ctx, seconds):
        due = ctx.current_utc_datetime + timedelta(seconds=seconds)
        yield ctx.create_timer(due)
        return ctx.current_utc_datetime > due

    hub.worker(sleeper)
    begin = time.monotonic()
    state = hub.run(sleeper, 1)
    assert state.get_output() is True
    assert time.monotonic() - begin >= 1
    [created] = hub.history(state.instance_id, TimerCreatedEvent)
    [fired] = hub.history(state.instance_id, TimerFiredEvent)
    assert (fired.timer_id, fired.fire_at) == (created.event_id, created.fire_at)


def test_timers_fire_in_order_of_their_times(hub):
    """Timers created late first still fire early first; one in the past fires at once."""
    def racer(ctx, _):
        fired = []
        milliseconds = {}
        for delay in (3000, 1500, -1000):
            milliseconds[ctx.create_timer(timedelta(milliseconds=delay))] = delay
        while milliseconds:
            first = yield task.when_any(list(milliseconds))
            fired.append(milliseconds.pop(first))
        return fired

    hub.worker(racer)
    assert hub.output(racer) == [-1000, 1500, 3000]


def test_event_raised_before_the_start(hub):
    """Events raised before any worker has seen the instance are kept, in order."""
    def listener(ctx, count):
        heard = []
        for _ in range(count):
            heard.append((yield ctx.wait_for_external_event("note")))
        return heard

    listener_id = hub.start(listener, 10)
    for n in range(10):
        hub.client.raise_orchestration_event(listener_id, "Note", data={"n": n})
    hub.worker(listener)
    assert hub.wait(listener_id).get_output() == [{"n": n} for n in range(10)]


def test_event_raised_after_the_start(hub):
    """A waiting orchestration goes on when its event comes; other events do not wake it."""
    def listener(ctx, _):
        heard = yield ctx.wait_for_external_event("call")
        return heard

    hub.worker(listener)
    listener_id = hub.start(listener)
    hub.until(listener_id, RUNNING)
    hub.client.raise_orchestration_event(listener_id, "other", data="wrong")
    hub.client.raise_orchestration_event(listener_id, "call", data="right")
    assert hub.wait(listener_id).get_output() == "right"


def test_event_sent_by_an_orchestration(hub):
    """An orchestration's event reaches another one; one for nobody is no error."""
    def listener(ctx, _):
        heard = yield ctx.wait_for_external_event("greeting")
        return heard

    def sender(ctx, listener_id):
        ctx.send_event("nobody", "greeting", data="lost")
        ctx.send_event(listener_id, "greeting", data=f"from {ctx.instance_id}")
        return "sent"

    hub.worker(listener, sender)
    listener_id = hub.start(listener)
    sender_id = hub.start(sender, listener_id)
    assert hub.wait(sender_id).get_output() == "sent"
    assert hub.wait(listener_id).get_output() == f"from {sender_id}"


def approval(ctx, seconds):
    """Which came first, the event or the timer."""
    approved = ctx.wait_for_external_event("approved")
    timeout = ctx.create_timer(timedelta(seconds=seconds))
    first = yield task.when_any([approved, timeout])
    return approved.get_result() if first is approved else "too late"


def test_when_any_takes_the_event(hub):
    """The event wins against a timer of an hour, which does not hold up the end."""
    hub.worker(approval)
    approval_id = hub.start(approval, 3600)
    hub.client.raise_orchestration_event(approval_id, "approved", data="by Ada")
    assert hub.wait(approval_id).get_output() == "by Ada"


def test_when_any_takes_the_timer(hub):
    """Without an event the timer wins."""
    hub.worker(approval)
    assert hub.output(approval, 0.2) == "too late"


def test_continue_as_new_carries_events_over(hub):
    """100 generations, each takes one event; events raised early or in between are all kept."""
    def counter(ctx, heard):
        heard.append((yield ctx.wait_for_external_event("tick")))
        if len(heard) == 100:
            return heard
        ctx.continue_as_new(heard, save_events=True)

    counter_id = hub.start(counter, [])
    for n in range(50):
        hub.client.raise_orchestration_event(counter_id, "tick", data=n)
    hub.worker(counter)
    for n in range(50, 100):
        hub.client.raise_orchestration_event(counter_id, "tick", data=n)
    state = hub.wait(counter_id)
    assert (state.runtime_status, state.get_output()) == (COMPLETED, list(range(100)))


def test_continue_as_new_with_activities_and_timers(hub):
    """continue_race: task ids recur in every generation; no result reaches the wrong one."""
    def double(_, number):
        return number * 2

    def loop(ctx, count):
        doubled = yield ctx.call_activity(double, input=count)
        yield ctx.create_timer(timedelta(milliseconds=10))
        if count == 20:
            return doubled
        ctx.continue_as_new(count + 1)

    hub.worker(loop, activities=[double])
    loops = [hub.start(loop, 0) for _ in range(6)]
    for loop_id in loops:
        assert hub.wait(loop_id).get_output() == 40


def test_continue_as_new_keeps_the_creation_time(hub):
    """The input follows the generation; the creation time stays that of the first one."""
    def loop(ctx, count):
        if count == 3:
            yield ctx.wait_for_external_event("stop")
            return "stopped"
        ctx.continue_as_new(count + 1, save_events=True)

    before = datetime.now(timezone.utc).replace(tzinfo=None)
    loop_id = hub.start(loop, 0)
    created = hub.client.get_orchestration_state(loop_id).created_at
    hub.worker(loop)
    hub.client.raise_orchestration_event(loop_id, "stop")
    state = hub.wait(loop_id)
    assert (state.get_input(), state.get_output()) == (3, "stopped")
    assert state.created_at == created >= before - timedelta(seconds=1)
