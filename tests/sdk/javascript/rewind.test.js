"use strict";
// Rewinding failed orchestrations: what failed runs again, what succeeded does not.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { RetryPolicy, whenAll } = require("@microsoft/durabletask-js");
const { echo, hubTest, status, waiting } = require("./hub");

// An activity that fails so many times, and counts its runs.
function flaky(failures) {
  const activity = (_, value) => {
    activity.runs += 1;
    if (activity.runs <= failures) throw new Error(`run ${activity.runs} failed`);
    return value;
  };
  activity.runs = 0;
  return activity;
}

async function* steps(ctx) {
  return [yield ctx.callActivity("good", "first"), yield ctx.callActivity("bad", "second")];
}

async function* parent(ctx) {
  return yield ctx.callSubOrchestrator("steps", null, { instanceId: `${ctx.instanceId}-child` });
}

// Starts a worker for steps and parent; returns its activities.
async function startSteps(hub, failures) {
  const activities = { good: flaky(0), bad: flaky(failures) };
  await hub.worker({ steps, parent }, activities);
  return activities;
}

async function fail(hub, name, instanceId) {
  assert.equal((await hub.run(name, null, { instanceId })).runtimeStatus, status.FAILED);
}

async function execution(hub, id) {
  return (await hub.started(id)).orchestrationInstance.executionId;
}

// Has a child that waits, and fails by an activity meanwhile.
async function* withSibling(ctx) {
  const child = ctx.callSubOrchestrator("waiting", null, { instanceId: `${ctx.instanceId}-child` });
  yield ctx.callActivity("bad");
  return yield child;
}

// Two steps; when the first fails it does something of the kind that its input names, and fails.
async function* afterCatch(ctx, kind) {
  let first;
  try {
    first = yield ctx.callActivity("bad", "first");
  } catch (error) {
    if (kind === "activity") yield ctx.callActivity("handle", "handled");
    if (kind === "timer") yield ctx.createTimer(0.001);
    if (kind === "child") {
      yield ctx.callSubOrchestrator("echo", "handled", { instanceId: `${ctx.instanceId}-child` });
    }
    if (kind === "event") ctx.sendEvent(`${ctx.instanceId}-other`, "failed");
    throw error;
  }
  return [first, yield ctx.callActivity("good", "second")];
}

describe("rewind", { concurrency: 8 }, () => {
  // rewind_catch: what was done because of the failure is undone with it.
  for (const kind of ["activity", "timer", "child", "event"]) {
    hubTest(`rewind_catch_${kind}`, async (hub) => {
      const [good, bad, handle] = [flaky(0), flaky(1), flaky(0)];
      await hub.worker({ afterCatch, echo }, { good, bad, handle });
      const failed = await hub.run("afterCatch", kind, { instanceId: "mine" });
      assert.equal(failed.runtimeStatus, status.FAILED);
      await hub.client.rewindInstance("mine", "repaired");
      assert.deepEqual(await hub.waitForOutput("mine"), ["first", "second"]);
      assert.deepEqual([good.runs, bad.runs, handle.runs], [1, 2, kind === "activity" ? 1 : 0]);
      for (const undone of ["TaskFailed", "TimerCreated", "SubOrchestrationInstanceCreated",
        "EventSent"]) {
        assert.deepEqual(await hub.history("mine", undone), []);
      }
    });
  }

  // rewind_fallback: a failure that a fallback handled stays, only the later step runs again.
  hubTest("rewind_fallback", async (hub) => {
    async function* withFallback(ctx) {
      let first;
      try {
        first = yield ctx.callActivity("primary", "primary");
      } catch {
        first = yield ctx.callActivity("fallback", "fallback");
      }
      return [first, yield ctx.callActivity("later", "later")];
    }
    const [primary, fallback, later] = [flaky(9), flaky(0), flaky(1)];
    await hub.worker({ withFallback }, { primary, fallback, later });
    await fail(hub, "withFallback", "mine");
    await hub.client.rewindInstance("mine", "repaired");
    assert.deepEqual(await hub.waitForOutput("mine"), ["fallback", "later"]);
    assert.deepEqual([primary.runs, fallback.runs, later.runs], [1, 1, 2]);
  });

  // rewind_retries: the last attempt runs again; earlier ones and their timers stay.
  hubTest("rewind_retries", async (hub) => {
    async function* retried(ctx) {
      const retry = new RetryPolicy({
        maxNumberOfAttempts: 3, firstRetryIntervalInMilliseconds: 1 });
      const first = yield ctx.callActivity("bad", "first", { retry });
      return [first, yield ctx.callActivity("good", "second")];
    }
    const [good, bad] = [flaky(0), flaky(3)];
    await hub.worker({ retried }, { good, bad });
    await fail(hub, "retried", "mine");
    assert.equal(bad.runs, 3);
    await hub.client.rewindInstance("mine", "repaired");
    assert.deepEqual(await hub.waitForOutput("mine"), ["first", "second"]);
    assert.deepEqual([good.runs, bad.runs], [1, 4]);
    assert.equal((await hub.history("mine", "TaskFailed")).length, 2);
    assert.equal((await hub.history("mine", "TimerFired")).length, 2);
  });

  // rewind_failed_activity: only the failed one runs again, under a new execution id.
  hubTest("rewind_failed_activity", async (hub) => {
    const { good, bad } = await startSteps(hub, 1);
    await fail(hub, "steps", "mine");
    const [before, { createdAt }] = [await execution(hub, "mine"), await hub.state("mine")];
    await hub.client.rewindInstance("mine", "repaired");
    assert.deepEqual(await hub.waitForOutput("mine"), ["first", "second"]);
    const state = await hub.state("mine");
    assert.deepEqual([state.createdAt, state.failureDetails], [createdAt, undefined]);
    assert.deepEqual([good.runs, bad.runs], [1, 2]);
    assert.notEqual(await execution(hub, "mine"), before);
    assert.deepEqual(await hub.history("mine", "TaskFailed"), []);
    const results = (await hub.history("mine", "TaskCompleted")).map((event) => event.result);
    assert.deepEqual(results, ['"first"', '"second"']);
    const rewound = (await hub.history("mine", "ExecutionRewound")).map((event) => event.reason);
    assert.deepEqual(rewound, ["repaired"]);
  });

  // Of activities at the same time, those with a result keep it, and all others run again.
  hubTest("rewind_some_of_many", async (hub) => {
    const runs = [];
    const broken = new Set([3, 7]);
    const numbers = Array.from({ length: 10 }, (_, n) => n);
    function work(_, number) {
      runs.push(number);
      if (broken.has(number)) throw new Error(`${number} is broken`);
      return number * 10;
    }
    async function* fanOut(ctx) {
      return yield whenAll(numbers.map((n) => ctx.callActivity("work", n)));
    }
    await hub.worker({ fanOut }, { work });
    await fail(hub, "fanOut", "mine");
    const numbersOf = async (type) =>
      (await hub.history("mine", type)).map((event) => event.taskScheduledId - 1);
    const [failed, done] = [await numbersOf("TaskFailed"), await numbersOf("TaskCompleted")];
    broken.clear();
    await hub.client.rewindInstance("mine", "repaired");
    assert.deepEqual(await hub.waitForOutput("mine"), numbers.map((n) => n * 10));
    const countOf = (number) => runs.filter((other) => other === number).length;
    assert(failed.length > 0);
    assert.deepEqual(failed.map(countOf), failed.map(() => 2));
    assert.deepEqual(done.map(countOf), done.map(() => 1));
  });

  // rewind_twice: what fails again can be rewound again.
  hubTest("rewind_twice", async (hub) => {
    const { good, bad } = await startSteps(hub, 2);
    await fail(hub, "steps", "mine");
    await hub.client.rewindInstance("mine", "once");
    assert.equal((await hub.wait("mine")).runtimeStatus, status.FAILED);
    await hub.client.rewindInstance("mine", "twice");
    assert.deepEqual(await hub.waitForOutput("mine"), ["first", "second"]);
    assert.deepEqual([good.runs, bad.runs], [1, 3]);
    const reasons = (await hub.history("mine", "ExecutionRewound")).map((event) => event.reason);
    assert.deepEqual(reasons, ["once", "twice"]);
  });

  // rewind_failed_child: the failed child is rewound with its parent, and answers it.
  hubTest("rewind_failed_child", async (hub) => {
    const { good, bad } = await startSteps(hub, 1);
    await fail(hub, "parent", "top");
    assert.equal(await hub.status("top-child"), status.FAILED);
    const before = await execution(hub, "top-child");
    await hub.client.rewindInstance("top", "repaired");
    assert.deepEqual(await hub.waitForOutput("top"), ["first", "second"]);
    assert.deepEqual(await hub.waitForOutput("top-child"), ["first", "second"]);
    assert.deepEqual([good.runs, bad.runs], [1, 2]);
    assert.notEqual(await execution(hub, "top-child"), before);
    assert.deepEqual(await hub.history("top", "SubOrchestrationInstanceFailed"), []);
  });

  // rewind_purged_child: a child that is gone is created again, and does all its work.
  hubTest("rewind_purged_child", async (hub) => {
    const { good, bad } = await startSteps(hub, 1);
    await fail(hub, "parent", "top");
    assert.equal((await hub.client.purgeOrchestration("top-child")).deletedInstanceCount, 1);
    await hub.client.rewindInstance("top", "repaired");
    assert.deepEqual(await hub.waitForOutput("top"), ["first", "second"]);
    assert.equal(await hub.status("top-child"), status.COMPLETED);
    assert.deepEqual([good.runs, bad.runs], [2, 2]);
  });

  // rewind_sibling_running: the child that was live all along answers the rewound parent.
  hubTest("rewind_with_a_live_sibling", async (hub) => {
    await hub.worker({ withSibling, waiting }, { bad: flaky(1) });
    await fail(hub, "withSibling", "top");
    await hub.until("top-child", status.RUNNING);
    await hub.client.rewindInstance("top", "repaired");
    assert.equal(await hub.status("top"), status.RUNNING);
    await hub.client.raiseOrchestrationEvent("top-child", "finish", "together");
    assert.equal(await hub.waitForOutput("top"), "together");
  });

  // rewind_child_ended_meanwhile: what the child answered to nobody is told now.
  hubTest("rewind_after_a_child_ended_meanwhile", async (hub) => {
    await hub.worker({ withSibling, waiting }, { bad: flaky(1) });
    await fail(hub, "withSibling", "top");
    await hub.client.raiseOrchestrationEvent("top-child", "finish", "long ago");
    assert.equal(await hub.waitForOutput("top-child"), "long ago");
    await hub.client.rewindInstance("top", "repaired");
    assert.equal(await hub.waitForOutput("top"), "long ago");
  });

  // rewind_not_failed, rewind_missing: only failed ones can be rewound. The SDK's own errors.
  hubTest("rewind_refused", async (hub) => {
    await hub.worker({ echo, waiting });
    const ended = (await hub.run("echo")).instanceId;
    const live = await hub.start("waiting");
    await hub.until(live, status.RUNNING);
    for (const id of [ended, live]) {
      await assert.rejects(hub.client.rewindInstance(id, "why not"), /not allowed/);
    }
    assert.deepEqual([await hub.status(ended), await hub.status(live)],
      [status.COMPLETED, status.RUNNING]);
    await assert.rejects(hub.client.rewindInstance("nobody", "why not"), /'nobody' was not found/);
  });
});
