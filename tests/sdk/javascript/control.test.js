"use strict";
// Suspend and resume, terminate, custom status.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { terminateOptions } = require("@microsoft/durabletask-js");
const { eventually, hubTest, status, waiting } = require("./hub");

// Has one child, named <own id>-child, and so on down; the last one is waiting.
async function* family(ctx, generations) {
  const child = generations > 1 ? "family" : "waiting";
  const instanceId = `${ctx.instanceId}-child`;
  return yield ctx.callSubOrchestrator(child, generations - 1, { instanceId });
}

async function startFamily(hub, generations) {
  await hub.worker({ family, waiting });
  const ids = [await hub.start("family", generations)];
  while (ids.length <= generations) ids.push(`${ids.at(-1)}-child`);
  for (const id of ids) await hub.client.waitForOrchestrationStart(id);
  return ids;
}

describe("control", { concurrency: 8 }, () => {
  // A suspended orchestration keeps its events for later; others go on meanwhile.
  hubTest("suspend_and_resume", async (hub) => {
    await hub.worker({ waiting, quick: () => "quick" });
    const id = await hub.start("waiting");
    await hub.until(id, status.RUNNING);
    await hub.client.suspendOrchestration(id);
    await hub.until(id, status.SUSPENDED);
    await hub.client.raiseOrchestrationEvent(id, "finish", "after lunch");
    assert.equal(await hub.output("quick"), "quick");
    assert.equal(await hub.status(id), status.SUSPENDED);
    await hub.client.resumeOrchestration(id);
    assert.equal(await hub.waitForOutput(id), "after lunch");
  });

  // suspend_twice, resume_not_suspended, suspend_completed: superfluous calls change nothing.
  hubTest("suspend_and_resume_without_effect", async (hub) => {
    await hub.worker({ waiting });
    const id = await hub.start("waiting");
    await hub.client.resumeOrchestration(id);
    await hub.until(id, status.RUNNING);
    await hub.client.suspendOrchestration(id);
    await hub.client.suspendOrchestration(id);
    await hub.until(id, status.SUSPENDED);
    await hub.client.resumeOrchestration(id);
    await hub.client.resumeOrchestration(id);
    await hub.until(id, status.RUNNING);
    await hub.client.raiseOrchestrationEvent(id, "finish", "fine");
    assert.equal(await hub.waitForOutput(id), "fine");
    await hub.client.suspendOrchestration(id);
    assert.equal(await hub.status(id), status.COMPLETED);
  });

  // Terminating an orchestration takes its children and grandchildren along.
  hubTest("terminate_recursive", async (hub) => {
    const ids = await startFamily(hub, 2);
    await hub.client.terminateOrchestration(
      ids[0], terminateOptions({ recursive: true, output: "that is all" }));
    for (const id of ids) {
      const state = await hub.wait(id);
      assert.equal(state.runtimeStatus, status.TERMINATED);
      assert.equal(state.serializedOutput, '"that is all"');
    }
  });

  // Without recursion the child goes on to its own end; its result changes nothing above.
  hubTest("terminate_not_recursive", async (hub) => {
    const [top, child] = await startFamily(hub, 1);
    await hub.client.terminateOrchestration(top, "only me");
    assert.equal((await hub.wait(top)).runtimeStatus, status.TERMINATED);
    await hub.client.raiseOrchestrationEvent(child, "finish", "still here");
    assert.equal(await hub.waitForOutput(child), "still here");
    assert.equal((await hub.wait(top)).serializedOutput, '"only me"');
  });

  // terminate_pending: without any worker it ends at once, and no worker ever gets it.
  hubTest("terminate_pending", async (hub) => {
    const started = [];
    const id = await hub.start("never");
    assert.equal(await hub.status(id), status.PENDING);
    await hub.client.terminateOrchestration(id, "not needed");
    const state = await hub.state(id);
    assert.equal(state.runtimeStatus, status.TERMINATED);
    assert.equal(state.serializedOutput, '"not needed"');
    await hub.worker({ never: (ctx) => started.push(ctx.instanceId), probe: () => "ran" });
    assert.equal(await hub.output("probe"), "ran");
    assert.deepEqual(started, []);
  });

  // The custom status shows while the orchestration runs, follows it, and stays at its end.
  hubTest("custom_status", async (hub) => {
    async function* talkative(ctx, steps) {
      for (let step = 0; step < steps; step++) {
        ctx.setCustomStatus({ step, of: steps });
        yield ctx.waitForExternalEvent("next");
      }
      ctx.setCustomStatus("over ✓");
      return steps;
    }
    await hub.worker({ talkative });
    const id = await hub.start("talkative", 3);
    for (let step = 0; step < 3; step++) {
      await eventually(async () => {
        const state = await hub.state(id);
        return state.serializedCustomStatus === JSON.stringify({ step, of: 3 });
      });
      await hub.client.raiseOrchestrationEvent(id, "next");
    }
    const state = await hub.wait(id);
    assert.deepEqual([state.serializedOutput, state.serializedCustomStatus], ["3", '"over ✓"']);
  });
});
