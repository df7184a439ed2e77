"use strict";
// What clients learn of entities: lists by prefix, time and page, the backlog, and cleaning.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { EntityInstanceId } = require("@microsoft/durabletask-js");
const { Gate, call, entities, ids, inSeconds } = require("./entities");
const { eventually, hubTest } = require("./hub");

const { Counter, Diary } = entities;
const { counter, gate: gateId, other } = ids;

// The ids that a query answers, sorted, since the protocol knows no order.
async function listed(hub, query) {
  const found = [];
  for await (const entity of hub.client.getEntities(query)) found.push(String(entity.id));
  return found.sort();
}

// One entity per key, with the state 0, 1 and so on; the worker that made them.
async function makeCounters(hub, keys) {
  const worker = await hub.worker({ call }, {}, { entities: { Counter, Diary } });
  for (const [n, key] of keys.entries()) {
    assert.equal(await hub.output("call", ["Counter", key, "set", n]), n);
  }
  return worker;
}

describe("entity queries", { concurrency: 8 }, () => {
  // A prefix with and without @, of names in any case, of keys in theirs, with @ in them.
  hubTest("query_by_prefix", async (hub) => {
    const keys = ["a-1", "a-2", "A-3", "b-4", "a%5", "@a"];
    await makeCounters(hub, keys);
    const written = new EntityInstanceId("Diary", "a-6");
    await hub.signal(written, "write", "x");
    await hub.untilState(written, ["x"]);
    const counters = keys.map((key) => `@counter@${key}`).sort();
    assert.deepEqual(await listed(hub), [...counters, "@diary@a-6"]);
    assert.deepEqual(await listed(hub, { instanceIdStartsWith: "" }),
      [...counters, "@diary@a-6"]);
    for (const prefix of ["@counter@", "counter@", "@COUNTER@", "Counter", "@cou"]) {
      assert.deepEqual(await listed(hub, { instanceIdStartsWith: prefix }), counters, prefix);
    }
    const under = (prefix) => listed(hub, { instanceIdStartsWith: `Counter@${prefix}` });
    assert.deepEqual(await under("a-"), ["@counter@a-1", "@counter@a-2"]);
    assert.deepEqual(await under("A"), ["@counter@A-3"]);
    assert.deepEqual(await under("a%"), ["@counter@a%5"]);
    assert.deepEqual(await under("@"), ["@counter@@a"]);
    assert.deepEqual(await listed(hub, { instanceIdStartsWith: "nobody" }), []);
  });

  // 21 entities, 5 a page, are five pages, and each is there once.
  hubTest("query_pages", async (hub) => {
    const keys = Array.from({ length: 21 }, (_, n) => `page-${String(n).padStart(2, "0")}`);
    await hub.worker({}, {}, { entities: { Counter } });
    for (const key of keys) await hub.signal(new EntityInstanceId("Counter", key), "set", 1);
    for (const key of keys) await hub.untilState(new EntityInstanceId("Counter", key), 1);
    const sizes = [];
    const found = [];
    for await (const page of hub.client.getEntities({ pageSize: 5 }).asPages()) {
      sizes.push(page.values.length);
      found.push(...page.values.map((entity) => String(entity.id)));
    }
    assert.deepEqual(sizes.filter((size) => size > 0), [5, 5, 5, 5, 1]);
    assert.deepEqual(found.sort(), keys.map((key) => `@counter@${key}`));
    assert.equal((await listed(hub)).length, 21);
  });

  // States come when asked for; from is inclusive, to is exclusive.
  hubTest("query_states_and_times", async (hub) => {
    await makeCounters(hub, ["one", "two"]);
    const states = {};
    for await (const entity of hub.client.getEntities()) states[entity.id.key] = entity.state;
    assert.deepEqual(states, { one: 0, two: 1 });
    for await (const entity of hub.client.getEntities({ includeState: false })) {
      assert.equal(entity.includesState, false);
    }
    assert.equal((await hub.client.getEntity(counter, false)).includesState, false);
    // The SDK cuts times to milliseconds.
    const first = (await hub.client.getEntity(counter)).lastModifiedTime;
    await eventually(() => Date.now() > first.getTime() + 1);
    await hub.output("call", ["Counter", "two", "add", 1]);
    const last = (await hub.client.getEntity(other)).lastModifiedTime;
    assert(first < last && last <= inSeconds(0));
    assert.deepEqual(await listed(hub, { lastModifiedFrom: last }), ["@counter@two"]);
    assert.deepEqual(await listed(hub, { lastModifiedTo: last }), ["@counter@one"]);
    assert.deepEqual(await listed(hub, { lastModifiedFrom: inSeconds(3600) }), []);
  });

  // What is due and has not run; a delayed signal is none of it.
  hubTest("backlog", async (hub) => {
    await hub.stop(await makeCounters(hub, ["one"]));
    for (let n = 0; n < 2; ++n) await hub.signal(counter, "add", 1);
    await hub.signal(counter, "add", 1, { signalTime: inSeconds(3600) });
    assert.equal((await hub.client.getEntity(counter)).backlogQueueSize, 2);
    await hub.worker({}, {}, { entities: { Counter } });
    await hub.untilState(counter, 2);
    assert.equal((await hub.client.getEntity(counter)).backlogQueueSize, 0);
  });

  // An entity with messages and without state is shown to who asks for such ones.
  hubTest("transient_entities", async (hub) => {
    const gate = new Gate();
    await hub.worker({}, {}, { entities: { Gate: () => gate } });
    await hub.signal(gateId, "pass", "first");
    await gate.reached;
    assert.deepEqual(await listed(hub), []);
    assert.deepEqual(await listed(hub, { includeTransient: true }), [String(gateId)]);
    assert.equal(await hub.client.getEntity(gateId), undefined);
    gate.open();
    await hub.untilState(gateId, ["first"]);
    assert.deepEqual(await listed(hub), [String(gateId)]);
  });

  // Entities are in no list of instances, and instances in none of entities.
  hubTest("entities_are_no_orchestrations", async (hub) => {
    await makeCounters(hub, ["one"]);
    const names = [];
    for await (const state of hub.client.getAllInstances()) names.push(state.name);
    assert.deepEqual(names, ["call"]);
    assert.deepEqual(await listed(hub), ["@counter@one"]);
  });

  // What has a state stays; empty entities and locks without an owner go by themselves, so there is
  // nothing to clean.
  hubTest("clean_storage", async (hub) => {
    await makeCounters(hub, ["one", "two"]);
    await hub.signal(other, "delete");
    await eventually(async () => (await hub.client.getEntity(other)) === undefined);
    const cleaned = await hub.client.cleanEntityStorage();
    assert.deepEqual([cleaned.emptyEntitiesRemoved, cleaned.orphanedLocksReleased], [0, 0]);
    assert.deepEqual(await listed(hub, { includeTransient: true }), ["@counter@one"]);
    assert.equal(await hub.entityState(counter), 0);
  });
});
