"use strict";
// Purging ended instances, and running instances again.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { PurgeInstanceCriteria } = require("@microsoft/durabletask-js");
const { echo, eventually, hubTest, status, waiting } = require("./hub");

async function purge(hub, value, options) {
  return (await hub.client.purgeOrchestration(value, options)).deletedInstanceCount;
}

function criteria(from, to, statuses = []) {
  const made = new PurgeInstanceCriteria();
  made.setCreatedTimeFrom(from);
  made.setCreatedTimeTo(to);
  made.setRuntimeStatusList(statuses);
  return made;
}

// Has one child, named <own id>-child, and so on down.
async function* family(ctx, generations) {
  if (generations > 1) {
    const instanceId = `${ctx.instanceId}-child`;
    yield ctx.callSubOrchestrator("family", generations - 1, { instanceId });
  }
}

// Runs it to its end; the SDK's times, in milliseconds, differ from those of the next one.
async function runApart(hub, name, instanceId) {
  const state = await hub.run(name, null, { instanceId });
  await eventually(() => Date.now() > state.createdAt.getTime() + 1);
  return state;
}

describe("purge", { concurrency: 8 }, () => {
  // purge_by_id: an ended instance goes with its history, and its id is free.
  hubTest("purge_by_id", async (hub) => {
    await hub.worker({ echo });
    await hub.run("echo", "first", { instanceId: "mine" });
    assert.equal(await purge(hub, "mine"), 1);
    assert.equal(await hub.state("mine"), undefined);
    assert.deepEqual(await hub.client.getOrchestrationHistory("mine"), []);
    assert.equal(await purge(hub, "mine"), 0);
    assert.equal(await hub.output("echo", "second", { instanceId: "mine" }), "second");
  });

  // purge_by_id: live and missing ones are no error, and live ones go on.
  hubTest("purge_leaves_live_instances", async (hub) => {
    await hub.worker({ waiting });
    const id = await hub.start("waiting");
    await hub.until(id, status.RUNNING);
    assert.equal(await purge(hub, id), 0);
    assert.equal(await purge(hub, "nobody"), 0);
    await hub.client.raiseOrchestrationEvent(id, "finish", "still here");
    assert.equal(await hub.waitForOutput(id), "still here");
  });

  // purge_by_id: children and grandchildren go along when asked for, and only then.
  hubTest("purge_recursive", async (hub) => {
    await hub.worker({ family });
    await hub.run("family", 3, { instanceId: "top" });
    assert.equal(await purge(hub, "top"), 1);
    assert.equal(await hub.state("top"), undefined);
    assert.equal(await hub.status("top-child"), status.COMPLETED);
    assert.equal(await purge(hub, "top-child", { recursive: true }), 2);
    assert.equal(await hub.state("top-child-child"), undefined);
  });

  // purge_by_filter: by status and time of creation, from inclusive, to exclusive.
  hubTest("purge_by_filter", async (hub) => {
    function failing() {
      throw new Error("no such thing");
    }
    await hub.worker({ echo, failing, waiting });
    const live = await hub.start("waiting");
    await hub.until(live, status.RUNNING);
    const created = [];
    for (const [n, name] of ["echo", "failing", "echo", "echo"].entries()) {
      created.push((await runApart(hub, name, `i${n}`)).createdAt);
    }
    assert.equal(await purge(hub, criteria(undefined, undefined, [status.FAILED])), 1);
    assert.equal(await hub.state("i1"), undefined);
    assert.equal(await purge(hub, criteria(created[2], created[3])), 1);
    assert.equal(await hub.state("i2"), undefined);
    assert.equal(await purge(hub, criteria(undefined, undefined, [status.RUNNING])), 0);
    assert.equal(await purge(hub, criteria()), 2);
    assert.equal(await hub.status(live), status.RUNNING);
  });

  // Descendants go along although the filter does not meet them.
  hubTest("purge_by_filter_recursive", async (hub) => {
    async function* parent(ctx) {
      yield ctx.waitForExternalEvent("go on");
      yield ctx.callSubOrchestrator("echo", null, { instanceId: `${ctx.instanceId}-child` });
    }
    await hub.worker({ parent, echo });
    const id = await hub.start("parent");
    const { createdAt } = await hub.state(id);
    await eventually(() => Date.now() > createdAt.getTime() + 1);
    await hub.client.raiseOrchestrationEvent(id, "go on");
    await hub.wait(id);
    const beforeTheChild = criteria(undefined, (await hub.state(`${id}-child`)).createdAt);
    assert.equal(await purge(hub, beforeTheChild, { recursive: true }), 2);
    assert.equal(await hub.state(`${id}-child`), undefined);
  });
});

describe("restart", { concurrency: 8 }, () => {
  // The same name, input, tags and version, as another execution.
  hubTest("restart_with_the_same_id", async (hub) => {
    await hub.worker({ echo });
    const options = { tags: { team: "größe" }, version: "1.2.3" };
    const first = await hub.run("echo", { n: [1, 2.5] }, options);
    const before = await hub.started(first.instanceId);
    assert.equal(await hub.client.restartOrchestration(first.instanceId), first.instanceId);
    const second = await hub.wait(first.instanceId);
    const after = await hub.started(first.instanceId);
    assert.equal(second.serializedOutput, '{"n":[1,2.5]}');
    assert.deepEqual(second.tags, options.tags);
    assert.deepEqual([after.name, after.version, after.input, after.tags],
      [before.name, "1.2.3", before.input, options.tags]);
    assert.notEqual(after.orchestrationInstance.executionId,
      before.orchestrationInstance.executionId);
    assert(second.createdAt >= first.lastUpdatedAt);
  });

  // The source stays as it is; it may even be live.
  hubTest("restart_with_a_new_id", async (hub) => {
    await hub.worker({ waiting });
    const source = await hub.start("waiting", "input", { tags: { team: "a" } });
    await hub.until(source, status.RUNNING);
    const copy = await hub.client.restartOrchestration(source, true);
    assert.notEqual(copy, source);
    await hub.until(copy, status.RUNNING);
    const state = await hub.state(copy);
    assert.deepEqual([state.serializedInput, state.tags], ['"input"', { team: "a" }]);
    await hub.client.raiseOrchestrationEvent(copy, "finish", "the copy");
    assert.equal(await hub.waitForOutput(copy), "the copy");
    assert.equal(await hub.status(source), status.RUNNING);
  });

  // A child that is started again has no parent.
  hubTest("restart_of_a_child", async (hub) => {
    async function* parent(ctx) {
      const instanceId = `${ctx.instanceId}-child`;
      return yield ctx.callSubOrchestrator("child", null, { instanceId });
    }
    await hub.worker({ parent, child: (ctx) => ctx.parent?.instanceId ?? "none" });
    const id = await hub.start("parent");
    assert.equal(await hub.waitForOutput(id), id);
    await hub.client.restartOrchestration(`${id}-child`);
    assert.equal(await hub.waitForOutput(`${id}-child`), "none");
    assert.equal(await hub.waitForOutput(id), id);
  });

  // A live instance keeps its id to itself; a missing one cannot be started. The SDK's own errors.
  hubTest("restart_refused", async (hub) => {
    const id = await hub.start("waiting");
    await assert.rejects(hub.client.restartOrchestration(id), /cannot be restarted/);
    assert.equal(await hub.status(id), status.PENDING);
    await assert.rejects(hub.client.restartOrchestration("nobody"), /'nobody' was not found/);
  });
});
