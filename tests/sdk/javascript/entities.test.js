"use strict";
// Entities: signals and calls, their results and failures, state, and what entities do themselves.

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { describe } = require("node:test");
const { EntityInstanceId, whenAll } = require("@microsoft/durabletask-js");
const { Gate, call, entities, ids, inSeconds, tryCall } = require("./entities");
const { echo, eventually, hubTest, refused, status, waiting } = require("./hub");

const { Counter, Diary } = entities;
const { counter, diary, gate: gateId } = ids;
const numbers = (count) => Array.from({ length: count }, (_, n) => n);

describe("entities", { concurrency: 8 }, () => {
  // All of them come, in the order in which they were sent, before a worker is there and after.
  hubTest("signals_of_a_client", async (hub) => {
    for (const n of numbers(50)) await hub.signal(diary, "write", n);
    await hub.worker({}, {}, { entities: { Diary } });
    for (const n of numbers(50)) await hub.signal(diary, "write", 50 + n);
    await hub.untilState(diary, numbers(100));
  });

  // A call gets the result of its operation, whatever that is.
  hubTest("calls", async (hub) => {
    const mirror = {
      run: (operation) => operation.name === "show"
        ? [String(operation.context.id), operation.name, operation.getInput()]
        : operation.getInput(),
    };
    async function* calls(ctx, values) {
      const results = [];
      for (const value of values) {
        results.push(yield ctx.entities.callEntity(
          new EntityInstanceId("Mirror", "k"), "echo", value));
      }
      results.push(yield ctx.entities.callEntity(
        new EntityInstanceId("MIRROR", "Ключ @🔑"), "show", 7));
      return results;
    }
    await hub.worker({ calls }, {}, { entities: { Mirror: () => mirror } });
    const values = ["", 0, false, [], { größe: "🔑" }, "x".repeat(100_000)];
    assert.deepEqual(await hub.output("calls", values),
      [...values, ["@mirror@Ключ @🔑", "show", 7]]);
  });

  // 50 calls to one entity and 50 to others, all at once: each has its own result.
  hubTest("calls_side_by_side", async (hub) => {
    async function* many(ctx, count) {
      return yield whenAll([
        ...numbers(count).map(() => ctx.entities.callEntity(counter, "add", 1)),
        ...numbers(count).map((n) => ctx.entities.callEntity(
          new EntityInstanceId("Counter", String(n)), "add", n)),
      ]);
    }
    await hub.worker({ many }, {}, { entities: { Counter } });
    assert.deepEqual(await hub.output("many", 50),
      [...numbers(50).map((n) => n + 1), ...numbers(50)]);
    assert.equal(await hub.entityState(counter), 50);
  });

  // No operation is lost or done twice, and no two callers see the same count.
  hubTest("calls_of_many_orchestrations", async (hub) => {
    await hub.worker({ call }, {}, { entities: { Counter } });
    const started = await Promise.all(
      numbers(60).map(() => hub.start("call", ["Counter", "one", "add", 1])));
    const counts = await Promise.all(started.map((id) => hub.waitForOutput(id)));
    assert.deepEqual(counts.sort((a, b) => a - b), numbers(60).map((n) => n + 1));
  });

  // The caller gets the failure with its details; the state is what it was before.
  hubTest("failed_operation", async (hub) => {
    await hub.worker({ call, tryCall, echo }, {}, { entities: { Counter } });
    assert.equal(await hub.output("call", ["Counter", "one", "set", 5]), 5);
    const id = await hub.start("tryCall", ["Counter", "one", "refuse", 7]);
    assert.deepEqual(await hub.waitForOutput(id),
      ["@counter@one", "refuse", "RangeError", "refused 7"]);
    assert.equal(await hub.output("call", ["Counter", "one", "get"]), 5);
    const [failed] = await hub.history(id, "EntityOperationFailed");
    assert.equal(failed.failureDetails.message, "refused 7");
  });

  // The orchestration fails with it; a failed signal fails nobody.
  hubTest("failed_operation_that_nobody_catches", async (hub) => {
    await hub.worker({ call }, {}, { entities: { Counter } });
    await hub.signal(counter, "refuse", 1);
    const state = await hub.run("call", ["Counter", "one", "refuse", 2]);
    assert.equal(state.runtimeStatus, status.FAILED);
    assert.match(state.failureDetails.message, /refused 2/);
    assert.equal(await hub.output("call", ["Counter", "one", "add", 3]), 3);
  });

  // Its signals and the orchestration that it wanted to start do not happen.
  hubTest("failed_operation_does_nothing", async (hub) => {
    await hub.worker({ call, echo }, {}, { entities: { Counter } });
    await hub.signal(counter, "refuse", 1);
    assert.equal(await hub.output("call", ["Counter", "one", "add", 2]), 2);
    // What it would have sent would have come before this.
    assert.equal(await hub.output("call", ["Counter", "two", "add", 3]), 3);
    assert.equal(await hub.state("refused"), undefined);
  });

  hubTest("operation_that_does_not_exist", async (hub) => {
    await hub.worker({ tryCall }, {}, { entities: { Counter } });
    const [, , , message] = await hub.output("tryCall", ["Counter", "one", "fly"]);
    assert.match(message, /No suitable method found for entity operation 'fly'/);
    assert.equal(await hub.client.getEntity(counter), undefined);
  });

  // A worker that lacks the entity fails the calls, and the state is kept.
  hubTest("unregistered_entity", async (hub) => {
    const first = await hub.worker({}, {}, { entities: { Counter } });
    await hub.signal(counter, "set", 12);
    await hub.untilState(counter, 12);
    await hub.stop(first);
    const second = await hub.worker({ tryCall }, {}, { entities: { Diary } });
    const failure = await hub.output("tryCall", ["Counter", "one", "get"]);
    assert.deepEqual(failure, ["@counter@one", "get", "EntityTaskNotFound",
      "No entity task named 'counter' was found."]);
    await hub.stop(second);
    await hub.worker({ call }, {}, { entities: { Counter } });
    assert.equal(await hub.output("call", ["Counter", "one", "get"]), 12);
  });

  // signal_order: a hundred signals and a call come in this order.
  hubTest("signals_of_an_orchestration", async (hub) => {
    async function* signals(ctx, count) {
      for (const n of numbers(count)) ctx.entities.signalEntity(diary, "write", n);
      return yield ctx.entities.callEntity(diary, "read");
    }
    await hub.worker({ signals }, {}, { entities: { Diary } });
    const id = await hub.start("signals", 100);
    assert.deepEqual(await hub.waitForOutput(id), numbers(100));
    assert.equal((await hub.history(id, "EntityOperationSignaled")).length, 100);
    assert.equal((await hub.history(id, "EntityOperationCalled")).length, 1);
    assert.equal((await hub.history(id, "EntityOperationCompleted")).length, 1);
  });

  // An entity signals another one and itself, in order.
  hubTest("signals_of_entities", async (hub) => {
    const relay = {
      run(operation) {
        const left = operation.getInput();
        operation.context.signalEntity(diary, "write", left);
        if (left > 0) operation.context.signalEntity(operation.context.id, "again", left - 1);
      },
    };
    await hub.signal(new EntityInstanceId("Relay", "of a test"), "again", 20);
    await hub.worker({}, {}, { entities: { Relay: () => relay, Diary } });
    await hub.untilState(diary, numbers(21).reverse());
  });

  // Of a client, an orchestration and an entity; each once, at its time and not before, and what
  // is sent meanwhile does not wait for it.
  hubTest("delayed_signals", async (hub) => {
    function orchestration(ctx, milliseconds) {
      const due = new Date(ctx.currentUtcDateTime.getTime() + milliseconds);
      ctx.entities.signalEntity(diary, "writeLateness", due.getTime(), { signalTime: due });
    }
    const delayer = {
      run(operation) {
        const due = operation.getInput();
        operation.context.signalEntity(diary, "writeLateness", due,
          { signalTime: new Date(due) });
      },
    };
    await hub.worker({ orchestration }, {}, { entities: { Diary, Delayer: () => delayer } });
    const due = inSeconds(1);
    await hub.signal(diary, "writeLateness", due.getTime(), { signalTime: due });
    await hub.signal(new EntityInstanceId("Delayer", "of a test"), "delay", due.getTime());
    await hub.run("orchestration", 1000);
    await hub.signal(diary, "write", "at once");
    const entries = await eventually(async () => {
      const found = await hub.entityState(diary);
      return found?.length === 4 && found;
    });
    assert.equal(entries[0], "at once");
    // The daemon knows the clock of the database to half a round trip, which a busy machine makes
    // long.
    assert(entries.slice(1).every((late) => late >= -100), String(entries));
  });

  // A new id, one that ended and is replaced, one that lives and stays.
  hubTest("entity_starts_orchestrations", async (hub) => {
    const launcherId = new EntityInstanceId("Launcher", "of a test");
    const launcher = {
      run(operation) {
        const instanceId = operation.getInput() ?? undefined;
        const started = operation.context.scheduleNewOrchestration(
          "waiting", undefined, { instanceId });
        operation.state.setState([...(operation.state.getState() ?? []), started]);
      },
    };
    await hub.worker({ waiting, echo }, {}, { entities: { Launcher: () => launcher } });
    await hub.run("echo", "first", { instanceId: "ended" });
    await hub.start("waiting", undefined, { instanceId: "live" });
    await hub.until("live", status.RUNNING);
    const first = (await hub.started("live")).timestamp;
    for (const id of ["ended", "live", "new", undefined]) {
      await hub.signal(launcherId, "launch", id);
    }
    const started = await eventually(async () => {
      const found = await hub.entityState(launcherId);
      return found?.length === 4 && found;
    });
    assert.deepEqual(started.slice(0, 3), ["ended", "live", "new"]);
    for (const id of started) {
      await eventually(async () => (await hub.state(id))?.runtimeStatus === status.RUNNING);
      await hub.client.raiseOrchestrationEvent(id, "finish", `end of ${id}`);
      assert.equal(await hub.waitForOutput(id), `end of ${id}`);
    }
    assert.deepEqual((await hub.started("live")).timestamp, first);
  });

  // An entity without state is not there; the next operation makes it anew.
  hubTest("deletion_and_re_creation", async (hub) => {
    async function* lifecycle(ctx) {
      yield ctx.entities.callEntity(counter, "set", 9);
      yield ctx.entities.callEntity(counter, "delete");
      return yield ctx.entities.callEntity(counter, "add", 1);
    }
    await hub.worker({ lifecycle, call }, {}, { entities: { Counter } });
    assert.equal(await hub.output("lifecycle"), 1);
    await hub.signal(counter, "delete");
    await eventually(async () => (await hub.client.getEntity(counter)) === undefined);
    assert.equal(await hub.output("call", ["Counter", "one", "add", 4]), 4);
    assert.equal(await hub.entityState(counter), 4);
  });

  // An entity is purged by its id.
  hubTest("purge", async (hub) => {
    await hub.worker({}, {}, { entities: { Counter } });
    await hub.signal(counter, "add", 1);
    await hub.untilState(counter, 1);
    const result = await hub.client.purgeOrchestration(String(counter));
    assert.equal(result.deletedInstanceCount, 1);
    assert.equal(await hub.client.getEntity(counter), undefined);
    await hub.signal(counter, "add", 2);
    await hub.untilState(counter, 2);
  });

  // A state of a megabyte, read by the client and given to every operation.
  hubTest("large_state", async (hub) => {
    const text = "größe".repeat(160_000);
    await hub.worker({ call }, {}, { entities: { Diary } });
    await hub.signal(diary, "write", text);
    await hub.signal(diary, "write", "small");
    assert.deepEqual(await hub.output("call", ["Diary", diary.key, "read"]), [text, "small"]);
    assert.deepEqual(await hub.entityState(diary), [text, "small"]);
  });

  // Each generation calls and signals; results come to the generation that asked.
  hubTest("calls_over_continue_as_new", async (hub) => {
    async function* loop(ctx, left) {
      ctx.entities.signalEntity(counter, "add", 10);
      const count = yield ctx.entities.callEntity(counter, "add", 1);
      if (left === 0) return count;
      ctx.continueAsNew(left - 1, false);
    }
    await hub.worker({ loop }, {}, { entities: { Counter } });
    assert.equal(await hub.output("loop", 19), 220);
  });

  // A result waits until the orchestration is resumed.
  hubTest("result_for_a_suspended_orchestration", async (hub) => {
    const gate = new Gate();
    await hub.worker({ call }, {}, { entities: { Gate: () => gate } });
    const id = await hub.start("call", ["Gate", gateId.key, "pass", "through"]);
    await gate.reached;
    await hub.client.suspendOrchestration(id);
    await hub.until(id, status.SUSPENDED);
    gate.open();
    await hub.untilState(gateId, ["through"]);
    assert.equal(await hub.status(id), status.SUSPENDED);
    await hub.client.resumeOrchestration(id);
    assert.equal(await hub.waitForOutput(id), "through");
  });

  // What comes while an operation runs waits for it, also with a second worker.
  hubTest("one_batch_at_a_time", async (hub) => {
    const gate = new Gate();
    for (let n = 0; n < 2; ++n) await hub.worker({}, {}, { entities: { Gate: () => gate } });
    await hub.signal(gateId, "pass", 0);
    await gate.reached;
    for (const n of numbers(9)) await hub.signal(gateId, "note", n + 1);
    assert.equal(await hub.client.getEntity(gateId), undefined);
    gate.open();
    await hub.untilState(gateId, numbers(10));
  });

  // Operations that a killed worker held are done by another one, once.
  hubTest("killed_worker_with_an_entity", async (hub) => {
    const victim = spawn(process.execPath, [require.resolve("./stuck_worker"), hub.name],
      { stdio: ["ignore", "pipe", "inherit"] });
    const stuckId = new EntityInstanceId("Stuck", "k");
    let id;
    try {
      id = await hub.start("call", ["Stuck", "k", "work", "done"]);
      const [line] = await once(victim.stdout, "data");
      assert.equal(line.toString(), `${stuckId} is stuck\n`);
    } finally {
      victim.kill("SIGKILL");
    }
    const stuck = {
      run(operation) {
        const done = [...(operation.state.getState() ?? []), operation.getInput()];
        operation.state.setState(done);
        return done;
      },
    };
    await hub.worker({ call }, {}, { entities: { Stuck: () => stuck } });
    assert.deepEqual(await hub.waitForOutput(id), ["done"]);
    assert.deepEqual(await hub.entityState(stuckId), ["done"]);
  });

  // Workers with filters get the entities that they have, and each finds its work.
  hubTest("entity_filters", async (hub) => {
    const generated = { workItemFilters: "auto" };
    await hub.worker({ echo }, {}, generated);
    await hub.worker({}, {}, { entities: { Diary }, ...generated });
    await hub.signal(counter, "add", 3);
    await hub.signal(diary, "write", "here");
    await hub.untilState(diary, ["here"]);
    assert.equal(await hub.output("echo", "busy"), "busy");
    assert.equal(await hub.client.getEntity(counter), undefined);
    await hub.worker({ call }, {}, { entities: { Counter }, ...generated });
    await hub.untilState(counter, 3);
    assert.equal(await hub.output("call", ["Counter", "one", "add", 1]), 4);
  });

  // 100 characters are fine, and one more is refused.
  hubTest("id_that_is_too_long", async (hub) => {
    await hub.worker({}, {}, { entities: { Counter } });
    const longest = new EntityInstanceId("Counter", "k".repeat(100 - "@counter@".length));
    await hub.signal(longest, "add", 1);
    await hub.untilState(longest, 1);
    await refused(3, "length",
      () => hub.signal(new EntityInstanceId("Counter", `${longest.key}k`), "add", 1));
  });
});
