"use strict";
// Sub-orchestrations: results, failures, retries, ids in use.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { RetryPolicy, whenAll } = require("@microsoft/durabletask-js");
const { hubTest, status } = require("./hub");

describe("sub-orchestrations", { concurrency: 8 }, () => {
  // Children and grandchildren know their parent, and their results come back in order.
  hubTest("sub_orchestrations", async (hub) => {
    function leaf(ctx, number) {
      return { parent: ctx.parent.instanceId, number };
    }
    async function* branch(ctx, number) {
      const answer = yield ctx.callSubOrchestrator("leaf", number * 10);
      assert.equal(answer.parent, ctx.instanceId);
      return { parent: ctx.parent.instanceId, number: answer.number + number };
    }
    async function* tree(ctx, count) {
      const children = [];
      for (let n = 0; n < count; n++) children.push(ctx.callSubOrchestrator("branch", n));
      const answers = yield whenAll(children);
      for (const answer of answers) assert.equal(answer.parent, ctx.instanceId);
      return answers.map((answer) => answer.number);
    }
    await hub.worker({ tree, branch, leaf });
    assert.deepEqual(await hub.output("tree", 10), [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]);
  });

  // The failure of a child reaches its parent, with type and message.
  hubTest("failing_sub_orchestration", async (hub) => {
    function child() {
      throw new RangeError("child gives up");
    }
    async function* parent(ctx) {
      try {
        yield ctx.callSubOrchestrator("child", null, { instanceId: `${ctx.instanceId}-child` });
      } catch (error) {
        return [error.details.errorType, error.details.message];
      }
    }
    await hub.worker({ parent, child });
    const id = await hub.start("parent");
    assert.deepEqual(await hub.waitForOutput(id), ["RangeError", "child gives up"]);
    assert.equal(await hub.status(`${id}-child`), status.FAILED);
  });

  // child_retry_same_id: a child that failed twice under one id completes under the same id.
  hubTest("sub_orchestration_retried_with_the_same_id", async (hub) => {
    const runs = [];
    function child(ctx) {
      runs.push(ctx.instanceId);
      if (runs.length < 3) throw new Error("again");
      return "third time lucky";
    }
    async function* parent(ctx) {
      const retry = new RetryPolicy({
        maxNumberOfAttempts: 3, firstRetryIntervalInMilliseconds: 50 });
      return yield ctx.callSubOrchestrator("child", null, {
        instanceId: `${ctx.instanceId}-child`, retry });
    }
    await hub.worker({ parent, child });
    const id = await hub.start("parent");
    assert.equal(await hub.waitForOutput(id), "third time lucky");
    assert.deepEqual(runs, Array(3).fill(`${id}-child`));
    assert.equal(await hub.status(`${id}-child`), status.COMPLETED);
  });

  // child_id_running: the id of a live instance fails the call, and leaves that instance alone.
  hubTest("sub_orchestration_id_in_use", async (hub) => {
    async function* busy(ctx) {
      return yield ctx.waitForExternalEvent("finish");
    }
    async function* parent(ctx, taken) {
      try {
        yield ctx.callSubOrchestrator("busy", null, { instanceId: taken });
      } catch (error) {
        return error.details.errorType;
      }
    }
    await hub.worker({ parent, busy });
    const taken = await hub.start("busy");
    await hub.until(taken, status.RUNNING);
    assert.equal(await hub.output("parent", taken), "OrchestrationAlreadyExists");
    await hub.client.raiseOrchestrationEvent(taken, "finish", "undisturbed");
    assert.equal(await hub.waitForOutput(taken), "undisturbed");
  });
});
