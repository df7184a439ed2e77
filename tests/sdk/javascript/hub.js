"use strict";
// A task hub that one test has for itself, with a client and workers of the unmodified SDK.
//
// The hub travels as the call metadata `taskhub`, which the SDK lets its users generate. It keeps
// apart the tests that run at the same time against one daemon: without it, any worker may be given
// any orchestration. The daemon creates a hub when it is first named.

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { test } = require("node:test");
const { setTimeout: sleep } = require("node:timers/promises");
const { isDeepStrictEqual } = require("node:util");
const grpc = require("@grpc/grpc-js");
const dt = require("@microsoft/durabletask-js");

const SECONDS = 60; // The bound of every wait; a test that needs so long has failed.

const ADDRESS = process.env.DTPG_ADDRESS;
assert(ADDRESS, "DTPG_ADDRESS is not set");

// Asks until the answer is true and returns it; fails after SECONDS.
async function eventually(condition) {
  const deadline = Date.now() + SECONDS * 1000;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    assert(Date.now() < deadline, `not true within ${SECONDS} s: ${condition}`);
    await sleep(20);
  }
}

// An orchestrator that returns its input.
function echo(_, value) {
  return value;
}

// An orchestrator that ends with the data of the event "finish".
async function* waiting(ctx) {
  return yield ctx.waitForExternalEvent("finish");
}

class Hub {
  // A task hub by name; no name is the hub of callers that name none.
  constructor(name, clientOptions = {}) {
    this.name = name;
    this.connection = {
      hostAddress: ADDRESS,
      logger: new dt.NoOpLogger(),
      metadataGenerator: async () => {
        const metadata = new grpc.Metadata();
        if (name) metadata.set("taskhub", name);
        return metadata;
      },
    };
    this.workers = [];
    this.client = new dt.TaskHubGrpcClient({ ...this.connection, ...clientOptions });
  }

  // Starts a worker with these functions, and functions that make entities, under their names;
  // close() stops it.
  async worker(orchestrators, activities = {}, { entities = {}, ...options } = {}) {
    const worker = new dt.TaskHubGrpcWorker({ ...this.connection, ...options });
    for (const [name, fn] of Object.entries(orchestrators)) worker.addNamedOrchestrator(name, fn);
    for (const [name, fn] of Object.entries(activities)) worker.addNamedActivity(name, fn);
    for (const [name, make] of Object.entries(entities)) worker.addNamedEntity(name, make);
    await worker.start();
    this.workers.push(worker);
    return worker;
  }

  start(orchestrator, input, options) {
    return this.client.scheduleNewOrchestration(orchestrator, input, options ?? {});
  }

  // The state of the instance once it has ended.
  wait(instanceId) {
    return this.client.waitForOrchestrationCompletion(instanceId, true, SECONDS);
  }

  async run(orchestrator, input, options) {
    return this.wait(await this.start(orchestrator, input, options));
  }

  // Runs the orchestration and returns what it returned; fails if it did not complete.
  async output(orchestrator, input, options) {
    return outputOf(await this.run(orchestrator, input, options));
  }

  async waitForOutput(instanceId) {
    return outputOf(await this.wait(instanceId));
  }

  state(instanceId) {
    return this.client.getOrchestrationState(instanceId);
  }

  async status(instanceId) {
    return (await this.state(instanceId)).runtimeStatus;
  }

  // Waits for the instance to have this status.
  until(instanceId, status) {
    return eventually(async () => (await this.status(instanceId)) === status);
  }

  // The events of this type in the instance's history.
  async history(instanceId, type) {
    const events = await this.client.getOrchestrationHistory(instanceId);
    return events.filter((event) => event.type === type);
  }

  // How the current generation of the instance began.
  async started(instanceId) {
    const [event] = await this.history(instanceId, "ExecutionStarted");
    return event;
  }

  signal(entity, operation, input, options) {
    return this.client.signalEntity(entity, operation, input, options);
  }

  // The state of the entity; undefined where there is none.
  async entityState(entity) {
    const found = await this.client.getEntity(entity);
    return found?.includesState ? found.state : undefined;
  }

  // Waits for the entity to have this state.
  untilState(entity, state) {
    return eventually(async () => isDeepStrictEqual(await this.entityState(entity), state));
  }

  async stop(worker) {
    this.workers = this.workers.filter((other) => other !== worker);
    await worker.stop();
  }

  async close() {
    await Promise.all(this.workers.map((worker) => worker.stop()));
    await this.client.stop();
  }
}

function outputOf(state) {
  const { COMPLETED } = dt.OrchestrationStatus;
  assert.equal(state.runtimeStatus, COMPLETED, state.failureDetails?.message);
  return state.serializedOutput === undefined ? undefined : JSON.parse(state.serializedOutput);
}

// Declares a test, whose body gets a fresh task hub; its workers are stopped at the end.
function hubTest(name, body) {
  test(name, { timeout: 120000 }, async (t) => {
    const hub = new Hub(`javascript-${randomUUID().slice(0, 12)}`);
    t.after(() => hub.close());
    await body(hub);
  });
}

// Fails unless the call is refused with this code, and with these words in the message.
async function refused(code, words, call) {
  await assert.rejects(call, (error) => {
    assert.equal(error.code, code, error.message);
    assert(error.message.includes(words), error.message);
    return true;
  });
}

module.exports = {
  Hub, echo, eventually, hubTest, refused, status: dt.OrchestrationStatus, waiting,
};
