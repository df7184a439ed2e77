package sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static sdk.Hub.orchestration;

import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;

/**
 * Entities beside this SDK, which has none: its client and orchestrations can send to them only what
 * the older dialect of the protocol sends as events.
 */
class EntitiesTest extends HubTest {
  private static final String COUNTER = "@counter@one";

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
    return Map.of(
        "op", "add", "signal", true, "input", "" + amount, "id", UUID.randomUUID().toString());
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
  }
}
