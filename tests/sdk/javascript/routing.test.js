"use strict";
// Who gets what: work item filters, and the versions that workers accept.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { VersionFailureStrategy, VersionMatchStrategy } = require("@microsoft/durabletask-js");
const { Hub, echo, hubTest, status } = require("./hub");

const { Fail, Reject } = VersionFailureStrategy;
const AUTO = { workItemFilters: "auto" };

const versioned = (ctx) => ctx.version;

// Options of a worker that runs just this version.
function only(version, failureStrategy) {
  return { versioning: { version, matchStrategy: VersionMatchStrategy.Strict, failureStrategy } };
}

// Options of a worker that runs this version and older ones.
function upTo(version, failureStrategy) {
  const matchStrategy = VersionMatchStrategy.CurrentOrOlder;
  return { versioning: { version, matchStrategy, failureStrategy } };
}

// Options of a worker that takes just these orchestrations and activities.
function filters(orchestrations, activities) {
  return { workItemFilters: { orchestrations, activities } };
}

describe("filters", { concurrency: 8 }, () => {
  // Workers with filters get only what they know, and each finds its work.
  hubTest("filters_from_what_is_registered", async (hub) => {
    async function* producer(ctx, what) {
      return yield ctx.callActivity("make", what);
    }
    const id = await hub.start("producer", "a");
    await hub.worker({}, { make: (_, what) => `made ${what}` }, AUTO);
    await hub.worker({ producer }, {}, AUTO);
    assert.equal(await hub.waitForOutput(id), "made a");
  });

  // What no filter names stays PENDING, and the first worker that takes it gets it.
  hubTest("filters_by_name", async (hub) => {
    await hub.worker({ echo, versioned }, {}, filters([{ name: "echo" }]));
    const unmatched = await hub.start("versioned", null, { version: "1.0" });
    for (const version of [undefined, "1.0", "2.0"]) {
      assert.equal(await hub.output("echo", "named", { version }), "named");
    }
    assert.equal(await hub.status(unmatched), status.PENDING);
    await hub.worker({ versioned });
    assert.equal(await hub.waitForOutput(unmatched), "1.0");
  });

  // A filter's version is an exact one, and "" is none at all; others wait.
  hubTest("filters_by_version", async (hub) => {
    const takes = (...versions) => filters([{ name: "versioned", versions }]);
    await hub.worker({ versioned }, {}, takes("1.0", "2.0"));
    const none = await hub.start("versioned");
    const newer = await hub.start("versioned", null, { version: "2.0.0" });
    assert.equal(await hub.output("versioned", null, { version: "1.0" }), "1.0");
    assert.equal(await hub.output("versioned", null, { version: "2.0" }), "2.0");
    assert.deepEqual([await hub.status(none), await hub.status(newer)],
      [status.PENDING, status.PENDING]);
    await hub.worker({ versioned }, {}, takes(""));
    assert.equal(await hub.waitForOutput(none), "");
    assert.equal(await hub.status(newer), status.PENDING);
    await hub.worker({ versioned }, {}, takes("2.0.0"));
    assert.equal(await hub.waitForOutput(newer), "2.0.0");
  });

  // Activities of two versions go to the workers that take them.
  hubTest("filters_by_version_of_an_activity", async (hub) => {
    async function* caller(ctx) {
      const answers = [];
      for (const version of ["1", "2", "1"]) {
        answers.push(yield ctx.callActivity("work", version, { version }));
      }
      return answers;
    }
    const takes = (version) => filters([], [{ name: "work", versions: [version] }]);
    await hub.worker({ caller }, {}, filters([{ name: "caller" }], []));
    for (const version of ["1", "2"]) {
      const work = (_, asked) => `${asked} by ${version}`;
      await hub.worker({}, { work }, takes(version));
    }
    assert.deepEqual(await hub.output("caller"), ["1 by 1", "2 by 2", "1 by 1"]);
  });

  // An empty category means none of it: one worker for orchestrations, one for activities.
  hubTest("filters_without_a_category", async (hub) => {
    async function* producer(ctx) {
      return yield ctx.callActivity("make");
    }
    const make = () => "made";
    await hub.worker({ producer }, { make }, filters([], [{ name: "make" }]));
    await hub.worker({ echo }, {}, filters([{ name: "echo" }], []));
    const id = await hub.start("producer");
    assert.equal(await hub.output("echo", "in between"), "in between");
    assert.equal(await hub.status(id), status.PENDING);
    await hub.worker({ producer }, {}, filters([{ name: "PRODUCER" }], []));
    assert.equal(await hub.waitForOutput(id), "made");
  });
});

describe("versions", { concurrency: 8 }, () => {
  // The version of the start reaches the orchestrator; none stays none.
  hubTest("versions", async (hub) => {
    await hub.worker({ versioned });
    const id = await hub.start("versioned", null, { version: "1.2.3" });
    assert.equal(await hub.waitForOutput(id), "1.2.3");
    assert.equal((await hub.started(id)).version, "1.2.3");
    assert.equal(await hub.output("versioned"), "");
  });

  // A client's default version is that of starts that name none.
  hubTest("default_version_of_a_client", async (hub) => {
    await hub.worker({ versioned });
    const client = new Hub(hub.name, { defaultVersion: "5.0" });
    try {
      assert.equal(await client.output("versioned"), "5.0");
      assert.equal(await client.output("versioned", null, { version: "1.0" }), "1.0");
    } finally {
      await client.close();
    }
  });

  // A child and an activity have the versions that their caller asked for.
  hubTest("versions_of_what_an_orchestration_calls", async (hub) => {
    async function* parent(ctx, version) {
      yield ctx.callActivity("work", null, { version: "4.0" });
      return [ctx.version, yield ctx.callSubOrchestrator("versioned", null, { version })];
    }
    await hub.worker({ parent, versioned }, { work: () => null });
    const id = await hub.start("parent", "3.0", { version: "2.0" });
    assert.deepEqual(await hub.waitForOutput(id), ["2.0", "3.0"]);
    const [scheduled] = await hub.history(id, "TaskScheduled");
    assert.equal(scheduled.version, "4.0");
  });

  // A worker that fails other versions does so with details.
  for (const [name, versioning, accepted, refused] of [
    ["strict", only("2.0", Fail), ["2.0"], ["1.0", "2.1", ""]],
    ["current_or_older", upTo("2.0", Fail), ["2.0", "1.10", ""], ["2.1", "10.0"]],
  ]) {
    hubTest(`version_mismatch_fails_${name}`, async (hub) => {
      await hub.worker({ versioned }, {}, versioning);
      for (const version of accepted) {
        assert.equal(await hub.output("versioned", null, { version }), version);
      }
      for (const version of refused) {
        const state = await hub.run("versioned", null, { version });
        assert.equal(state.runtimeStatus, status.FAILED);
        assert.equal(state.failureDetails.errorType, "VersionMismatch");
      }
    });
  }

  // abandon_reject_version: what one worker gives back is done by the one that can.
  for (const strategy of [only, upTo]) {
    hubTest(`version_mismatch_is_left_to_another_worker_${strategy.name}`, async (hub) => {
      await hub.worker({ echo }, {}, strategy("1.0", Reject));
      const newer = await hub.start("echo", "new", { version: "2.0" });
      assert.equal(await hub.output("echo", "old", { version: "1.0" }), "old");
      assert.equal(await hub.status(newer), status.PENDING);
      await hub.worker({ echo }, {}, strategy("2.0", Reject));
      assert.equal(await hub.waitForOutput(newer), "new");
    });
  }

  // Filters made from a strict worker's version: each version goes to its own worker.
  hubTest("filters_from_the_version_of_the_worker", async (hub) => {
    const failing = (version) => ({ ...only(version, Fail), ...AUTO });
    await hub.worker({ versioned }, {}, failing("1.0"));
    const newer = await hub.start("versioned", null, { version: "2.0" });
    assert.equal(await hub.output("versioned", null, { version: "1.0" }), "1.0");
    assert.equal(await hub.status(newer), status.PENDING);
    await hub.worker({ versioned }, {}, failing("2.0"));
    assert.equal(await hub.waitForOutput(newer), "2.0");
  });
});
