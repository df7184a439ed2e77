"use strict";
// Critical sections: entities that an orchestration locks, and who waits for it.
//
// The SDK sends no unlock for an orchestration that fails, continues as new or ends in its section:
// then the server alone frees the lock.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { EntityInstanceId, whenAll } = require("@microsoft/durabletask-js");
const { Sections, call, entities, ids, inSeconds } = require("./entities");
const { eventually, hubTest, status } = require("./hub");

const { Counter, Diary } = entities;
const { counter, diary, other, third } = ids;
const numbers = (count) => Array.from({ length: count }, (_, n) => n);

// Locks `counter` and `other`, adds 1 to both, and keeps them until the event "leave" says how to
// leave the section.
async function* hold(ctx) {
  const addBoth = () => whenAll(
    [counter, other].map((entity) => ctx.entities.callEntity(entity, "add", 1)));
  const lock = yield ctx.entities.lockEntities(counter, other);
  yield addBoth();
  const how = yield ctx.waitForExternalEvent("leave");
  if (how === "fail") throw new Error("in the section");
  if (how === "again") return ctx.continueAsNew(undefined, false);
  yield addBoth();
  if (how !== "forget") lock.release();
  return how;
}

// Adds 100 to `counter` in a critical section.
async function* lockOne(ctx) {
  const lock = yield ctx.entities.lockEntities(counter);
  const value = yield ctx.entities.callEntity(counter, "add", 100);
  lock.release();
  return value;
}

const lockedBy = async (hub, entity) => (await hub.client.getEntity(entity))?.lockedBy;

// Waits for both locks to be released: an orchestration ends before its unlocks arrive.
const untilFree = (hub) => eventually(async () => {
  const owners = [await lockedBy(hub, counter), await lockedBy(hub, other)];
  return owners.every((owner) => owner === undefined);
});

// Starts `hold` and returns its id once it is in its section.
async function startHolder(hub) {
  const holder = await hub.start("hold");
  await hub.untilState(counter, 1);
  await hub.untilState(other, 1);
  return holder;
}

// Starts an orchestration and waits until it has asked for its lock.
async function startWaiting(hub, name, input) {
  const id = await hub.start(name, input);
  await eventually(async () => (await hub.history(id, "EntityLockRequested")).length > 0);
  return id;
}

const leave = (how) => (hub, holder) => hub.client.raiseOrchestrationEvent(holder, "leave", how);

async function terminate(hub, holder) {
  await hub.client.terminateOrchestration(holder);
  await hub.until(holder, status.TERMINATED);
}

describe("entity locks", { concurrency: 8 }, () => {
  // In the section the owner's operations run, and others wait; after it they run in the order in
  // which they came.
  hubTest("section", async (hub) => {
    await hub.worker({ hold, call }, {}, { entities: { Counter } });
    const holder = await startHolder(hub);
    assert.deepEqual([await lockedBy(hub, counter), await lockedBy(hub, other)],
      [holder, holder]);
    await hub.signal(counter, "add", 10);
    const caller = await hub.start("call", ["Counter", "one", "add", 100]);
    await eventually(async () => (await hub.client.getEntity(counter)).backlogQueueSize === 2);
    await leave("done")(hub, holder);
    assert.equal(await hub.waitForOutput(holder), "done");
    assert.equal(await hub.waitForOutput(caller), 112);
    assert.equal(await hub.entityState(other), 2);
    await untilFree(hub);
    for (const [type, count] of [["EntityLockRequested", 1], ["EntityLockGranted", 1],
      ["EntityUnlockSent", 2]]) {
      assert.equal((await hub.history(holder, type)).length, count, type);
    }
  });

  // What was sent to an entity before the lock was asked for is done before it is granted.
  hubTest("operations_before_the_request_come_first", async (hub) => {
    async function* before(ctx, count) {
      for (const n of numbers(count)) ctx.entities.signalEntity(diary, "write", n);
      const lock = yield ctx.entities.lockEntities(diary, counter);
      const section = ctx.entities.isInCriticalSection();
      const entries = yield ctx.entities.callEntity(diary, "read");
      lock.release();
      return [section.lockedEntities.map(String), entries];
    }
    await hub.worker({ before }, {}, { entities: { Counter, Diary } });
    assert.deepEqual(await hub.output("before", 20),
      [["@counter@one", "@diary@of a test"], numbers(20)]);
  });

  // Transfers between five accounts, under locks of two and three in all orders: all end, no two
  // are in sections with an account in common, and no money is lost.
  hubTest("competing_orchestrations", async (hub) => {
    const sections = new Sections();
    const account = (n) => new EntityInstanceId("Counter", String(n));
    async function* transfer(ctx, members) {
      const accounts = members.map(account);
      const lock = yield ctx.entities.lockEntities(...accounts);
      const inside = ctx.callActivity("inside", accounts.map(String));
      const balances = [];
      for (const one of accounts) balances.push(yield ctx.entities.callEntity(one, "get"));
      yield inside;
      yield whenAll([
        ctx.entities.callEntity(accounts[0], "set", balances[0] - 1),
        ctx.entities.callEntity(accounts.at(-1), "set", balances.at(-1) + 1),
      ]);
      lock.release();
      return "done";
    }
    await hub.worker({ transfer }, { inside: sections.inside }, { entities: { Counter } });
    const transfers = numbers(24).map((n) => {
      const step = 1 + Math.floor(n / 5) % 4;
      const members = [n % 5, (n + step) % 5];
      if (n % 3 === 0) members.splice(1, 0, numbers(5).find((m) => !members.includes(m)));
      return n % 2 ? members : members.reverse();
    });
    const started = await Promise.all(transfers.map((members) => hub.start("transfer", members)));
    for (const id of started) assert.equal(await hub.waitForOutput(id), "done");
    assert.deepEqual([sections.count, sections.overlaps], [24, []]);
    const expected = numbers(5).map(() => 0);
    for (const members of transfers) {
      expected[members[0]] -= 1;
      expected[members.at(-1)] += 1;
    }
    for (const n of numbers(5)) {
      assert.equal(await hub.entityState(account(n)) ?? 0, expected[n]);
    }
  });

  // A request of two waits for the one before, and one behind it for both.
  hubTest("requests_are_granted_in_their_order", async (hub) => {
    const entered = [];
    const byName = { one: counter, two: other, three: third };
    async function* inOrder(ctx, names) {
      const lock = yield ctx.entities.lockEntities(...names.map((name) => byName[name]));
      yield ctx.callActivity("note", names.join("-"));
      lock.release();
    }
    await hub.worker({ hold, inOrder }, { note: (_, text) => { entered.push(text); } },
      { entities: { Counter } });
    const holder = await startHolder(hub);
    const waiting = [];
    for (const names of [["one", "three"], ["three"], ["two", "three"]]) {
      waiting.push(await startWaiting(hub, "inOrder", names));
    }
    assert.deepEqual(entered, []);
    await leave("done")(hub, holder);
    for (const id of [holder, ...waiting]) await hub.waitForOutput(id);
    assert.deepEqual(entered, ["one-three", "three", "two-three"]);
  });

  hubTest("lock_of_one_named_twice", async (hub) => {
    async function* twice(ctx) {
      const lock = yield ctx.entities.lockEntities(other, counter, other, counter);
      const value = yield ctx.entities.callEntity(other, "add", 1);
      lock.release();
      return value;
    }
    await hub.worker({ twice }, {}, { entities: { Counter } });
    for (const n of [1, 2, 3]) assert.equal(await hub.output("twice"), n);
  });

  // What is not there can be locked, also by a worker that has no such entity, and leaves nothing.
  hubTest("lock_of_what_is_not_there", async (hub) => {
    async function* empty(ctx) {
      const lock = yield ctx.entities.lockEntities(counter, new EntityInstanceId("Nobody", "k"));
      lock.release();
      return "released";
    }
    await hub.worker({ empty }, {}, { entities: { Diary } });
    assert.equal(await hub.output("empty"), "released");
    await eventually(async () => {
      for await (const _ of hub.client.getEntities({ includeTransient: true })) return false;
      return true;
    });
  });

  // It is due in the section, and comes after it.
  hubTest("delayed_signal_to_a_locked_entity", async (hub) => {
    await hub.worker({ hold }, {}, { entities: { Counter } });
    const holder = await startHolder(hub);
    await hub.signal(counter, "add", 10, { signalTime: inSeconds(0.3) });
    await eventually(async () => (await hub.client.getEntity(counter)).backlogQueueSize === 1);
    assert.equal(await hub.entityState(counter), 1);
    await leave("done")(hub, holder);
    await hub.untilState(counter, 12);
  });

  // Whatever ends the owner, who waits gets the lock.
  const ends = {
    released: leave("done"),
    failed: leave("fail"),
    continued: leave("again"),
    forgotten: leave("forget"),
    terminated: terminate,
    purged: async (hub, holder) => {
      await terminate(hub, holder);
      assert.equal((await hub.client.purgeOrchestration(holder)).deletedInstanceCount, 1);
    },
    restarted: async (hub, holder) => {
      await terminate(hub, holder);
      await hub.client.restartOrchestration(holder);
    },
  };
  for (const [name, end] of Object.entries(ends)) {
    hubTest(`owner_gone: ${name}`, async (hub) => {
      await hub.worker({ hold, lockOne }, {}, { entities: { Counter } });
      const holder = await startHolder(hub);
      const next = await startWaiting(hub, "lockOne");
      await end(hub, holder);
      assert([101, 102].includes(await hub.waitForOutput(next)));
      if (name === "continued" || name === "restarted") { // It has asked for the lock once more.
        await leave("done")(hub, holder);
        assert.equal(await hub.waitForOutput(holder), "done");
      }
      await hub.signal(other, "add", 1000);
      await eventually(async () => await hub.entityState(other) >= 1000);
    });
  }

  // Who is terminated while it waits is not granted, and others are.
  hubTest("waiting_owner_gone", async (hub) => {
    await hub.worker({ hold, lockOne }, {}, { entities: { Counter } });
    const holder = await startHolder(hub);
    const gone = await startWaiting(hub, "hold");
    const next = await startWaiting(hub, "lockOne");
    await terminate(hub, gone);
    await leave("done")(hub, holder);
    assert.equal(await hub.waitForOutput(next), 102);
    assert.deepEqual(await hub.history(gone, "EntityLockGranted"), []);
    await untilFree(hub);
  });

  // A lock is the orchestration's: with another worker it goes on in its section.
  hubTest("lock_outlives_its_worker", async (hub) => {
    const first = await hub.worker({ hold }, {}, { entities: { Counter } });
    const holder = await startHolder(hub);
    await hub.stop(first);
    await hub.signal(counter, "add", 10);
    await hub.worker({ hold }, {}, { entities: { Counter } });
    assert.equal(await lockedBy(hub, counter), holder);
    await leave("done")(hub, holder);
    assert.equal(await hub.waitForOutput(holder), "done");
    await hub.untilState(counter, 12);
  });
});
