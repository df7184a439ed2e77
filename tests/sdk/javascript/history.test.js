"use strict";
// The history of an instance, as clients see it.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { whenAll } = require("@microsoft/durabletask-js");
const { hubTest, status, waiting } = require("./hub");

async function types(hub, id) {
  return (await hub.client.getOrchestrationHistory(id)).map((event) => event.type);
}

describe("history", { concurrency: 8 }, () => {
  // client_history_exact: what the server tells of an activity, a timer and a child.
  hubTest("history_of_an_instance", async (hub) => {
    async function* parent(ctx, number) {
      const result = yield ctx.callActivity("work", number);
      yield ctx.createTimer(0.001);
      const text = yield ctx.callSubOrchestrator("child", "child", { instanceId: "the-child" });
      return [result, text];
    }
    await hub.worker({ parent, child: (_, text) => text.toUpperCase() }, { work: (_, n) => n + 1 });
    const id = await hub.start("parent", 1);
    assert.deepEqual(await hub.waitForOutput(id), [2, "CHILD"]);
    const events = await hub.client.getOrchestrationHistory(id);
    assert.deepEqual(events.map((event) => event.type), [
      "OrchestratorStarted", "ExecutionStarted", "TaskScheduled",
      "OrchestratorStarted", "TaskCompleted", "TimerCreated",
      "OrchestratorStarted", "TimerFired", "SubOrchestrationInstanceCreated",
      "OrchestratorStarted", "SubOrchestrationInstanceCompleted", "ExecutionCompleted",
    ]);
    assert.deepEqual(events.map((e) => e.eventId).filter((eventId) => eventId >= 0), [1, 2, 3]);
    const one = Object.fromEntries(events.map((event) => [event.type, event]));
    const instance = one.ExecutionStarted.orchestrationInstance;
    assert.deepEqual([one.ExecutionStarted.name, instance.instanceId], ["parent", id]);
    assert.match(instance.executionId, /^[0-9a-f]{32}$/);
    assert.deepEqual([one.TaskScheduled.name, one.TaskScheduled.input], ["work", "1"]);
    assert.deepEqual([one.TaskCompleted.taskScheduledId, one.TaskCompleted.result], [1, "2"]);
    assert.deepEqual([one.TimerFired.timerId, one.TimerFired.fireAt],
      [one.TimerCreated.eventId, one.TimerCreated.fireAt]);
    const created = one.SubOrchestrationInstanceCreated;
    assert.deepEqual([created.name, created.instanceId, created.input],
      ["child", "the-child", '"child"']);
    const ended = one.SubOrchestrationInstanceCompleted;
    assert.deepEqual([ended.taskScheduledId, ended.result], [3, '"CHILD"']);
    assert.equal(one.ExecutionCompleted.result, '[2,"CHILD"]');
    const times = events.map((event) => event.timestamp.getTime());
    assert(times.every((time) => Math.abs(time - Date.now()) < 3600_000), times);
  });

  // What has been committed so far, with what clients sent and when they suspended it.
  hubTest("history_of_a_live_instance", async (hub) => {
    const id = await hub.start("waiting");
    assert.deepEqual(await types(hub, id), []);
    await hub.worker({ waiting });
    await hub.until(id, status.RUNNING);
    assert.deepEqual(await types(hub, id), ["OrchestratorStarted", "ExecutionStarted"]);
    await hub.client.suspendOrchestration(id);
    await hub.until(id, status.SUSPENDED);
    await hub.client.resumeOrchestration(id);
    await hub.client.raiseOrchestrationEvent(id, "Finish", "done");
    await hub.wait(id);
    const [raised] = await hub.history(id, "EventRaised");
    assert.deepEqual([raised.name, raised.input], ["Finish", '"done"']);
    for (const type of ["ExecutionSuspended", "ExecutionResumed"]) {
      assert.equal((await hub.history(id, type)).length, 1);
    }
  });

  // Failures come with their details, a termination with its output.
  hubTest("history_of_failure_and_termination", async (hub) => {
    function broken() {
      throw new RangeError("no such thing");
    }
    async function* calls(ctx) {
      yield ctx.callActivity("broken");
    }
    await hub.worker({ calls, waiting }, { broken });
    const failedId = (await hub.run("calls")).instanceId;
    const [failed] = await hub.history(failedId, "TaskFailed");
    assert.deepEqual([failed.taskScheduledId, failed.failureDetails.errorType,
      failed.failureDetails.message], [1, "RangeError", "no such thing"]);
    const [completed] = await hub.history(failedId, "ExecutionCompleted");
    assert.match(completed.failureDetails.message, /no such thing/);
    const id = await hub.start("waiting");
    await hub.until(id, status.RUNNING);
    await hub.client.terminateOrchestration(id, "enough");
    await hub.wait(id);
    const [terminated] = await hub.history(id, "ExecutionTerminated");
    assert.equal(terminated.input, '"enough"');
  });

  // Continuing as new begins another history.
  hubTest("history_is_that_of_the_last_generation", async (hub) => {
    async function* loop(ctx, count) {
      yield ctx.callActivity("work");
      if (count < 3) ctx.continueAsNew(count + 1, false);
      return count;
    }
    await hub.worker({ loop }, { work: () => null });
    const id = await hub.start("loop", 0);
    assert.equal(await hub.waitForOutput(id), 3);
    assert.deepEqual(await types(hub, id), [
      "OrchestratorStarted", "ExecutionStarted", "TaskScheduled",
      "OrchestratorStarted", "TaskCompleted", "ExecutionCompleted",
    ]);
    assert.equal((await hub.started(id)).input, "3");
  });

  // A history of several MiB comes in chunks, whole and in order.
  hubTest("large_history", async (hub) => {
    const letters = [..."abcdefghijklmnopqrstuvwxyz012345"];
    async function* gather(ctx) {
      yield whenAll(letters.map((letter) => ctx.callActivity("block", letter)));
    }
    await hub.worker({ gather }, { block: (_, letter) => letter.repeat(160 * 1024) });
    const id = (await hub.run("gather")).instanceId;
    const results = new Map((await hub.history(id, "TaskCompleted"))
      .map((event) => [event.taskScheduledId, event.result]));
    assert.equal(results.size, letters.length);
    letters.forEach((letter, n) =>
      assert(results.get(n + 1) === JSON.stringify(letter.repeat(160 * 1024)), letter));
    const scheduled = (await hub.history(id, "TaskScheduled")).map((event) => event.eventId);
    assert.deepEqual(scheduled, letters.map((_, n) => n + 1));
  });

  // history_missing: the SDK makes an empty history of NOT_FOUND.
  hubTest("history_of_a_missing_instance", async (hub) => {
    assert.deepEqual(await hub.client.getOrchestrationHistory("nobody"), []);
  });
});
