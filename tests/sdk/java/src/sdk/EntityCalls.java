package sdk;

import com.microsoft.durabletask.DataConverter;
import com.microsoft.durabletask.JacksonDataConverter;
import com.microsoft.durabletask.Task;
import com.microsoft.durabletask.TaskOrchestrationContext;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Entities for an orchestration of this SDK, which has none, in the older dialect of the protocol:
 * requests are events with JSON inside that are sent to `@name@key`, and an answer is an event that
 * is named like the id of its request. See server/RULES.md, section 7.
 */
final class EntityCalls {
  private static final DataConverter JSON = new JacksonDataConverter();

  private final TaskOrchestrationContext ctx;

  EntityCalls(TaskOrchestrationContext ctx) {
    this.ctx = ctx;
  }

  /** Asks for an operation and for no answer. */
  void signal(String entity, String operation, Object input) {
    ctx.sendEvent(entity, "op", signalJson(ctx.newUUID().toString(), operation, input));
  }

  /** The same, for a later time. */
  void signalAt(Instant due, String entity, String operation, Object input) {
    Map<String, Object> request = signalJson(ctx.newUUID().toString(), operation, input);
    request.put("due", due.toString());
    ctx.sendEvent(entity, "op@" + due, request);
  }

  /** Asks for an operation; await() of what is returned has its result. */
  <T> Call<T> call(String entity, String operation, Object input, Class<T> type) {
    Map<String, Object> request = operationJson(ctx.newUUID().toString(), operation, input);
    request.put("parent", ctx.getInstanceId());
    return new Call<>(ask(entity, request), type);
  }

  /** The result of a call that is awaited at once. */
  <T> T result(String entity, String operation, Object input, Class<T> type) {
    return call(entity, operation, input, type).await();
  }

  /** Waits until all these entities are for this orchestration alone. */
  Lock lock(String... entities) {
    String id = ctx.newUUID().toString();
    Map<String, Object> request = new LinkedHashMap<>();
    request.put("op", null);
    request.put("id", id);
    request.put("parent", ctx.getInstanceId());
    request.put("lockset", Stream.of(entities).map(EntityCalls::nameAndKey).toList());
    request.put("IsLockRequest", true);
    ask(entities[0], request).await(); // One request, to any of them, is for the whole set.
    return () ->
        Stream.of(entities)
            .distinct()
            .forEach(
                entity ->
                    ctx.sendEvent(
                        entity, "release", Map.of("parent", ctx.getInstanceId(), "id", id)));
  }

  /** The JSON of a signal, which a client can send as an event, too. */
  static Map<String, Object> signalJson(String id, String operation, Object input) {
    Map<String, Object> request = operationJson(id, operation, input);
    request.put("signal", true);
    return request;
  }

  private static Map<String, Object> operationJson(String id, String operation, Object input) {
    Map<String, Object> request = new LinkedHashMap<>();
    request.put("op", operation);
    request.put("id", id);
    if (input != null) {
      request.put("input", JSON.serialize(input));
    }
    return request;
  }

  private static Map<String, String> nameAndKey(String entity) {
    int at = entity.indexOf('@', 1);
    return Map.of("name", entity.substring(1, at), "key", entity.substring(at + 1));
  }

  @SuppressWarnings("rawtypes")
  private Task<Map> ask(String entity, Map<String, Object> request) {
    Task<Map> answer = ctx.waitForExternalEvent((String) request.get("id"), Map.class);
    ctx.sendEvent(entity, "op", request);
    return answer;
  }

  /** A call under way. */
  @SuppressWarnings("rawtypes")
  record Call<T>(Task<Map> answer, Class<T> type) {
    T await() {
      Map<?, ?> json = answer.await();
      if (json.get("failureDetails") instanceof Map<?, ?> failure) {
        throw new OperationFailed(failure);
      }
      return JSON.deserialize((String) json.get("result"), type);
    }
  }

  /**
   * Locks that the orchestration holds. It is not AutoCloseable on purpose: the SDK leaves an
   * orchestrator that has to wait by an exception, so that try-with-resources would release at the
   * first await() inside.
   */
  interface Lock {
    void release();
  }

  /** An operation failed; this is what its entity says of it. */
  static final class OperationFailed extends RuntimeException {
    final String type;

    OperationFailed(Map<?, ?> failure) {
      super((String) failure.get("ErrorMessage"));
      type = (String) failure.get("ErrorType");
    }
  }
}
