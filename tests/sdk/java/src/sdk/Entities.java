package sdk;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.durabletask.TaskOrchestrationContext;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import sdk.EntityWorker.Entity;
import sdk.EntityWorker.Operation;

/** Entities that several classes of tests use, and the orchestrations that call one. */
final class Entities {
  static final String COUNTER = "@counter@one";
  static final String OTHER = "@counter@two";
  static final String DIARY = "@diary@of a test";
  static final String GATE = "@gate@of a test";
  static final Map<String, Entity> ALL =
      Map.of(
          "counter", Entities::counter,
          "diary", Entities::diary,
          "relay", Entities::relay,
          "delayer", Entities::delayer,
          "launcher", Entities::launcher);

  // The daemon knows the clock of the database to half a round trip, which a busy machine makes
  // long.
  static final Duration CLOCK = Duration.ofMillis(100);

  private Entities() {}

  /** A number; its operations return what it is then. */
  static Integer counter(Operation operation) {
    int value = operation.state(Integer.class, 0);
    return switch (operation.name) {
      case "get" -> value;
      case "add" -> operation.keep(value + operation.input(Integer.class));
      case "set" -> operation.keep(operation.input(Integer.class));
      case "delete" -> operation.keep(null);
      case "fail" -> {
        // It does what it can do, of which nothing may stay.
        int amount = operation.input(Integer.class);
        operation.keep(value + amount);
        operation.signal(OTHER, "add", amount);
        operation.start("echo", "failed", "of a failed operation");
        throw new IllegalArgumentException("failed with " + amount);
      }
      default -> throw new UnsupportedOperationException("no operation " + operation.name);
    };
  }

  /** A list of what it was told, in order. */
  static Object diary(Operation operation) {
    List<?> entries = operation.state(List.class, List.of());
    return switch (operation.name) {
      case "read" -> entries;
      case "write" -> write(operation, operation.input(Object.class));
      case "writeIfDue" ->
          write(
              operation,
              Instant.now().plus(CLOCK).isBefore(Instant.parse(operation.input(String.class)))
                  ? "early"
                  : "due");
      default -> throw new UnsupportedOperationException("no operation " + operation.name);
    };
  }

  private static Object write(Operation operation, Object entry) {
    List<Object> entries = new ArrayList<>(operation.state(List.class, List.of()));
    entries.add(entry);
    operation.keep(entries);
    return entry;
  }

  /** Tells the diary how many times it will signal itself yet. */
  static Object relay(Operation operation) {
    int left = operation.input(Integer.class);
    operation.signal(DIARY, "write", left);
    if (left > 0) {
      operation.signal(operation.entity, "again", left - 1);
    }
    return null;
  }

  /** Signals the diary at a time. */
  static Object delayer(Operation operation) {
    String due = operation.input(String.class);
    operation.signalAt(Instant.parse(due), DIARY, "writeIfDue", due);
    return null;
  }

  /** Starts the orchestration "waiting" with an id, and counts. */
  static Object launcher(Operation operation) {
    String instanceId = operation.input(String.class);
    operation.start("waiting", instanceId, "launched");
    return operation.keep(operation.state(Integer.class, 0) + 1);
  }

  /** Writes what it is told, whatever the operation. */
  static Object note(Operation operation) {
    return write(operation, operation.input(Object.class));
  }

  /** An entity whose operation "pass" waits until the test opens it. It writes each input. */
  static final class Gate implements Entity {
    private final CountDownLatch reached = new CountDownLatch(1);
    private final CountDownLatch open = new CountDownLatch(1);

    @Override
    public Object run(Operation operation) throws InterruptedException {
      if (operation.name.equals("pass")) {
        reached.countDown();
        await(open);
      }
      return note(operation);
    }

    /** Waits until a worker has an operation that waits. */
    void awaitReached() throws InterruptedException {
      await(reached);
    }

    void open() {
      open.countDown();
    }

    private static void await(CountDownLatch latch) throws InterruptedException {
      assertTrue(latch.await(Hub.WAIT_MAX.toSeconds(), TimeUnit.SECONDS), "nobody came");
    }
  }

  /** The orchestration "call", with the input [entity, operation, input]: what that returns. */
  static Hub.Registered call() {
    return Hub.orchestration("call", ctx -> ctx.complete(resultOf(ctx)));
  }

  /** The orchestration "tryCall": the same, but it returns [type, message] of the failure. */
  static Hub.Registered tryCall() {
    return Hub.orchestration("tryCall", ctx -> ctx.complete(failureOf(ctx)));
  }

  private static Object resultOf(TaskOrchestrationContext ctx) {
    Object[] call = ctx.getInput(Object[].class);
    return new EntityCalls(ctx).result((String) call[0], (String) call[1], call[2], Object.class);
  }

  private static List<String> failureOf(TaskOrchestrationContext ctx) {
    try {
      resultOf(ctx);
      return List.of();
    } catch (EntityCalls.OperationFailed failure) {
      return List.of(failure.type, failure.getMessage());
    }
  }

  /** The input of the two. */
  static Object[] ask(String entity, String operation, Object input) {
    return new Object[] {entity, operation, input};
  }
}
