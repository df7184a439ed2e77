"use strict";
// A worker in a process of its own, whose activity never ends: the test killed_worker kills it.
//
// Usage: node stuck_worker.js HUB. Prints one line when the activity has begun.

const { Hub } = require("./hub");

async function* survivor(ctx, text) {
  return yield ctx.callActivity("work", text);
}

function work(ctx) {
  console.log(`${ctx.orchestrationId} is stuck`);
  return new Promise(() => {});
}

if (require.main === module) {
  new Hub(process.argv[2]).worker({ survivor }, { work });
} else {
  module.exports = { survivor };
}
