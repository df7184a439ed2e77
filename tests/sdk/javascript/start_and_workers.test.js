"use strict";
// Starting (schedules, ids in use, bad input), several workers on one hub, workers that die.

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { describe } = require("node:test");
const { status: code } = require("@grpc/grpc-js");
const { Hub, echo, hubTest, refused, status, waiting } = require("./hub");

describe("start", { concurrency: 8 }, () => {
  // A scheduled orchestration is PENDING until its time, and starts then, not before.
  hubTest("scheduled_start", async (hub) => {
    await hub.worker({ clock: (ctx) => ctx.currentUtcDateTime.getTime(), echo });
    const startAt = new Date(Date.now() + 1500);
    const id = await hub.start("clock", null, { startAt });
    assert.equal(await hub.output("echo", "in between"), "in between");
    assert.equal(await hub.status(id), status.PENDING);
    assert((await hub.waitForOutput(id)) >= startAt.getTime());
  });

  // js_1970_schedule: the SDK's "no schedule" starts at once and is not told as a schedule.
  hubTest("start_without_schedule", async (hub) => {
    await hub.worker({ echo });
    const id = await hub.start("echo", "now");
    assert.equal(await hub.waitForOutput(id), "now");
    const [started] = await hub.history(id, "ExecutionStarted");
    assert.equal(started.scheduledStartTimestamp, undefined);
  });

  // start_no_policy: the id of an ended instance can be used again.
  hubTest("ended_instance_is_replaced", async (hub) => {
    await hub.worker({ echo });
    const first = await hub.run("echo", "first", { instanceId: "mine" });
    const second = await hub.run("echo", "second", { instanceId: "mine" });
    assert.deepEqual([first.serializedOutput, second.serializedOutput], ['"first"', '"second"']);
    assert(second.createdAt >= first.lastUpdatedAt);
  });

  // start_no_policy: ALREADY_EXISTS for the id of a live instance, which goes on untouched.
  hubTest("live_instance_is_not_replaced", async (hub) => {
    await hub.worker({ waiting });
    const id = await hub.start("waiting", null, { instanceId: "mine" });
    await hub.until(id, status.RUNNING);
    await refused(code.ALREADY_EXISTS, "orchestration instance already exists",
      hub.start("waiting", null, { instanceId: "mine" }));
    await hub.client.raiseOrchestrationEvent(id, "finish", "the first");
    assert.equal(await hub.waitForOutput(id), "the first");
  });

  // start_bad_ids, raise_event_missing: a clear refusal, and nothing is left behind.
  hubTest("bad_input_is_refused", async (hub) => {
    await refused(
      code.INVALID_ARGUMENT, "instanceId", hub.start("echo", 1, { instanceId: "@a@b" }));
    await refused(
      code.INVALID_ARGUMENT, "length", hub.start("echo", 1, { instanceId: "x".repeat(513) }));
    await refused(code.NOT_FOUND, "nobody", hub.client.raiseOrchestrationEvent("nobody", "finish"));
    assert.equal(await hub.client.getOrchestrationState("nobody"), undefined);
  });

  // default_hub, hub_isolation: plain clients and workers share a hub, apart from all others.
  hubTest("hub_of_callers_that_name_none", async (other) => {
    const plain = new Hub();
    const named = new Hub("default");
    try {
      await plain.worker({ echo }, {}, { workItemFilters: "auto" });
      const id = await plain.start("echo", "plain");
      assert.equal(await plain.waitForOutput(id), "plain");
      assert.equal(await named.waitForOutput(id), "plain");
      assert.equal(await other.client.getOrchestrationState(id), undefined);
    } finally {
      await Promise.all([plain.close(), named.close()]);
    }
  });
});

describe("workers", { concurrency: 8 }, () => {
  // two_streams: two workers share 100 instances; each does its part, each result is right.
  hubTest("two_workers", async (hub) => {
    async function* job(ctx, number) {
      return yield ctx.callActivity("work", number);
    }
    for (const name of ["left", "right"]) {
      await hub.worker({ job }, { work: (_, number) => [name, number * 3] });
    }
    const numbers = Array.from({ length: 100 }, (_, n) => n);
    const ids = await Promise.all(numbers.map((n) => hub.start("job", n)));
    const outputs = await Promise.all(ids.map((id) => hub.waitForOutput(id)));
    assert.deepEqual(outputs.map(([, result]) => result), numbers.map((n) => n * 3));
    assert.deepEqual([...new Set(outputs.map(([name]) => name))].sort(), ["left", "right"]);
  });

  // stream_drop: what a worker held when it was killed is done by another one.
  hubTest("killed_worker", async (hub) => {
    const victim = spawn(process.execPath, [require.resolve("./stuck_worker"), hub.name],
      { stdio: ["ignore", "pipe", "inherit"] });
    const id = await hub.start("survivor", "work");
    try {
      const [line] = await once(victim.stdout, "data");
      assert.equal(line.toString(), `${id} is stuck\n`);
    } finally {
      victim.kill("SIGKILL");
    }
    const { survivor } = require("./stuck_worker");
    await hub.worker({ survivor }, { work: (_, text) => `${text} done by the second worker` });
    assert.equal(await hub.waitForOutput(id), "work done by the second worker");
    assert.equal((await hub.history(id, "TaskCompleted")).length, 1);
  });

  // A worker that stops in order hands its orchestrations over to the next one.
  hubTest("worker_replaced_in_the_middle", async (hub) => {
    const first = await hub.worker({ waiting });
    const id = await hub.start("waiting");
    await hub.until(id, status.RUNNING);
    await hub.stop(first);
    await hub.client.raiseOrchestrationEvent(id, "finish", "carried on");
    await hub.worker({ waiting });
    assert.equal(await hub.waitForOutput(id), "carried on");
  });
});
