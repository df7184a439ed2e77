package sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.StringValue;
import com.microsoft.durabletask.DataConverter;
import com.microsoft.durabletask.JacksonDataConverter;
import io.grpc.ManagedChannel;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import wire.EntityBatchResult;
import wire.EntityFilter;
import wire.EntityOperationCalledEvent;
import wire.EntityOperationSignaledEvent;
import wire.EntityRequest;
import wire.GetWorkItemsRequest;
import wire.HistoryEvent;
import wire.OperationAction;
import wire.OperationResult;
import wire.OrchestrationFilter;
import wire.SendSignalAction;
import wire.TaskFailureDetails;
import wire.TaskHubSidecarServiceGrpc;
import wire.TaskHubSidecarServiceGrpc.TaskHubSidecarServiceBlockingStub;
import wire.WorkItem;
import wire.WorkItemFilters;

/**
 * A worker that runs entities and nothing else, and that speaks the protocol itself, because this
 * SDK has none. The batches of different entities run at the same time.
 */
final class EntityWorker implements AutoCloseable {
  private static final DataConverter JSON = new JacksonDataConverter();
  private static final int BATCHES_MAX = 20; // A worker of gRPC Java that says 0 gets no entity.

  /** What went wrong between this worker and the server; close() fails if there is anything. */
  private final List<Throwable> faults = new CopyOnWriteArrayList<>();

  private final Map<String, Entity> entities;
  private final ManagedChannel channel;
  private final TaskHubSidecarServiceBlockingStub server;
  private final ExecutorService batches = Executors.newCachedThreadPool();
  private final CountDownLatch answered = new CountDownLatch(1);
  private final WorkItems stream = new WorkItems();

  /** Runs an operation and returns its result; an exception is the operation's failure. */
  interface Entity {
    Object run(Operation operation) throws Exception;
  }

  /** Starts a worker for the entities with these names. It owns the channel. */
  static EntityWorker start(ManagedChannel channel, Map<String, Entity> entities) {
    WorkItemFilters.Builder filters = WorkItemFilters.newBuilder();
    entities.keySet().forEach(name -> filters.addEntities(EntityFilter.newBuilder().setName(name)));
    return new EntityWorker(channel, entities, filters);
  }

  /**
   * Starts a worker for all entities, those that it does not have, too. It says so as workers of
   * this SDK's language do: with filters that name none.
   */
  static EntityWorker startForAll(ManagedChannel channel, Map<String, Entity> entities) {
    return new EntityWorker(
        channel,
        entities,
        WorkItemFilters.newBuilder()
            .addOrchestrations(OrchestrationFilter.newBuilder().setName("none of this name")));
  }

  private EntityWorker(
      ManagedChannel channel, Map<String, Entity> entities, WorkItemFilters.Builder filters) {
    this.channel = channel;
    this.entities = entities;
    server = TaskHubSidecarServiceGrpc.newBlockingStub(channel);
    TaskHubSidecarServiceGrpc.newStub(channel)
        .getWorkItems(
            GetWorkItemsRequest.newBuilder()
                .setMaxConcurrentEntityWorkItems(BATCHES_MAX)
                .setWorkItemFilters(filters)
                .build(),
            stream);
  }

  /** The stream of work. */
  private final class WorkItems implements ClientResponseObserver<GetWorkItemsRequest, WorkItem> {
    private volatile ClientCallStreamObserver<GetWorkItemsRequest> call;
    private volatile boolean dropped;

    @Override
    public void beforeStart(ClientCallStreamObserver<GetWorkItemsRequest> call) {
      this.call = call;
    }

    @Override
    public void onNext(WorkItem item) {
      if (item.hasEntityRequestV2()) {
        batches.execute(() -> answer(item));
      } else if (!item.hasHealthPing()) {
        faults.add(new AssertionError("no work for a worker of entities: " + item));
      }
    }

    @Override
    public void onError(Throwable fault) {
      if (!dropped) {
        faults.add(fault);
      }
    }

    @Override
    public void onCompleted() {
      faults.add(new AssertionError("the stream of work has ended without an error"));
    }

    void drop() {
      dropped = true;
      call.cancel("dropped by the test", null);
    }
  }

  private void answer(WorkItem item) {
    try {
      EntityBatchResult.Builder result = run(item.getEntityRequestV2());
      server.completeEntityTask(result.setCompletionToken(item.getCompletionToken()).build());
      answered.countDown();
    } catch (Throwable fault) {
      faults.add(fault);
    }
  }

  /**
   * Runs the operations in order. What one does to the state and to others counts once it has not
   * failed. Who lacks the entity fails the batch as a whole, as the Java SDK is going to.
   */
  private EntityBatchResult.Builder run(EntityRequest batch) {
    EntityBatchResult.Builder result = EntityBatchResult.newBuilder();
    String id = batch.getInstanceId();
    Entity entity = entities.get(id.substring(1, id.indexOf('@', 1)));
    if (entity == null) {
      return result.setFailureDetails(failure("EntityTaskNotFound", "there is no entity " + id));
    }
    String state = batch.hasEntityState() ? batch.getEntityState().getValue() : null;
    for (HistoryEvent event : batch.getOperationRequestsList()) {
      Operation operation = new Operation(id, event, state);
      OperationResult.Builder outcome = result.addResultsBuilder();
      try {
        Object value = entity.run(operation);
        outcome.getSuccessBuilder();
        if (value != null) {
          outcome.getSuccessBuilder().setResult(StringValue.of(JSON.serialize(value)));
        }
        state = operation.state;
        for (OperationAction.Builder action : operation.actions) {
          result.addActions(action.setId(result.getActionsCount()));
        }
      } catch (Exception fault) {
        outcome
            .getFailureBuilder()
            .setFailureDetails(failure(fault.getClass().getName(), fault.getMessage()));
      }
    }
    if (state != null) {
      result.setEntityState(StringValue.of(state));
    }
    return result;
  }

  private static TaskFailureDetails.Builder failure(String type, String message) {
    return TaskFailureDetails.newBuilder().setErrorType(type).setErrorMessage(message);
  }

  /** Waits until the worker has answered a batch. */
  void awaitAnswer() throws InterruptedException {
    assertTrue(answered.await(Hub.WAIT_MAX.toSeconds(), TimeUnit.SECONDS), "nothing came");
  }

  /** Breaks the stream of work. What the worker has in hand it still answers. */
  void drop() {
    stream.drop();
  }

  /** Stops the worker once it has answered what it has in hand. */
  @Override
  public void close() {
    try {
      drop();
      batches.shutdown();
      assertTrue(batches.awaitTermination(Hub.WAIT_MAX.toSeconds(), TimeUnit.SECONDS));
      assertEquals(List.of(), faults);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    } finally {
      channel.shutdownNow();
    }
  }

  /** An operation under way: what it is given, and what it does. */
  static final class Operation {
    final String entity;
    final String name;
    private final String input;
    private String state;
    private final List<OperationAction.Builder> actions = new ArrayList<>();

    private Operation(String entity, HistoryEvent event, String state) {
      this.entity = entity;
      this.state = state;
      if (event.hasEntityOperationCalled()) {
        EntityOperationCalledEvent call = event.getEntityOperationCalled();
        name = call.getOperation();
        input = call.hasInput() ? call.getInput().getValue() : null;
      } else {
        EntityOperationSignaledEvent signal = event.getEntityOperationSignaled();
        name = signal.getOperation();
        input = signal.hasInput() ? signal.getInput().getValue() : null;
      }
    }

    <T> T input(Class<T> type) {
      return JSON.deserialize(input, type);
    }

    /** The state; what there is instead while there is none. */
    <T> T state(Class<T> type, T none) {
      return state == null ? none : JSON.deserialize(state, type);
    }

    /** Keeps a new state and returns it; null deletes the entity. */
    <T> T keep(T value) {
      state = value == null ? null : JSON.serialize(value);
      return value;
    }

    void signal(String target, String operation, Object value) {
      SendSignalAction.Builder signal =
          add().getSendSignalBuilder().setInstanceId(target).setName(operation);
      if (value != null) {
        signal.setInput(StringValue.of(JSON.serialize(value)));
      }
    }

    void signalAt(Instant due, String target, String operation, Object value) {
      signal(target, operation, value);
      actions
          .get(actions.size() - 1)
          .getSendSignalBuilder()
          .setScheduledTime(DataConverter.getTimestampFromInstant(due));
    }

    /** Starts an orchestration; with the id "" the server gives it one. */
    void start(String orchestration, String instanceId, Object value) {
      add()
          .getStartNewOrchestrationBuilder()
          .setName(orchestration)
          .setInstanceId(instanceId)
          .setInput(StringValue.of(JSON.serialize(value)));
    }

    private OperationAction.Builder add() {
      actions.add(OperationAction.newBuilder());
      return actions.get(actions.size() - 1);
    }
  }
}
