// A worker with one orchestration and one activity, and a client that runs it, in one process.
import com.microsoft.durabletask.DurableTaskClient;
import com.microsoft.durabletask.DurableTaskGrpcClientBuilder;
import com.microsoft.durabletask.DurableTaskGrpcWorker;
import com.microsoft.durabletask.DurableTaskGrpcWorkerBuilder;
import com.microsoft.durabletask.OrchestrationMetadata;
import com.microsoft.durabletask.Task;
import com.microsoft.durabletask.TaskActivity;
import com.microsoft.durabletask.TaskActivityFactory;
import com.microsoft.durabletask.TaskOrchestration;
import com.microsoft.durabletask.TaskOrchestrationFactory;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;

public final class Quickstart {
  public static void main(String[] args) throws Exception {
    String address = System.getenv().getOrDefault("DTPG_ADDRESS", "localhost:4001");
    String hub = System.getenv().getOrDefault("DTPG_HUB", "default");

    // The task hub travels with every call.
    Metadata metadata = new Metadata();
    metadata.put(Metadata.Key.of("taskhub", Metadata.ASCII_STRING_MARSHALLER), hub);
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget(address)
            .usePlaintext()
            .intercept(MetadataUtils.newAttachHeadersInterceptor(metadata))
            .build();

    DurableTaskGrpcWorkerBuilder builder = new DurableTaskGrpcWorkerBuilder().grpcChannel(channel);
    builder.addActivity(
        activity("Hello", context -> "Hello, " + context.getInput(String.class) + "!"));
    builder.addOrchestration(
        orchestration(
            "GreetAll",
            context -> {
              List<Task<String>> greetings =
                  Stream.of(context.getInput(String[].class))
                      .map(city -> context.callActivity("Hello", city, String.class))
                      .toList();
              context.complete(context.allOf(greetings).await());
            }));
    try (DurableTaskGrpcWorker worker = builder.build();
        DurableTaskClient client =
            new DurableTaskGrpcClientBuilder().grpcChannel(channel).build()) {
      worker.start();
      String instance =
          client.scheduleNewOrchestrationInstance(
              "GreetAll", new String[] {"Lima", "Oslo", "Turin"});
      OrchestrationMetadata state =
          client.waitForInstanceCompletion(instance, Duration.ofSeconds(60), true);
      System.out.println(state.getRuntimeStatus() + " " + state.getSerializedOutput());
    }
    // A closed worker's thread goes on trying to reconnect.
    System.exit(0);
  }

  private static TaskActivityFactory activity(String name, TaskActivity function) {
    return new TaskActivityFactory() {
      @Override
      public String getName() {
        return name;
      }

      @Override
      public TaskActivity create() {
        return function;
      }
    };
  }

  private static TaskOrchestrationFactory orchestration(String name, TaskOrchestration function) {
    return new TaskOrchestrationFactory() {
      @Override
      public String getName() {
        return name;
      }

      @Override
      public TaskOrchestration create() {
        return function;
      }
    };
  }
}
