// A worker with one orchestration and one activity, and a client that runs it, in one process.
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.DurableTask;
using Microsoft.DurableTask.Client;
using Microsoft.DurableTask.Client.Grpc;
using Microsoft.DurableTask.Worker;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging.Abstractions;

var address = Environment.GetEnvironmentVariable("DTPG_ADDRESS") ?? "localhost:4001";
var hub = Environment.GetEnvironmentVariable("DTPG_HUB") ?? "default";

// The task hub travels with every call.
var metadata = CallCredentials.FromInterceptor((_, headers) =>
{
    headers.Add("taskhub", hub);
    return Task.CompletedTask;
});
using var channel = GrpcChannel.ForAddress($"http://{address}", new GrpcChannelOptions
{
    Credentials = ChannelCredentials.Create(ChannelCredentials.Insecure, metadata),
    UnsafeUseInsecureChannelCallCredentials = true,
});

var services = new ServiceCollection();
services.AddLogging();
services.AddDurableTaskWorker(builder =>
{
    builder.AddTasks(tasks =>
    {
        tasks.AddActivityFunc<string, string>("Hello", (_, city) => Task.FromResult($"Hello, {city}!"));
        tasks.AddOrchestratorFunc<string[], string[]>("GreetAll", async (context, cities) =>
            await Task.WhenAll(cities.Select(city => context.CallActivityAsync<string>("Hello", city))));
    });
    builder.UseGrpc(grpc => grpc.Channel = channel);
});

// In an application with a generic host, the host does this.
await using var provider = services.BuildServiceProvider();
var worker = provider.GetServices<IHostedService>().ToList();
foreach (var service in worker)
{
    await service.StartAsync(CancellationToken.None);
}

var options = new GrpcDurableTaskClientOptions { Channel = channel };
await using var client = new GrpcDurableTaskClient("quickstart", options, NullLogger.Instance);
using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
string[] input = ["Lima", "Oslo", "Turin"];
var instance = await client.ScheduleNewOrchestrationInstanceAsync("GreetAll", input, limit.Token);
var state = await client.WaitForInstanceCompletionAsync(instance, true, limit.Token);
Console.WriteLine($"{state.RuntimeStatus} {state.SerializedOutput}");

foreach (var service in worker)
{
    await service.StopAsync(CancellationToken.None);
}
