package sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.durabletask.DataConverter;
import com.microsoft.durabletask.DurableTaskClient;
import com.microsoft.durabletask.DurableTaskGrpcClientBuilder;
import com.microsoft.durabletask.DurableTaskGrpcWorker;
import com.microsoft.durabletask.DurableTaskGrpcWorkerBuilder;
import com.microsoft.durabletask.NewOrchestrationInstanceOptions;
import com.microsoft.durabletask.OrchestrationMetadata;
import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import com.microsoft.durabletask.TaskActivity;
import com.microsoft.durabletask.TaskActivityFactory;
import com.microsoft.durabletask.TaskOrchestration;
import com.microsoft.durabletask.TaskOrchestrationFactory;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.junit.jupiter.api.function.Executable;

/**
 * A task hub that one test has for itself, with a client and workers of the unmodified SDK.
 *
 * <p>The hub travels as the call metadata `taskhub`, which an interceptor of the channel adds. It
 * keeps apart the tests that run at the same time against one daemon: without it, any worker may be
 * given any orchestration. The daemon creates a hub when it is first named.
 */
final class Hub implements AutoCloseable {
  /** The bound of every wait; a test that needs so long has failed. */
  static final Duration WAIT_MAX = Duration.ofSeconds(60);

  private static final Duration FETCH_INTERVAL = Duration.ofMillis(20);

  final String name;
  final DurableTaskClient client;
  final EntityClient entities;
  private final DataConverter converter;
  private final ManagedChannel clientChannel;
  private final List<Runnable> stops = new ArrayList<>();

  /**
   * A task hub by name; null is the hub of callers that name none. A null converter is the SDK's.
   */
  Hub(String name, DataConverter converter) {
    this.name = name;
    this.converter = converter;
    clientChannel = channel(name);
    client =
        new DurableTaskGrpcClientBuilder()
            .grpcChannel(clientChannel)
            .dataConverter(converter)
            .build();
    entities = new EntityClient(clientChannel);
  }

  private static ManagedChannel channel(String hub) {
    String address = System.getenv("DTPG_ADDRESS");
    assertTrue(address != null, "DTPG_ADDRESS is not set");
    ManagedChannelBuilder<?> builder = ManagedChannelBuilder.forTarget(address).usePlaintext();
    if (hub != null) {
      Metadata metadata = new Metadata();
      metadata.put(Metadata.Key.of("taskhub", Metadata.ASCII_STRING_MARSHALLER), hub);
      builder.intercept(MetadataUtils.newAttachHeadersInterceptor(metadata));
    }
    return builder.build();
  }

  /** A function under the name that a worker registers it with. */
  interface Registered {
    void register(DurableTaskGrpcWorkerBuilder builder);
  }

  static Registered orchestration(String name, TaskOrchestration orchestration) {
    return builder ->
        builder.addOrchestration(
            new TaskOrchestrationFactory() {
              @Override
              public String getName() {
                return name;
              }

              @Override
              public TaskOrchestration create() {
                return orchestration;
              }
            });
  }

  static Registered activity(String name, TaskActivity activity) {
    return builder ->
        builder.addActivity(
            new TaskActivityFactory() {
              @Override
              public String getName() {
                return name;
              }

              @Override
              public TaskActivity create() {
                return activity;
              }
            });
  }

  /** A started worker. Closing its connection is what stops it. */
  record Worker(DurableTaskGrpcWorker worker, ManagedChannel channel) implements AutoCloseable {
    @Override
    public void close() {
      worker.close();
      channel.shutdownNow();
    }
  }

  /** Starts a worker with these functions; close() stops it. */
  Worker worker(Registered... functions) {
    ManagedChannel channel = channel(name);
    DurableTaskGrpcWorkerBuilder builder =
        new DurableTaskGrpcWorkerBuilder().grpcChannel(channel).dataConverter(converter);
    for (Registered function : functions) {
      function.register(builder);
    }
    Worker worker = new Worker(builder.build(), channel);
    worker.worker().start();
    stops.add(worker::close);
    return worker;
  }

  /** Starts a worker for the entities with these names; close() stops it. */
  EntityWorker entityWorker(Map<String, EntityWorker.Entity> named) {
    EntityWorker worker = EntityWorker.start(channel(name), named);
    stops.add(worker::close);
    return worker;
  }

  /** Starts a worker that takes the work of all entities and has none. */
  EntityWorker workerWithoutEntities() {
    EntityWorker worker = EntityWorker.startForAll(channel(name), Map.of());
    stops.add(worker::close);
    return worker;
  }

  String start(String orchestration) {
    return client.scheduleNewOrchestrationInstance(orchestration);
  }

  String start(String orchestration, Object input) {
    return client.scheduleNewOrchestrationInstance(orchestration, input);
  }

  String start(String orchestration, NewOrchestrationInstanceOptions options) {
    return client.scheduleNewOrchestrationInstance(orchestration, options);
  }

  /** The state of the instance once it has ended. */
  OrchestrationMetadata await(String instanceId) throws TimeoutException {
    return client.waitForInstanceCompletion(instanceId, WAIT_MAX, true);
  }

  void awaitStart(String instanceId) throws TimeoutException {
    client.waitForInstanceStart(instanceId, WAIT_MAX);
  }

  /** What the orchestration returned; fails if it does not complete. */
  <T> T output(String instanceId, Class<T> type) throws TimeoutException {
    OrchestrationMetadata state = await(instanceId);
    assertEquals(OrchestrationRuntimeStatus.COMPLETED, state.getRuntimeStatus(), state.toString());
    return state.readOutputAs(type);
  }

  OrchestrationMetadata state(String instanceId) {
    return client.getInstanceMetadata(instanceId, true);
  }

  /** What is read, once it is as wanted. */
  static <T> T until(Supplier<T> read, Predicate<T> wanted) throws InterruptedException {
    long deadline = System.nanoTime() + WAIT_MAX.toNanos();
    while (true) {
      T found = read.get();
      if (wanted.test(found)) {
        return found;
      }
      assertTrue(System.nanoTime() < deadline, () -> "not as wanted: " + found);
      Thread.sleep(FETCH_INTERVAL.toMillis());
    }
  }

  /** Waits until the state of the instance is as wanted. */
  void until(String instanceId, Predicate<OrchestrationMetadata> wanted)
      throws InterruptedException {
    until(() -> state(instanceId), wanted);
  }

  void until(String instanceId, OrchestrationRuntimeStatus status) throws InterruptedException {
    until(instanceId, state -> state.getRuntimeStatus() == status);
  }

  /**
   * When the instance was created; returns once later instances differ in it. The SDK cuts times to
   * milliseconds.
   */
  Instant createdApart(String instanceId) throws InterruptedException {
    Instant created = state(instanceId).getCreatedAt();
    until(instanceId, state -> Instant.now().isAfter(created.plusMillis(1)));
    return created;
  }

  /** Fails unless the call is refused with this code, and with these words in the message. */
  void refused(Status.Code code, String words, Executable call) {
    StatusRuntimeException refusal = assertThrows(StatusRuntimeException.class, call);
    assertEquals(code, refusal.getStatus().getCode());
    assertTrue(refusal.getMessage().contains(words), refusal.getMessage());
  }

  @Override
  public void close() {
    try {
      stops.forEach(Runnable::run);
    } finally {
      client.close();
      clientChannel.shutdownNow();
    }
  }
}
