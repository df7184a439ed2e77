package sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.google.protobuf.StringValue;
import com.microsoft.durabletask.DataConverter;
import com.microsoft.durabletask.JacksonDataConverter;
import io.grpc.Channel;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import wire.CleanEntityStorageRequest;
import wire.CleanEntityStorageResponse;
import wire.EntityMetadata;
import wire.EntityQuery;
import wire.GetEntityRequest;
import wire.GetEntityResponse;
import wire.QueryEntitiesRequest;
import wire.QueryEntitiesResponse;
import wire.SignalEntityRequest;
import wire.TaskHubSidecarServiceGrpc;
import wire.TaskHubSidecarServiceGrpc.TaskHubSidecarServiceBlockingStub;

/** A client's calls about entities, which the client of this SDK lacks, as they are on the wire. */
final class EntityClient {
  private static final DataConverter JSON = new JacksonDataConverter();

  private final TaskHubSidecarServiceBlockingStub stub;

  EntityClient(Channel channel) {
    stub = TaskHubSidecarServiceGrpc.newBlockingStub(channel);
  }

  private TaskHubSidecarServiceBlockingStub server() {
    return stub.withDeadlineAfter(Hub.WAIT_MAX.toSeconds(), TimeUnit.SECONDS);
  }

  void signal(String entity, String operation, Object input) {
    signal(UUID.randomUUID().toString(), entity, operation, input);
  }

  /** A signal with an id that the test has chosen. */
  void signal(String requestId, String entity, String operation, Object input) {
    server().signalEntity(request(requestId, entity, operation, input).build());
  }

  void signalAt(Instant due, String entity, String operation, Object input) {
    server()
        .signalEntity(
            request(UUID.randomUUID().toString(), entity, operation, input)
                .setScheduledTime(DataConverter.getTimestampFromInstant(due))
                .build());
  }

  private static SignalEntityRequest.Builder request(
      String requestId, String entity, String operation, Object input) {
    SignalEntityRequest.Builder request =
        SignalEntityRequest.newBuilder()
            .setInstanceId(entity)
            .setName(operation)
            .setRequestId(requestId);
    return input == null ? request : request.setInput(StringValue.of(JSON.serialize(input)));
  }

  /** The entity; null when there is none. */
  EntityMetadata get(String entity, boolean includeState) {
    GetEntityResponse response =
        server()
            .getEntity(
                GetEntityRequest.newBuilder()
                    .setInstanceId(entity)
                    .setIncludeState(includeState)
                    .build());
    assertEquals(response.getExists(), response.hasEntity());
    return response.getExists() ? response.getEntity() : null;
  }

  EntityMetadata get(String entity) {
    return get(entity, true);
  }

  /** The state of the entity; null when there is none. */
  <T> T state(String entity, Class<T> type) {
    EntityMetadata found = get(entity);
    return found == null ? null : JSON.deserialize(found.getSerializedState().getValue(), type);
  }

  /** Waits until this is the state of the entity; null until there is none. */
  void until(String entity, Object wanted) throws InterruptedException {
    String json = wanted == null ? null : JSON.serialize(wanted);
    Hub.until(
        () -> get(entity),
        found ->
            found == null ? json == null : found.getSerializedState().getValue().equals(json));
  }

  /** The id of the orchestration that has locked the entity; "" when it is free. */
  String lockedBy(String entity) {
    EntityMetadata found = get(entity);
    assertFalse(found == null, entity);
    return found.getLockedBy().getValue();
  }

  QueryEntitiesResponse page(EntityQuery.Builder query) {
    return server().queryEntities(QueryEntitiesRequest.newBuilder().setQuery(query).build());
  }

  /** What a query finds, over all its pages. */
  List<EntityMetadata> query(EntityQuery.Builder query) {
    List<EntityMetadata> found = new ArrayList<>();
    QueryEntitiesResponse page;
    do {
      page = page(query);
      found.addAll(page.getEntitiesList());
      query.setContinuationToken(page.getContinuationToken());
    } while (page.hasContinuationToken());
    return found;
  }

  /** The ids of what a query finds, in order. */
  List<String> ids(EntityQuery.Builder query) {
    return query(query).stream().map(EntityMetadata::getInstanceId).sorted().toList();
  }

  CleanEntityStorageResponse clean() {
    return server()
        .cleanEntityStorage(
            CleanEntityStorageRequest.newBuilder()
                .setRemoveEmptyEntities(true)
                .setReleaseOrphanedLocks(true)
                .build());
  }
}
