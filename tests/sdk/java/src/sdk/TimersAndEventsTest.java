package sdk;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static sdk.Hub.activity;
import static sdk.Hub.orchestration;

import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import com.microsoft.durabletask.Task;
import com.microsoft.durabletask.TaskOrchestrationContext;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Durable timers, external events, and continue-as-new. */
class TimersAndEventsTest extends HubTest {
  /** A timer fires at its time, not before, for the orchestrator's clock as for everybody's. */
  @Test
  void durableTimer() throws Exception {
    Duration second = Duration.ofSeconds(1);
    hub.worker(
        orchestration(
            "sleeper",
            ctx -> {
              Instant due = ctx.getCurrentInstant().plus(second);
              ctx.createTimer(second).await();
              ctx.complete(!ctx.getCurrentInstant().isBefore(due));
            }));
    long begin = System.nanoTime();
    assertTrue(hub.output(hub.start("sleeper"), Boolean.class));
    assertTrue(System.nanoTime() - begin >= second.toNanos());
  }

  /**
   * A timer takes one turn, although the SDK cuts its clock to milliseconds and makes a
   * second timer unless that is later than the due time.
   */
  @Test
  void turnsOfTimers() throws Exception {
    int timers = 10;
    AtomicInteger turns = new AtomicInteger();
    hub.worker(
        orchestration(
            "sleeper",
            ctx -> {
              turns.incrementAndGet();
              for (int n = 0; n < timers; n++) {
                ctx.createTimer(Duration.ofNanos(100_000_000 + 123_456 * n)).await();
              }
              ctx.complete("slept");
            }));
    assertEquals("slept", hub.output(hub.start("sleeper"), String.class));
    assertEquals(1 + timers, turns.get());
  }

  private static Hub.Registered listener() {
    return orchestration(
        "listener",
        ctx -> {
          List<Integer> heard = new ArrayList<>();
          for (int count = ctx.getInput(Integer.class); heard.size() < count; ) {
            heard.add(ctx.waitForExternalEvent("note", Integer.class).await());
          }
          ctx.complete(heard);
        });
  }

  /** Events raised before any worker has seen the instance are kept, in order. */
  @Test
  void eventRaisedBeforeTheStart() throws Exception {
    String id = hub.start("listener", 10);
    for (int n = 0; n < 10; n++) {
      hub.client.raiseEvent(id, "note", n);
    }
    hub.worker(listener());
    assertArrayEquals(IntStream.range(0, 10).toArray(), hub.output(id, int[].class));
  }

  /** A waiting orchestration goes on when its event comes; other events do not wake it. */
  @Test
  void eventRaisedAfterTheStart() throws Exception {
    hub.worker(listener());
    String id = hub.start("listener", 1);
    hub.until(id, OrchestrationRuntimeStatus.RUNNING);
    hub.client.raiseEvent(id, "other", 1);
    hub.client.raiseEvent(id, "note", 2);
    assertArrayEquals(new int[] {2}, hub.output(id, int[].class));
  }

  /** An orchestration's event reaches another one; one for nobody is no error. */
  @Test
  void eventSentByAnOrchestration() throws Exception {
    hub.worker(
        listener(),
        orchestration(
            "sender",
            ctx -> {
              ctx.sendEvent("nobody", "note", 1);
              ctx.sendEvent(ctx.getInput(String.class), "note", 2);
              ctx.complete("sent");
            }));
    String listening = hub.start("listener", 1);
    assertEquals("sent", hub.output(hub.start("sender", listening), String.class));
    assertArrayEquals(new int[] {2}, hub.output(listening, int[].class));
  }

  /** Which came first, the event or the timer. */
  private static void approval(TaskOrchestrationContext ctx) {
    Task<String> approved = ctx.waitForExternalEvent("approved", String.class);
    Task<Void> timeout = ctx.createTimer(Duration.ofMillis(ctx.getInput(Integer.class)));
    Task<?> first = ctx.anyOf(approved, timeout).await();
    ctx.complete(first == approved ? approved.await() : "too late");
  }

  /** The event wins against a timer of an hour, which does not hold up the end. */
  @Test
  void whenAnyTakesTheEvent() throws Exception {
    hub.worker(orchestration("approval", TimersAndEventsTest::approval));
    String id = hub.start("approval", 3600_000);
    hub.client.raiseEvent(id, "approved", "by Ada");
    assertEquals("by Ada", hub.output(id, String.class));
  }

  /** Without an event the timer wins. */
  @Test
  void whenAnyTakesTheTimer() throws Exception {
    hub.worker(orchestration("approval", TimersAndEventsTest::approval));
    assertEquals("too late", hub.output(hub.start("approval", 200), String.class));
  }

  /**
   * 100 generations, each takes one event; events raised early or in between are all kept. The SDK
   * carries events over in an order of its own, and the one just taken with them, so that each
   * generation waits for an event of its own.
   */
  @Test
  void continueAsNewCarriesEventsOver() throws Exception {
    String id = hub.start("counter", new int[0]);
    for (int n = 0; n < 50; n++) {
      hub.client.raiseEvent(id, "tick " + n, n);
    }
    hub.worker(
        orchestration(
            "counter",
            ctx -> {
              int[] before = ctx.getInput(int[].class);
              int[] heard = Arrays.copyOf(before, before.length + 1);
              String tick = "tick " + before.length;
              heard[before.length] = ctx.waitForExternalEvent(tick, Integer.class).await();
              if (heard.length < 100) {
                ctx.continueAsNew(heard);
              } else {
                ctx.complete(heard);
              }
            }));
    for (int n = 50; n < 100; n++) {
      hub.client.raiseEvent(id, "tick " + n, n);
    }
    assertArrayEquals(IntStream.range(0, 100).toArray(), hub.output(id, int[].class));
  }

  /** java_repeats_events: each later turn sends what was sent again, and it arrives once. */
  @Test
  void eventsOfAnOrchestrationThatGoesOn() throws Exception {
    hub.worker(
        orchestration(
            "listener",
            ctx -> {
              List<Integer> heard = new ArrayList<>();
              for (int n = -1; n != 0; heard.add(n)) {
                n = ctx.waitForExternalEvent("note", Integer.class).await();
              }
              ctx.complete(heard);
            }),
        orchestration(
            "sender",
            ctx -> {
              String listener = ctx.getInput(String.class);
              ctx.sendEvent(listener, "note", 7);
              ctx.callActivity("work").await();
              ctx.sendEvent(listener, "note", 7);
              ctx.callActivity("work").await();
              ctx.sendEvent(listener, "note", 0);
              ctx.complete("sent");
            }),
        activity("work", ctx -> null));
    String listening = hub.start("listener");
    assertEquals("sent", hub.output(hub.start("sender", listening), String.class));
    assertEquals(List.of(7, 7, 0), hub.output(listening, List.class));
  }

  /** continue_race: task ids recur in every generation; no result reaches the wrong one. */
  @Test
  void continueAsNewWithActivitiesAndTimers() throws Exception {
    hub.worker(
        orchestration(
            "loop",
            ctx -> {
              int count = ctx.getInput(Integer.class);
              int doubled = ctx.callActivity("double", count, Integer.class).await();
              ctx.createTimer(Duration.ofMillis(10)).await();
              if (count < 20) {
                ctx.continueAsNew(count + 1);
              } else {
                ctx.complete(doubled);
              }
            }),
        activity("double", ctx -> ctx.getInput(Integer.class) * 2));
    List<String> loops = new ArrayList<>();
    for (int n = 0; n < 6; n++) {
      loops.add(hub.start("loop", 0));
    }
    for (String id : loops) {
      assertEquals(40, hub.output(id, Integer.class));
    }
  }
}
