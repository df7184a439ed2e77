"use strict";
// A worker in a process of its own, whose activity and entity never end: tests kill it.
//
// Usage: node stuck_worker.js HUB. Prints one line when one of them has begun.

const { call } = require("./entities");
const { Hub } = require("./hub");

async function* survivor(ctx, text) {
  return yield ctx.callActivity("work", text);
}

function work(ctx) {
  console.log(`${ctx.orchestrationId} is stuck`);
  return new Promise(() => {});
}

const stuck = {
  run(operation) {
    console.log(`${operation.context.id} is stuck`);
    return new Promise(() => {});
  },
};

if (require.main === module) {
  new Hub(process.argv[2]).worker(
    { survivor, call }, { work }, { entities: { Stuck: () => stuck } });
} else {
  module.exports = { survivor };
}
