// A worker with one orchestration and one activity, and a client that runs it, in one process.
const dt = require("@microsoft/durabletask-js");

const connection = {
  hostAddress: process.env.DTPG_ADDRESS ?? "localhost:4001",
  logger: new dt.NoOpLogger(),
};

const hello = async (_ctx, city) => `Hello, ${city}!`;

const greetAll = async function* (ctx, cities) {
  return yield dt.whenAll(cities.map((city) => ctx.callActivity(hello, city)));
};

(async () => {
  const worker = new dt.TaskHubGrpcWorker(connection);
  worker.addNamedActivity("hello", hello);
  worker.addNamedOrchestrator("greetAll", greetAll);
  await worker.start();

  const client = new dt.TaskHubGrpcClient(connection);
  const instance = await client.scheduleNewOrchestration("greetAll", ["Lima", "Oslo", "Turin"]);
  const state = await client.waitForOrchestrationCompletion(instance, true, 60);
  console.log(dt.OrchestrationStatus[state.runtimeStatus], state.serializedOutput);

  await worker.stop();
  await client.stop();
})();
