"use strict";
// Durable timers, external events, and continue-as-new.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { whenAny } = require("@microsoft/durabletask-js");
const { hubTest, status } = require("./hub");

// Which came first, the event or the timer.
async function* approval(ctx, seconds) {
  const approved = ctx.waitForExternalEvent("approved");
  const first = yield whenAny([approved, ctx.createTimer(seconds)]);
  return first === approved ? approved.getResult() : "too late";
}

async function* listener(ctx, count) {
  const heard = [];
  while (heard.length < count) heard.push(yield ctx.waitForExternalEvent("note"));
  return heard;
}

describe("timers and events", { concurrency: 8 }, () => {
  // A timer fires at its time, not before, for the orchestrator's clock as for everybody's.
  hubTest("durable_timer", async (hub) => {
    async function* sleeper(ctx, milliseconds) {
      const due = new Date(ctx.currentUtcDateTime.getTime() + milliseconds);
      yield ctx.createTimer(due);
      return ctx.currentUtcDateTime >= due;
    }
    await hub.worker({ sleeper });
    const begin = process.hrtime.bigint();
    const id = await hub.start("sleeper", 1000);
    assert.equal(await hub.waitForOutput(id), true);
    assert(process.hrtime.bigint() - begin >= 999_000_000n);
    const [created] = await hub.history(id, "TimerCreated");
    const [fired] = await hub.history(id, "TimerFired");
    assert.deepEqual([fired.timerId, fired.fireAt], [created.eventId, created.fireAt]);
  });

  // Timers created late first still fire early first; one in the past fires at once.
  hubTest("timers_fire_in_order_of_their_times", async (hub) => {
    async function* racer(ctx) {
      const at = (ms) => new Date(ctx.currentUtcDateTime.getTime() + ms);
      const timers = [3000, 1500, -1000].map((ms) => ({ ms, task: ctx.createTimer(at(ms)) }));
      const fired = [];
      while (timers.length > 0) {
        const first = yield whenAny(timers.map((timer) => timer.task));
        const index = timers.findIndex((timer) => timer.task === first);
        fired.push(timers.splice(index, 1)[0].ms);
      }
      return fired;
    }
    await hub.worker({ racer });
    assert.deepEqual(await hub.output("racer"), [-1000, 1500, 3000]);
  });

  // Events raised before any worker has seen the instance are kept, in order.
  hubTest("event_raised_before_the_start", async (hub) => {
    const notes = Array.from({ length: 10 }, (_, n) => ({ n }));
    const id = await hub.start("listener", 10);
    for (const note of notes) await hub.client.raiseOrchestrationEvent(id, "Note", note);
    await hub.worker({ listener });
    assert.deepEqual(await hub.waitForOutput(id), notes);
  });

  // A waiting orchestration goes on when its event comes; other events do not wake it.
  hubTest("event_raised_after_the_start", async (hub) => {
    await hub.worker({ listener });
    const id = await hub.start("listener", 1);
    await hub.until(id, status.RUNNING);
    await hub.client.raiseOrchestrationEvent(id, "other", "wrong");
    await hub.client.raiseOrchestrationEvent(id, "note", "right");
    assert.deepEqual(await hub.waitForOutput(id), ["right"]);
  });

  // An orchestration's event reaches another one; one for nobody is no error.
  hubTest("event_sent_by_an_orchestration", async (hub) => {
    function sender(ctx, target) {
      ctx.sendEvent("nobody", "note", "lost");
      ctx.sendEvent(target, "note", `from ${ctx.instanceId}`);
      return "sent";
    }
    await hub.worker({ listener, sender });
    const listening = await hub.start("listener", 1);
    const sending = await hub.start("sender", listening);
    assert.equal(await hub.waitForOutput(sending), "sent");
    assert.deepEqual(await hub.waitForOutput(listening), [`from ${sending}`]);
  });

  // The event wins against a timer of an hour, which does not hold up the end.
  hubTest("when_any_takes_the_event", async (hub) => {
    await hub.worker({ approval });
    const id = await hub.start("approval", 3600);
    await hub.client.raiseOrchestrationEvent(id, "approved", "by Ada");
    assert.equal(await hub.waitForOutput(id), "by Ada");
  });

  // Without an event the timer wins.
  hubTest("when_any_takes_the_timer", async (hub) => {
    await hub.worker({ approval });
    assert.equal(await hub.output("approval", 0.2), "too late");
  });

  // 100 generations, each takes one event; events raised early or in between are all kept.
  hubTest("continue_as_new_carries_events_over", async (hub) => {
    async function* counter(ctx, heard) {
      heard.push(yield ctx.waitForExternalEvent("tick"));
      if (heard.length === 100) return heard;
      ctx.continueAsNew(heard, true);
    }
    const ticks = Array.from({ length: 100 }, (_, n) => n);
    const id = await hub.start("counter", []);
    for (const n of ticks.slice(0, 50)) await hub.client.raiseOrchestrationEvent(id, "tick", n);
    await hub.worker({ counter });
    for (const n of ticks.slice(50)) await hub.client.raiseOrchestrationEvent(id, "tick", n);
    assert.deepEqual(await hub.waitForOutput(id), ticks);
  });

  // continue_race: task ids recur in every generation; no result reaches the wrong one.
  hubTest("continue_as_new_with_activities_and_timers", async (hub) => {
    async function* loop(ctx, count) {
      const doubled = yield ctx.callActivity("double", count);
      yield ctx.createTimer(0.01);
      if (count === 20) return doubled;
      ctx.continueAsNew(count + 1, false);
    }
    await hub.worker({ loop }, { double: (_, number) => number * 2 });
    const ids = await Promise.all(Array.from({ length: 6 }, () => hub.start("loop", 0)));
    for (const id of ids) assert.equal(await hub.waitForOutput(id), 40);
  });

  // Children with default ids of a later generation are new ones.
  hubTest("child_ids_over_continue", async (hub) => {
    async function* loop(ctx, answers) {
      answers.push(yield ctx.callSubOrchestrator("child", answers.length));
      if (answers.length === 5) return answers;
      ctx.continueAsNew(answers, false);
    }
    await hub.worker({ loop, child: (_, number) => number * 10 });
    assert.deepEqual(await hub.output("loop", []), [0, 10, 20, 30, 40]);
  });
});
