"use strict";
// Entities that several files of tests use.

const { EntityInstanceId, TaskEntity } = require("@microsoft/durabletask-js");
const { setTimeout: sleep } = require("node:timers/promises");

const ids = {
  counter: new EntityInstanceId("Counter", "one"),
  other: new EntityInstanceId("Counter", "two"),
  third: new EntityInstanceId("Counter", "three"),
  diary: new EntityInstanceId("Diary", "of a test"),
  gate: new EntityInstanceId("Gate", "of a test"),
};

function inSeconds(seconds) {
  return new Date(Date.now() + seconds * 1000);
}

// A number; its operations return what it is then. Every operation leaves a state, also `get`.
class Counter extends TaskEntity {
  initializeState() {
    return 0;
  }
  add(amount) {
    this.state += amount;
    return this.state;
  }
  get() {
    return this.state;
  }
  set(value) {
    this.state = value;
    return value;
  }
  // Adds, signals, starts an orchestration, and fails, so that nothing of it may stay.
  refuse(amount) {
    this.state += amount;
    this.context.signalEntity(ids.other, "add", amount);
    this.context.scheduleNewOrchestration("echo", "lost", { instanceId: "refused" });
    throw new RangeError(`refused ${amount}`);
  }
}

// A list of what it was told, in order.
class Diary extends TaskEntity {
  initializeState() {
    return [];
  }
  write(entry) {
    this.state.push(entry);
  }
  read() {
    return this.state;
  }
  // Writes by how many milliseconds it is later than a time.
  writeLateness(due) {
    this.state.push(Date.now() - due);
  }
}

// Its operation `pass` waits until the test opens it. It writes each entry, as the diary does.
class Gate {
  constructor() {
    this.reached = new Promise((resolve) => { this.onReached = resolve; });
    this.opened = new Promise((resolve) => { this.open = resolve; });
  }
  async run(operation) {
    if (operation.name === "pass") {
      this.onReached();
      await this.opened;
    }
    operation.state.setState([...(operation.state.getState() ?? []), operation.getInput()]);
    return operation.getInput();
  }
}

// The activity `inside`, which tells when two critical sections overlap in what they lock.
class Sections {
  names = new Set();
  overlaps = [];
  count = 0;

  inside = async (_, names) => {
    this.count += 1;
    this.overlaps.push(...names.filter((name) => this.names.has(name)));
    for (const name of names) this.names.add(name);
    await sleep(5); // Others get their chance; nothing is waited for.
    for (const name of names) this.names.delete(name);
  };
}

// An orchestrator that returns what an entity's operation does.
async function* call(ctx, [name, key, operation, input]) {
  return yield ctx.entities.callEntity(new EntityInstanceId(name, key), operation, input);
}

// The same, but it returns the failure, as [entity, operation, type, message].
async function* tryCall(ctx, [name, key, operation, input]) {
  try {
    yield ctx.entities.callEntity(new EntityInstanceId(name, key), operation, input);
  } catch (failure) {
    const { entityId, operationName, failureDetails: details } = failure;
    return [String(entityId), operationName, details.errorType, details.errorMessage];
  }
}

const entities = { Counter: () => new Counter(), Diary: () => new Diary() };

module.exports = { Counter, Diary, Gate, Sections, call, entities, ids, inSeconds, tryCall };
