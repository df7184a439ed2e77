"use strict";
// Queries over instances and lists of their ids: conditions, pages, payloads.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { status: code } = require("@grpc/grpc-js");
const { Hub, echo, eventually, hubTest, refused, status, waiting } = require("./hub");

// The ids that a query answers, in its order, by the SDK's own loop over the pages.
async function query(hub, conditions) {
  const ids = [];
  for await (const state of hub.client.getAllInstances(conditions)) ids.push(state.instanceId);
  return ids;
}

// All ids that a list answers, page by page.
async function listIds(hub, conditions) {
  const ids = [];
  let lastInstanceKey;
  for (;;) {
    const page = await hub.client.listInstanceIds({ ...conditions, lastInstanceKey });
    ids.push(...page.values);
    if (!page.hasMoreResults) return ids;
    lastInstanceKey = page.continuationToken;
    assert(lastInstanceKey.includes(page.values.at(-1)));
  }
}

function failing() {
  throw new TypeError("no such thing");
}

// Starts instances one after the other; the SDK's times, in milliseconds, differ.
async function startApart(hub, ids) {
  const created = [];
  for (const instanceId of ids) {
    await hub.start("nothing", null, { instanceId });
    const { createdAt } = await hub.state(instanceId);
    created.push(createdAt);
    await eventually(() => Date.now() > createdAt.getTime() + 1);
  }
  return created;
}

// Returns a map from each status to the id of an instance that has it.
async function startOneOfEachStatus(hub) {
  await hub.worker({ echo, waiting, failing });
  const inAnHour = new Date(Date.now() + 3600_000);
  const ids = new Map([
    [status.PENDING, await hub.start("echo", null, { startAt: inAnHour })],
    [status.RUNNING, await hub.start("waiting")],
    [status.SUSPENDED, await hub.start("waiting")],
    [status.COMPLETED, await hub.start("echo")],
    [status.FAILED, await hub.start("failing")],
    [status.TERMINATED, await hub.start("waiting")],
  ]);
  await hub.client.suspendOrchestration(ids.get(status.SUSPENDED));
  await hub.client.terminateOrchestration(ids.get(status.TERMINATED));
  for (const [wanted, id] of ids) await hub.until(id, wanted);
  return ids;
}

describe("queries", { concurrency: 8 }, () => {
  // Each status is found alone, several together, all without a condition.
  hubTest("query_by_status", async (hub) => {
    const ids = await startOneOfEachStatus(hub);
    for (const [wanted, id] of ids) {
      assert.deepEqual(await query(hub, { statuses: [wanted] }), [id]);
    }
    const live = [status.PENDING, status.RUNNING, status.SUSPENDED];
    assert.deepEqual((await query(hub, { statuses: live })).sort(),
      live.map((wanted) => ids.get(wanted)).sort());
    const found = new Map();
    for await (const state of hub.client.getAllInstances()) {
      found.set(state.runtimeStatus, state.instanceId);
    }
    assert.deepEqual(found, ids);
  });

  // From is inclusive, to is exclusive, and the oldest comes first.
  hubTest("query_by_creation_time", async (hub) => {
    const ids = ["c", "b", "a"];
    const created = await startApart(hub, ids);
    assert.deepEqual(await query(hub), ids);
    assert.deepEqual(await query(hub, { createdFrom: created[1] }), ids.slice(1));
    assert.deepEqual(await query(hub, { createdTo: created[1] }), ids.slice(0, 1));
    const second = { createdFrom: created[1], createdTo: created[2] };
    assert.deepEqual(await query(hub, second), ids.slice(1, 2));
  });

  // A prefix is plain text, and its case counts; nothing stands for other characters.
  hubTest("query_by_prefix", async (hub) => {
    const ids = ["order-1", "order-2", "Order-3", "order%4", "order_5", "orderly", "größe-6"];
    for (const instanceId of ids) await hub.start("nothing", null, { instanceId });
    const byPrefix = (instanceIdPrefix) => query(hub, { instanceIdPrefix });
    assert.deepEqual(await byPrefix("order-"), ["order-1", "order-2"]);
    assert.deepEqual(await byPrefix("order%"), ["order%4"]);
    assert.deepEqual(await byPrefix("order_"), ["order_5"]);
    assert.deepEqual(await byPrefix("größ"), ["größe-6"]);
    assert.deepEqual(await byPrefix(""), ids);
    // The hub is that of the connection, whatever names the query lists.
    assert.deepEqual(await query(hub, { taskHubNames: ["another"] }), ids);
  });

  // Input, output, custom status and failure come when asked for; names, times, tags always do.
  hubTest("query_payloads_only_on_request", async (hub) => {
    function talkative(ctx, value) {
      ctx.setCustomStatus("almost");
      return value;
    }
    await hub.worker({ talkative, failing });
    const tags = { team: "größe" };
    await hub.run("talkative", "heavy", { instanceId: "talkative", tags });
    await hub.run("failing", "light", { instanceId: "failing" });
    const all = async (fetchInputsAndOutputs) => {
      const pages = hub.client.getAllInstances({ fetchInputsAndOutputs }).asPages();
      for await (const page of pages) return page.values;
    };
    const [light, lightFailed] = await all(false);
    assert.deepEqual([light.name, light.runtimeStatus, light.tags],
      ["talkative", status.COMPLETED, tags]);
    assert.deepEqual([light.serializedInput, light.serializedOutput, light.serializedCustomStatus],
      [undefined, undefined, undefined]);
    assert.equal(lightFailed.failureDetails, undefined);
    const [heavy, heavyFailed] = await all(true);
    assert.deepEqual([heavy.serializedInput, heavy.serializedOutput, heavy.serializedCustomStatus],
      ['"heavy"', '"heavy"', '"almost"']);
    assert.equal(heavyFailed.failureDetails.errorType, "TypeError");
    assert.deepEqual(heavy.createdAt, light.createdAt);
    assert.deepEqual(heavy.lastUpdatedAt, light.lastUpdatedAt);
  });

  // query_pages: 21 instances, 5 a page, are five pages; a token goes with another page size.
  hubTest("query_pages", async (hub) => {
    const ids = Array.from({ length: 21 }, (_, n) => `page-${String(n).padStart(2, "0")}`);
    for (const instanceId of ids) await hub.start("nothing", null, { instanceId });
    assert.deepEqual(await query(hub, { pageSize: 5 }), ids);
    const pages = [];
    const byFive = hub.client.getAllInstances({ pageSize: 5 });
    for await (const page of byFive.asPages()) pages.push(page);
    assert.deepEqual(pages.map((page) => page.values.length), [5, 5, 5, 5, 1]);
    assert.equal(pages.at(-1).continuationToken, undefined);
    const rest = [];
    for await (const page of hub.client.getAllInstances().asPages(pages[0].continuationToken, 8)) {
      rest.push(page.values.map((state) => state.instanceId));
    }
    assert.deepEqual(rest, [ids.slice(5, 13), ids.slice(13)]);
    assert.deepEqual(await query(hub, { continuationToken: pages[2].continuationToken }),
      ids.slice(15));
  });

  // 250 instances: pages of the SDK's own size, smaller ones, and as a list of the ended ones.
  hubTest("many_instances_are_listed_once_each", async (hub) => {
    const ids = Array.from({ length: 250 }, (_, n) => `many-${String(n).padStart(3, "0")}`);
    await Promise.all(ids.map((instanceId) => hub.start("nothing", instanceId, { instanceId })));
    const found = await query(hub);
    assert.deepEqual([...found].sort(), ids);
    assert.deepEqual(await query(hub, { pageSize: 60 }), found);
    assert.deepEqual(await listIds(hub), []);
    await Promise.all(ids.map((id) => hub.client.terminateOrchestration(id)));
    assert.deepEqual((await listIds(hub, { pageSize: 60 })).sort(), ids);
    assert.deepEqual((await listIds(hub)).sort(), ids);
  });

  // A child is an instance as its parent is; other hubs know neither.
  hubTest("children_are_found_and_hubs_are_apart", async (hub) => {
    async function* parent(ctx) {
      yield ctx.callSubOrchestrator("echo", null, { instanceId: `${ctx.instanceId}-child` });
    }
    await hub.worker({ parent, echo });
    await hub.run("parent", null, { instanceId: "parent" });
    assert.deepEqual(await query(hub, { instanceIdPrefix: "parent" }), ["parent", "parent-child"]);
    const other = new Hub(`${hub.name}-other`);
    try {
      assert.deepEqual([await query(other), await listIds(other)], [[], []]);
    } finally {
      await other.close();
    }
  });

  // list_ids: the ended ones, by the time of their end, from inclusive, to exclusive.
  hubTest("list_ids", async (hub) => {
    const ids = await startOneOfEachStatus(hub);
    const ended = [status.COMPLETED, status.FAILED, status.TERMINATED];
    assert.deepEqual((await listIds(hub)).sort(), ended.map((wanted) => ids.get(wanted)).sort());
    for (const wanted of ended) {
      assert.deepEqual(await listIds(hub, { runtimeStatus: [wanted] }), [ids.get(wanted)]);
    }
    assert.deepEqual(await listIds(hub, { runtimeStatus: [status.RUNNING] }), []);
    const last = ["z", "y", "x"];
    const times = [];
    for (const instanceId of last) {
      const state = await hub.run("echo", null, { instanceId });
      times.push(state.lastUpdatedAt);
      await eventually(() => Date.now() > state.lastUpdatedAt.getTime() + 1);
    }
    const from = { completedTimeFrom: times[1], pageSize: 1 };
    assert.deepEqual(await listIds(hub, from), last.slice(1));
    assert.deepEqual(await listIds(hub, { ...from, completedTimeTo: times[2] }), last.slice(1, 2));
    const before = await listIds(hub, { completedTimeTo: times[1] });
    assert.deepEqual(before.slice(ended.length), last.slice(0, 1));
  });

  // paging_while_deleting: each page is purged before the next one; none is skipped.
  hubTest("list_ids_while_they_are_purged", async (hub) => {
    const ids = Array.from({ length: 12 }, (_, n) => `ended-${String(n).padStart(2, "0")}`);
    for (const instanceId of ids) {
      await hub.start("nothing", null, { instanceId });
      await hub.client.terminateOrchestration(instanceId);
    }
    const seen = [];
    let page;
    do {
      page = await hub.client.listInstanceIds({
        pageSize: 5, lastInstanceKey: page?.continuationToken });
      for (const id of page.values) {
        assert.equal((await hub.client.purgeOrchestration(id)).deletedInstanceCount, 1);
      }
      seen.push(...page.values);
    } while (page.hasMoreResults);
    assert.deepEqual(seen, ids);
    assert.deepEqual(await listIds(hub), []);
  });

  // A token that no page gave is an error, not the first page.
  hubTest("bad_token_is_refused", async (hub) => {
    await refused(code.INVALID_ARGUMENT, "lastInstanceKey",
      hub.client.listInstanceIds({ lastInstanceKey: "yesterday" }));
    await refused(code.INVALID_ARGUMENT, "continuationToken",
      query(hub, { continuationToken: "yesterday" }));
  });

  // get_payload_flag, wait_missing_then_created: payloads on request; waits end as they say.
  hubTest("waits_and_payloads", async (hub) => {
    await assert.rejects(hub.client.waitForOrchestrationCompletion("later", true, 0.2),
      { name: "TimeoutError" });
    const started = hub.client.waitForOrchestrationStart("later", false, 60);
    await hub.start("echo", "heavy", { instanceId: "later" });
    await assert.rejects(hub.client.waitForOrchestrationStart("later", false, 0.2),
      { name: "TimeoutError" });
    await hub.worker({ echo });
    assert.equal((await started).instanceId, "later");
    await hub.wait("later");
    const light = await hub.client.getOrchestrationState("later", false);
    assert.deepEqual([light.runtimeStatus, light.serializedInput, light.serializedOutput],
      [status.COMPLETED, undefined, undefined]);
    assert.equal((await hub.state("later")).serializedOutput, '"heavy"');
  });
});
