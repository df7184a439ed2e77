package sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static sdk.Entities.ALL;
import static sdk.Entities.COUNTER;
import static sdk.Entities.DIARY;
import static sdk.Entities.GATE;
import static sdk.Entities.OTHER;
import static sdk.Entities.ask;
import static sdk.Entities.call;
import static sdk.Entities.tryCall;
import static sdk.Hub.orchestration;

import com.microsoft.durabletask.OrchestrationMetadata;
import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import io.grpc.Status;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import sdk.Entities.Gate;
import wire.EntityQuery;

/**
 * Entities: signals and calls, their results and failures, state, and what entities do themselves.
 *
 * <p>The orchestrations are those of the SDK, which has no entities: they speak the older dialect
 * of the protocol by {@link EntityCalls}. The entities are those of {@link EntityWorker}.
 */
class EntitiesTest extends HubTest {
  /** Keeps what the SDK's worker logs of items that it does not know. */
  private static final class UnknownItems extends Handler implements AutoCloseable {
    final List<String> seen = new CopyOnWriteArrayList<>();
    private final Logger logger = Logger.getLogger("com.microsoft.durabletask");

    UnknownItems() {
      logger.addHandler(this);
    }

    @Override
    public void publish(LogRecord record) {
      if (record.getMessage().contains("unknown")) {
        seen.add(record.getMessage());
      }
    }

    @Override
    public void flush() {}

    @Override
    public void close() {
      logger.removeHandler(this);
    }
  }

  private static Map<String, Object> add(int amount) {
    return EntityCalls.signalJson(UUID.randomUUID().toString(), "add", amount);
  }

  /** entity_not_to_java: signals wait for a worker that has entities, and this one goes on. */
  @Test
  void signalsAreNotForThisWorker() throws Exception {
    try (UnknownItems unknown = new UnknownItems()) {
      hub.worker(
          orchestration("echo", HubTest::echo),
          orchestration(
              "sender",
              ctx -> {
                ctx.sendEvent(COUNTER, "op", add(1));
                ctx.complete("sent");
              }));
      hub.client.raiseEvent(COUNTER, "op", add(1));
      assertEquals("sent", hub.output(hub.start("sender"), String.class));
      assertEquals("served", hub.output(hub.start("echo", "served"), String.class));
      assertEquals(List.of(), unknown.seen);
    }
    hub.entityWorker(ALL);
    hub.entities.until(COUNTER, 2);
  }

  /** All of them come, in the order in which they were sent, with and without a worker. */
  @Test
  void signalsOfAClient() throws Exception {
    for (int n = 0; n < 50; n++) {
      hub.entities.signal(DIARY, "write", n);
    }
    hub.entityWorker(ALL);
    for (int n = 50; n < 100; n++) {
      hub.entities.signal(DIARY, "write", n);
    }
    hub.entities.until(DIARY, numbers(0, 100));
  }

  /** signal_dedupe: of two signals with one id, the second does nothing while the first waits. */
  @Test
  void signalSentTwice() throws Exception {
    String id = UUID.randomUUID().toString();
    for (int n = 0; n < 3; n++) {
      hub.entities.signal(id, COUNTER, "add", 1);
    }
    hub.entities.signal(COUNTER, "add", 10);
    hub.entityWorker(ALL);
    hub.worker(call());
    assertEquals(11, hub.output(hub.start("call", ask(COUNTER, "get", null)), Integer.class));
  }

  /** json_from_client: an event that this SDK's client raises at an entity is a signal. */
  @Test
  void signalsOfThisClient() throws Exception {
    hub.entityWorker(ALL);
    for (int n = 0; n < 10; n++) {
      hub.client.raiseEvent(COUNTER, "op", add(n));
    }
    hub.entities.until(COUNTER, 45);
  }

  /** call_success: a call gets the result of its operation, whatever that is. */
  @Test
  void calls() throws Exception {
    hub.entityWorker(
        Map.of(
            "mirror",
            operation ->
                operation.name.equals("show")
                    ? operation.entity + " " + operation.input(Integer.class)
                    : operation.input(Object.class)));
    hub.worker(
        orchestration(
            "calls",
            ctx -> {
              EntityCalls calls = new EntityCalls(ctx);
              List<Object> results = new ArrayList<>();
              for (Object value : ctx.getInput(Object[].class)) {
                results.add(calls.result("@Mirror@k", "echo", value, Object.class));
              }
              results.add(calls.result("@MIRROR@Ключ 🔑", "show", 7, String.class));
              ctx.complete(results);
            }));
    List<Object> values =
        new ArrayList<>(
            Arrays.asList(
                null, "", 0, false, List.of(), Map.of("größe", "🔑"), "x".repeat(100_000)));
    List<?> results = hub.output(hub.start("calls", values), List.class);
    values.add("@mirror@Ключ 🔑 7");
    assertEquals(values, results);
  }

  /** 50 calls to one entity and 50 to others, all at once: each has its own result. */
  @Test
  void callsSideBySide() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "many",
            ctx -> {
              EntityCalls calls = new EntityCalls(ctx);
              List<EntityCalls.Call<Integer>> asked = new ArrayList<>();
              for (int n = 0; n < 50; n++) {
                asked.add(calls.call(COUNTER, "add", 1, Integer.class));
                asked.add(calls.call("@counter@" + n, "add", n, Integer.class));
              }
              ctx.complete(asked.stream().map(EntityCalls.Call::await).toList());
            }));
    List<Integer> expected = new ArrayList<>();
    for (int n = 0; n < 50; n++) {
      expected.addAll(List.of(n + 1, n));
    }
    assertEquals(expected, hub.output(hub.start("many"), List.class));
    assertEquals(50, hub.entities.state(COUNTER, Integer.class));
  }

  /** No operation is lost or done twice, and no two callers see the same count. */
  @Test
  void callsOfManyOrchestrations() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(call());
    List<String> ids = new ArrayList<>();
    for (int n = 0; n < 60; n++) {
      ids.add(hub.start("call", ask(COUNTER, "add", 1)));
    }
    List<Integer> counts = new ArrayList<>();
    for (String id : ids) {
      counts.add(hub.output(id, Integer.class));
    }
    assertEquals(numbers(1, 61), counts.stream().sorted().toList());
  }

  /** mixed_dialects: the events of orchestrations and the native signals of a client meet. */
  @Test
  void bothDialectsAtOnce() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "adder",
            ctx -> {
              EntityCalls calls = new EntityCalls(ctx);
              for (int n = 0; n < 10; n++) {
                calls.signal(COUNTER, "add", 1);
                calls.result(COUNTER, "add", 100, Integer.class);
              }
              ctx.complete(null);
            }));
    List<String> ids = List.of(hub.start("adder"), hub.start("adder"), hub.start("adder"));
    for (int n = 0; n < 30; n++) {
      hub.entities.signal(COUNTER, "add", 10_000);
    }
    for (String id : ids) {
      hub.output(id, Object.class);
    }
    hub.entities.until(COUNTER, 303_030);
  }

  /** call_failure: the caller gets the failure; the state is what it was before. */
  @Test
  void failedOperation() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(call(), tryCall());
    hub.entities.signal(COUNTER, "set", 5);
    assertEquals(
        List.of("java.lang.IllegalArgumentException", "failed with 7"),
        hub.output(hub.start("tryCall", ask(COUNTER, "fail", 7)), List.class));
    assertEquals(
        List.of("java.lang.UnsupportedOperationException", "no operation fly"),
        hub.output(hub.start("tryCall", ask(COUNTER, "fly", null)), List.class));
    assertEquals(5, hub.output(hub.start("call", ask(COUNTER, "get", null)), Integer.class));
  }

  /** The orchestration fails with it; a failed signal fails nobody. */
  @Test
  void failedOperationThatNobodyCatches() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(call());
    hub.entities.signal(COUNTER, "fail", 1);
    OrchestrationMetadata state = hub.await(hub.start("call", ask(COUNTER, "fail", 2)));
    assertEquals(OrchestrationRuntimeStatus.FAILED, state.getRuntimeStatus());
    assertEquals("failed with 2", state.getFailureDetails().getErrorMessage());
    assertEquals(3, hub.output(hub.start("call", ask(COUNTER, "add", 3)), Integer.class));
  }

  /** Its signals and the orchestration that it wanted to start do not happen. */
  @Test
  void failedOperationDoesNothing() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(call(), orchestration("echo", HubTest::echo));
    hub.entities.signal(COUNTER, "fail", 1);
    assertEquals(2, hub.output(hub.start("call", ask(COUNTER, "add", 2)), Integer.class));
    // What it would have sent would have come before this.
    assertEquals(3, hub.output(hub.start("call", ask(OTHER, "add", 3)), Integer.class));
    assertFalse(hub.state("failed").isInstanceFound());
  }

  /**
   * batch_failure: a worker that lacks the entity fails its batch as a whole, and what is in it
   * waits for one that has the entity.
   */
  @Test
  void unregisteredEntity() throws Exception {
    hub.worker(call());
    hub.entities.signal(COUNTER, "set", 12);
    try (EntityWorker first = hub.entityWorker(ALL)) {
      hub.entities.until(COUNTER, 12);
    }
    String id;
    try (EntityWorker second = hub.workerWithoutEntities()) {
      id = hub.start("call", ask(COUNTER, "add", 1));
      second.awaitAnswer();
    }
    hub.entityWorker(ALL);
    assertEquals(13, hub.output(id, Integer.class));
  }

  /** signal_order: a hundred signals and a call come in this order. */
  @Test
  void signalsOfAnOrchestration() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "signals",
            ctx -> {
              EntityCalls calls = new EntityCalls(ctx);
              for (int n = 0; n < 100; n++) {
                calls.signal(DIARY, "write", n);
              }
              ctx.complete(calls.result(DIARY, "read", null, List.class));
            }));
    assertEquals(numbers(0, 100), hub.output(hub.start("signals"), List.class));
  }

  /** An entity signals another one and itself, in order. */
  @Test
  void signalsOfEntities() throws Exception {
    hub.entities.signal("@relay@of a test", "again", 20);
    hub.entityWorker(ALL);
    List<Integer> countdown = new ArrayList<>(numbers(0, 21));
    Collections.reverse(countdown);
    hub.entities.until(DIARY, countdown);
  }

  /**
   * delayed_signal: of a client, an orchestration and an entity; each once, at its time and not
   * before, and what is sent meanwhile does not wait for it.
   */
  @Test
  void delayedSignals() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "delayed",
            ctx -> {
              Instant due = ctx.getCurrentInstant().plusSeconds(2);
              new EntityCalls(ctx).signalAt(due, DIARY, "writeIfDue", due.toString());
              ctx.complete(null);
            }));
    Instant due = Instant.now().plusSeconds(2);
    hub.entities.signalAt(due, DIARY, "writeIfDue", due.toString());
    hub.entities.signal("@delayer@of a test", "delay", due.toString());
    hub.entities.signal(DIARY, "write", "at once");
    hub.start("delayed");
    hub.entities.until(DIARY, List.of("at once", "due", "due", "due"));
  }

  /** It comes at once. */
  @Test
  void signalForThePast() throws Exception {
    hub.entityWorker(ALL);
    hub.entities.signalAt(Instant.now().minusSeconds(3600), COUNTER, "add", 1);
    hub.entities.until(COUNTER, 1);
  }

  /**
   * entity_starts_orchestration: a new id, one that ended and is replaced, one that lives and
   * stays.
   */
  @Test
  void entityStartsOrchestrations() throws Exception {
    String launcher = "@launcher@of a test";
    hub.entityWorker(ALL);
    hub.worker(
        orchestration("waiting", HubTest::waiting), orchestration("echo", HubTest::echo));
    hub.start("echo", id("ended").setInput("first"));
    hub.output("ended", String.class);
    hub.start("waiting", id("live").setInput("by the client"));
    hub.until("live", OrchestrationRuntimeStatus.RUNNING);
    List<String> ids = List.of("ended", "live", "new");
    for (String id : ids) {
      hub.entities.signal(launcher, "launch", id);
    }
    hub.entities.until(launcher, ids.size());
    for (String id : ids) {
      hub.until(id, OrchestrationRuntimeStatus.RUNNING);
      hub.client.raiseEvent(id, "finish", "end of " + id);
      assertEquals("end of " + id, hub.output(id, String.class));
      String starter = hub.state(id).readInputAs(String.class);
      assertEquals(id.equals("live") ? "by the client" : "launched", starter);
    }
  }

  /** state_unset_deletes: an entity without state is not there; the next operation makes it. */
  @Test
  void deletionAndReCreation() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        call(),
        orchestration(
            "lifecycle",
            ctx -> {
              EntityCalls calls = new EntityCalls(ctx);
              calls.result(COUNTER, "set", 9, Integer.class);
              calls.result(COUNTER, "delete", null, Integer.class);
              ctx.complete(calls.result(COUNTER, "add", 1, Integer.class));
            }));
    assertEquals(1, hub.output(hub.start("lifecycle"), Integer.class));
    hub.entities.signal(COUNTER, "delete", null);
    hub.entities.until(COUNTER, null);
    assertEquals(List.of(), hub.entities.ids(EntityQuery.newBuilder()));
    assertEquals(4, hub.output(hub.start("call", ask(COUNTER, "add", 4)), Integer.class));
    assertEquals(4, hub.entities.state(COUNTER, Integer.class));
  }

  @Test
  void entityThatNeverWas() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(call());
    assertNull(hub.entities.get(COUNTER));
    assertEquals(0, hub.output(hub.start("call", ask(COUNTER, "get", null)), Integer.class));
    assertNull(hub.entities.get(COUNTER));
  }

  /** An entity is purged by its id. */
  @Test
  void purge() throws Exception {
    hub.entityWorker(ALL);
    hub.entities.signal(COUNTER, "add", 1);
    hub.entities.until(COUNTER, 1);
    assertEquals(1, hub.client.purgeInstance(COUNTER).getDeletedInstanceCount());
    assertNull(hub.entities.get(COUNTER));
    hub.entities.signal(COUNTER, "add", 2);
    hub.entities.until(COUNTER, 2);
  }

  /** A state of a megabyte, read by the client and by an orchestration. */
  @Test
  void largeState() throws Exception {
    String text = "größe".repeat(160_000);
    hub.entityWorker(ALL);
    hub.worker(call());
    hub.entities.signal(DIARY, "write", text);
    hub.entities.signal(DIARY, "write", "small");
    List<String> entries = List.of(text, "small");
    assertEquals(entries, hub.output(hub.start("call", ask(DIARY, "read", null)), List.class));
    assertEquals(entries, hub.entities.state(DIARY, List.class));
  }

  /** Each generation calls and signals; results come to the generation that asked. */
  @Test
  void callsOverContinueAsNew() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "loop",
            ctx -> {
              EntityCalls calls = new EntityCalls(ctx);
              calls.signal(COUNTER, "add", 10);
              int count = calls.result(COUNTER, "add", 1, Integer.class);
              int left = ctx.getInput(Integer.class);
              if (left > 0) {
                ctx.continueAsNew(left - 1, false);
              }
              ctx.complete(count);
            }));
    assertEquals(220, hub.output(hub.start("loop", 19), Integer.class));
  }

  /** It waits until the orchestration is resumed. */
  @Test
  void resultForASuspendedOrchestration() throws Exception {
    Gate gate = new Gate();
    hub.entityWorker(Map.of("gate", gate));
    hub.worker(call());
    String id = hub.start("call", ask(GATE, "pass", "through"));
    gate.awaitReached();
    hub.client.suspendInstance(id);
    hub.until(id, OrchestrationRuntimeStatus.SUSPENDED);
    gate.open();
    hub.entities.until(GATE, List.of("through"));
    assertEquals(OrchestrationRuntimeStatus.SUSPENDED, hub.state(id).getRuntimeStatus());
    hub.client.resumeInstance(id);
    assertEquals("through", hub.output(id, String.class));
  }

  /** What comes while an operation runs waits for it, also with a second worker. */
  @Test
  void oneBatchAtATime() throws Exception {
    Gate gate = new Gate();
    for (int n = 0; n < 2; n++) {
      hub.entityWorker(Map.of("gate", gate));
    }
    hub.entities.signal(GATE, "pass", 0);
    gate.awaitReached();
    for (int n = 1; n < 10; n++) {
      hub.entities.signal(GATE, "note", n);
    }
    assertNull(hub.entities.get(GATE));
    gate.open();
    hub.entities.until(GATE, numbers(0, 10));
  }

  /**
   * stream_drop: a batch whose worker loses its stream in the middle is done by another one, once,
   * and the answer that the first one still gives changes nothing.
   */
  @Test
  void brokenStream() throws Exception {
    Gate gate = new Gate();
    hub.worker(call());
    hub.entities.signal(GATE, "note", "before");
    hub.entities.signal(GATE, "pass", "through");
    String id = hub.start("call", ask(GATE, "note", "after"));
    List<String> entries = List.of("before", "through", "after");
    try (EntityWorker first = hub.entityWorker(Map.of("gate", gate))) {
      gate.awaitReached();
      first.drop();
      hub.entityWorker(Map.of("gate", Entities::note));
      assertEquals("after", hub.output(id, String.class));
      hub.entities.until(GATE, entries);
      gate.open();
    }
    hub.entities.signal(GATE, "note", "last");
    hub.entities.until(GATE, List.of("before", "through", "after", "last"));
  }

  /** Workers get the entities that they name, and each finds its work. */
  @Test
  void filters() throws Exception {
    hub.worker(orchestration("echo", HubTest::echo), call());
    hub.entityWorker(Map.of("diary", Entities::diary));
    hub.entities.signal(COUNTER, "add", 3);
    hub.entities.signal(DIARY, "write", "here");
    hub.entities.until(DIARY, List.of("here"));
    assertEquals("busy", hub.output(hub.start("echo", "busy"), String.class));
    assertNull(hub.entities.get(COUNTER));
    hub.entityWorker(Map.of("counter", Entities::counter));
    hub.entities.until(COUNTER, 3);
    assertEquals(4, hub.output(hub.start("call", ask(COUNTER, "add", 1)), Integer.class));
  }

  /** entity_id_length: 100 characters are fine, and one more is refused. */
  @Test
  void idThatIsTooLong() throws Exception {
    hub.entityWorker(ALL);
    String longest = "@counter@" + "k".repeat(100 - "@counter@".length());
    hub.entities.signal(longest, "add", 1);
    hub.entities.until(longest, 1);
    hub.refused(
        Status.Code.INVALID_ARGUMENT,
        "length",
        () -> hub.entities.signal(longest + "k", "add", 1));
  }

  private static List<Integer> numbers(int begin, int end) {
    return IntStream.range(begin, end).boxed().toList();
  }
}
