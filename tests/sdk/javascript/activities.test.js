"use strict";
// Activities: chains, fan-out, retries, failures, payloads.

const assert = require("node:assert/strict");
const { describe } = require("node:test");
const { RetryPolicy, whenAll } = require("@microsoft/durabletask-js");
const { hubTest, status } = require("./hub");

const TEXTS = [
  "",
  " leading and trailing ",
  "Zażółć gęślą jaźń",
  "日本語テキスト",
  "🙂👩‍👩‍👧‍👦🏴‍☠️",
  "e\u0301 is not \u00e9",
  "line\nbreaks\r\nand\ttabs",
  "quotes ' \" \\ $1 %s {} \\x00 \\N",
  "\u0000 and \u001f escaped",
  "\ufeff\u2028\u202e",
];

describe("activities", { concurrency: 8 }, () => {
  // Each activity gets what the one before it returned.
  hubTest("activity_chain", async (hub) => {
    async function* chain(ctx, start) {
      let value = start;
      for (const step of [1, 2, 3, 4, 5]) value = yield ctx.callActivity("add", [value, step]);
      return value;
    }
    await hub.worker({ chain }, { add: (_, [a, b]) => a + b });
    assert.equal(await hub.output("chain", 100), 115);
  });

  // 100 activities at once; results come back in the order of the calls, each recorded once.
  hubTest("fan_out_fan_in_of_100", async (hub) => {
    const numbers = Array.from({ length: 100 }, (_, n) => n);
    async function* fanOut(ctx) {
      return yield whenAll(numbers.map((n) => ctx.callActivity("square", n)));
    }
    await hub.worker({ fanOut }, { square: async (_, n) => n * n });
    const id = await hub.start("fanOut");
    assert.deepEqual(await hub.waitForOutput(id), numbers.map((n) => n * n));
    const completed = (await hub.history(id, "TaskCompleted")).map((e) => e.taskScheduledId);
    assert.deepEqual(completed.sort((a, b) => a - b), numbers.map((n) => n + 1));
  });

  // A policy of three attempts reaches the third, which succeeds.
  hubTest("activity_retries", async (hub) => {
    const attempts = [];
    function flaky(_, text) {
      attempts.push(text);
      if (attempts.length < 3) throw new Error(`attempt ${attempts.length}`);
      return text.toUpperCase();
    }
    async function* retry(ctx, text) {
      const policy = new RetryPolicy({
        maxNumberOfAttempts: 3, firstRetryIntervalInMilliseconds: 50 });
      return yield ctx.callActivity("flaky", text, { retry: policy });
    }
    await hub.worker({ retry }, { flaky });
    const id = await hub.start("retry", "done");
    assert.equal(await hub.waitForOutput(id), "DONE");
    assert.deepEqual(attempts, ["done", "done", "done"]);
    assert.equal((await hub.history(id, "TaskFailed")).length, 2);
  });

  // When every attempt fails, the orchestration sees the failure and can answer it.
  hubTest("activity_retries_exhausted", async (hub) => {
    let attempts = 0;
    function broken() {
      attempts += 1;
      throw new TypeError("never works");
    }
    async function* retry(ctx) {
      const policy = new RetryPolicy({
        maxNumberOfAttempts: 4, firstRetryIntervalInMilliseconds: 50, backoffCoefficient: 2 });
      try {
        return yield ctx.callActivity("broken", null, { retry: policy });
      } catch (error) {
        return [error.details.errorType, error.details.message];
      }
    }
    await hub.worker({ retry }, { broken });
    assert.deepEqual(await hub.output("retry"), ["TypeError", "never works"]);
    assert.equal(attempts, 4);
  });

  // An exception of the orchestrator fails it with type, message and stack trace.
  hubTest("unhandled_exception", async (hub) => {
    async function* throws() {
      throw new RangeError("no such thing");
    }
    await hub.worker({ throws });
    const state = await hub.run("throws");
    assert.equal(state.runtimeStatus, status.FAILED);
    assert.equal(state.failureDetails.errorType, "RangeError");
    assert.equal(state.failureDetails.message, "no such thing");
    assert.match(state.failureDetails.stackTrace, /throws/);
    assert.equal(state.serializedOutput, undefined);
  });

  // A failed activity that nobody catches fails the orchestration, with its message.
  hubTest("unhandled_exception_of_an_activity", async (hub) => {
    function throws() {
      throw new Error("Grüße, 世界");
    }
    async function* calls(ctx) {
      return yield ctx.callActivity("throws");
    }
    await hub.worker({ calls }, { throws });
    const state = await hub.run("calls");
    assert.equal(state.runtimeStatus, status.FAILED);
    assert.equal(state.failureDetails.errorType, "TaskFailedError");
    assert.match(state.failureDetails.message, /Grüße, 世界/);
  });

  // 32 results of 64 KiB come back whole, and so does the output of 2 MiB made of them.
  hubTest("large_fan_out_result", async (hub) => {
    const letters = [..."abcdefghijklmnopqrstuvwxyz012345"];
    async function* gather(ctx) {
      const blocks = yield whenAll(letters.map((letter) => ctx.callActivity("block", letter)));
      return blocks.join("");
    }
    await hub.worker({ gather }, { block: (_, letter) => letter.repeat(65536) });
    const output = await hub.output("gather");
    assert.equal(output.length, 2 * 1024 * 1024);
    assert(output === letters.map((letter) => letter.repeat(65536)).join(""));
  });

  // All texts survive input, activity, event, sub-orchestration, custom status and output.
  hubTest("unicode", async (hub) => {
    async function* journey(ctx, texts) {
      ctx.setCustomStatus(texts);
      const repeated = yield whenAll(texts.map((text) => ctx.callActivity("repeat", text)));
      const echoed = yield ctx.callSubOrchestrator("echo", repeated);
      const event = yield ctx.waitForExternalEvent("größe 📏");
      return [echoed, event];
    }
    await hub.worker({ journey, echo: (_, texts) => texts }, { repeat: (_, text) => text });
    const id = await hub.start("journey", TEXTS, { instanceId: "ключ-🔑" });
    await hub.client.raiseOrchestrationEvent(id, "größe 📏", TEXTS);
    const state = await hub.wait(id);
    assert.deepEqual(JSON.parse(state.serializedInput), TEXTS);
    assert.deepEqual(JSON.parse(state.serializedCustomStatus), TEXTS);
    assert.deepEqual(JSON.parse(state.serializedOutput), [TEXTS, TEXTS]);
  });

  // What the SDK sends for undefined ("" at the start), null and "" comes back just so.
  hubTest("empty_and_absent_payloads_are_kept_apart", async (hub) => {
    async function* journey(ctx, input) {
      yield ctx.callActivity("give", input);
      return input;
    }
    await hub.worker({ journey }, { give: (_, input) => input });
    const sent = [
      { input: undefined, start: "", activity: undefined },
      { input: null, start: "null", activity: "null" },
      { input: "", start: '""', activity: '""' },
    ];
    for (const { input, start, activity } of sent) {
      const id = await hub.start("journey", input);
      assert.equal((await hub.wait(id)).runtimeStatus, status.COMPLETED);
      const [started] = await hub.history(id, "ExecutionStarted");
      const [scheduled] = await hub.history(id, "TaskScheduled");
      const [completed] = await hub.history(id, "TaskCompleted");
      assert.deepEqual([started.input, scheduled.input], [start, activity]);
      assert.equal(completed.result ?? "", activity ?? "");
    }
  });

  // Tags stay with the orchestration, go to its children, and stay with its activities.
  hubTest("tags", async (hub) => {
    async function* parent(ctx) {
      yield ctx.callActivity("work", null, { tags: { cost: "high" } });
      yield ctx.callSubOrchestrator("child", null, {
        instanceId: `${ctx.instanceId}-child`, tags: { level: "2" } });
    }
    await hub.worker({ parent, child: () => null }, { work: () => null });
    const tags = { team: "größe", empty: "" };
    const id = await hub.start("parent", null, { tags });
    await hub.waitForOutput(id);
    const tagsOf = async (instanceId) =>
      (await hub.client.getOrchestrationState(instanceId)).tags;
    assert.deepEqual(await tagsOf(id), tags);
    assert.deepEqual(await tagsOf(`${id}-child`), { ...tags, level: "2" });
    const [scheduled] = await hub.history(id, "TaskScheduled");
    assert.deepEqual(scheduled.tags, { cost: "high" });
  });
});
