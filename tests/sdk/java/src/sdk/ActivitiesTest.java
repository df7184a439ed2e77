package sdk;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static sdk.Hub.activity;
import static sdk.Hub.orchestration;

import com.microsoft.durabletask.DataConverter;
import com.microsoft.durabletask.FailureDetails;
import com.microsoft.durabletask.NewOrchestrationInstanceOptions;
import com.microsoft.durabletask.OrchestrationMetadata;
import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import com.microsoft.durabletask.RetryPolicy;
import com.microsoft.durabletask.Task;
import com.microsoft.durabletask.TaskFailedException;
import com.microsoft.durabletask.TaskOptions;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Activities: chains, fan-out, retries, failures, payloads. */
class ActivitiesTest extends HubTest {
  private static final String[] TEXTS = {
    "",
    " leading and trailing ",
    "Zażółć gęślą jaźń",
    "日本語テキスト",
    "🙂👩‍👩‍👧‍👦🏴‍☠️",
    "e\u0301 is not \u00e9",
    "line\nbreaks\r\nand\ttabs",
    "quotes ' \" \\ $1 %s {} \\x00 \\N",
    "\0 and \037 escaped",
    "\ufeff\u2028\u202e",
  };

  static TaskOptions retries(int attempts) {
    return new TaskOptions(new RetryPolicy(attempts, Duration.ofMillis(50)));
  }

  /** Each activity gets what the one before it returned. */
  @Test
  void activityChain() throws Exception {
    hub.worker(
        orchestration(
            "chain",
            ctx -> {
              int value = ctx.getInput(Integer.class);
              for (int step = 1; step <= 5; step++) {
                int[] numbers = {value, step};
                value = ctx.callActivity("add", numbers, Integer.class).await();
              }
              ctx.complete(value);
            }),
        activity("add", ctx -> IntStream.of(ctx.getInput(int[].class)).sum()));
    assertEquals(115, hub.output(hub.start("chain", 100), Integer.class));
  }

  /** 100 activities at once; results come back in the order of the calls. */
  @Test
  void fanOutFanInOf100() throws Exception {
    hub.worker(
        orchestration(
            "fanOut",
            ctx -> {
              List<Task<Integer>> squares =
                  IntStream.range(0, 100)
                      .mapToObj(n -> ctx.callActivity("square", n, Integer.class))
                      .collect(Collectors.toList());
              ctx.complete(ctx.allOf(squares).await());
            }),
        activity("square", ctx -> ctx.getInput(Integer.class) * ctx.getInput(Integer.class)));
    int[] expected = IntStream.range(0, 100).map(n -> n * n).toArray();
    assertArrayEquals(expected, hub.output(hub.start("fanOut"), int[].class));
  }

  /** A policy of three attempts reaches the third, which succeeds. */
  @Test
  void activityRetries() throws Exception {
    AtomicInteger attempts = new AtomicInteger();
    hub.worker(
        orchestration(
            "retry",
            ctx -> ctx.complete(ctx.callActivity("flaky", "x", retries(3), String.class).await())),
        activity(
            "flaky",
            ctx -> {
              if (attempts.incrementAndGet() < 3) {
                throw new IllegalStateException("attempt " + attempts);
              }
              return "done";
            }));
    assertEquals("done", hub.output(hub.start("retry"), String.class));
    assertEquals(3, attempts.get());
  }

  /** When every attempt fails, the orchestration sees the failure and can answer it. */
  @Test
  void activityRetriesExhausted() throws Exception {
    AtomicInteger attempts = new AtomicInteger();
    hub.worker(
        orchestration(
            "retry",
            ctx -> {
              try {
                ctx.callActivity("broken", null, retries(4)).await();
              } catch (TaskFailedException failure) {
                FailureDetails details = failure.getErrorDetails();
                ctx.complete(details.getErrorType() + ": " + details.getErrorMessage());
              }
            }),
        activity(
            "broken",
            ctx -> {
              attempts.incrementAndGet();
              throw new IllegalArgumentException("never works");
            }));
    assertEquals(
        "java.lang.IllegalArgumentException: never works",
        hub.output(hub.start("retry"), String.class));
    assertEquals(4, attempts.get());
  }

  /** An exception of the orchestrator fails it with type, message and stack trace. */
  @Test
  void unhandledException() throws Exception {
    hub.worker(
        orchestration(
            "throwing",
            ctx -> {
              throw new UnsupportedOperationException("Grüße, 世界");
            }));
    OrchestrationMetadata state = hub.await(hub.start("throwing"));
    assertEquals(OrchestrationRuntimeStatus.FAILED, state.getRuntimeStatus());
    FailureDetails failure = state.getFailureDetails();
    assertEquals("java.lang.UnsupportedOperationException", failure.getErrorType());
    assertEquals("Grüße, 世界", failure.getErrorMessage());
    assertTrue(failure.getStackTrace().contains("ActivitiesTest"), failure.getStackTrace());
  }

  /** A failed activity that nobody catches fails the orchestration, with its message. */
  @Test
  void unhandledExceptionOfAnActivity() throws Exception {
    hub.worker(
        orchestration("calls", ctx -> ctx.callActivity("throwing").await()),
        activity(
            "throwing",
            ctx -> {
              throw new IllegalStateException("the activity failed");
            }));
    OrchestrationMetadata state = hub.await(hub.start("calls"));
    assertEquals(OrchestrationRuntimeStatus.FAILED, state.getRuntimeStatus());
    FailureDetails failure = state.getFailureDetails();
    assertEquals(TaskFailedException.class.getName(), failure.getErrorType());
    assertTrue(failure.getErrorMessage().contains("the activity failed"), state.toString());
  }

  /** 32 results of 64 KiB come back whole, and so does the output of 2 MiB made of them. */
  @Test
  void largeFanOutResult() throws Exception {
    String[] letters = "abcdefghijklmnopqrstuvwxyz012345".split("");
    hub.worker(
        orchestration(
            "gather",
            ctx -> {
              List<Task<String>> blocks =
                  Stream.of(letters)
                      .map(letter -> ctx.callActivity("block", letter, String.class))
                      .collect(Collectors.toList());
              ctx.complete(String.join("", ctx.allOf(blocks).await()));
            }),
        activity("block", ctx -> ctx.getInput(String.class).repeat(65536)));
    String output = hub.output(hub.start("gather"), String.class);
    assertEquals(2 * 1024 * 1024, output.length());
    assertTrue(
        Stream.of(letters).map(letter -> letter.repeat(65536)).collect(Collectors.joining())
            .equals(output));
  }

  /** All texts survive input, activity, event, sub-orchestration, custom status and output. */
  @Test
  void unicode() throws Exception {
    hub.worker(
        orchestration("echo", HubTest::echo),
        orchestration(
            "journey",
            ctx -> {
              String[] texts = ctx.getInput(String[].class);
              ctx.setCustomStatus(texts);
              texts = ctx.callActivity("repeat", texts, String[].class).await();
              texts = ctx.callSubOrchestrator("echo", texts, String[].class).await();
              String[] event = ctx.waitForExternalEvent("größe 📏", String[].class).await();
              ctx.complete(new String[][] {texts, event});
            }),
        activity("repeat", ctx -> ctx.getInput(String[].class)));
    String id =
        hub.start(
            "journey",
            new NewOrchestrationInstanceOptions().setInstanceId("ключ-🔑").setInput(TEXTS));
    hub.client.raiseEvent(id, "größe 📏", TEXTS);
    assertArrayEquals(new String[][] {TEXTS, TEXTS}, hub.output(id, String[][].class));
    assertArrayEquals(TEXTS, hub.state(id).readInputAs(String[].class));
    assertArrayEquals(TEXTS, hub.state(id).readCustomStatusAs(String[].class));
  }

  /** Sends text as it is: so "" is an empty payload and null an absent one. */
  private static final class Verbatim implements DataConverter {
    @Override
    public String serialize(Object value) {
      return (String) value;
    }

    @Override
    public <T> T deserialize(String data, Class<T> type) {
      return type == Void.class ? null : type.cast(data);
    }
  }

  /** Empty text, text that is no JSON and absent payloads arrive as they were sent. */
  @Test
  void emptyAndAbsentPayloads() throws Exception {
    try (Hub verbatim = new Hub("java-" + UUID.randomUUID(), new Verbatim())) {
      verbatim.worker(
          orchestration(
              "journey",
              ctx -> {
                String input = ctx.getInput(String.class);
                ctx.complete(ctx.callActivity("give", input, String.class).await());
              }),
          activity("give", ctx -> ctx.getInput(String.class)));
      for (String payload : new String[] {"", "null", "\"\"", " not JSON "}) {
        OrchestrationMetadata state = verbatim.await(verbatim.start("journey", payload));
        assertEquals(payload, state.getSerializedInput());
        assertEquals(payload, state.getSerializedOutput());
      }
    }
    hub.worker(
        orchestration("absent", ctx -> ctx.complete(ctx.getInput(String.class) == null)),
        orchestration("nothing", ctx -> ctx.complete(null)));
    assertTrue(hub.output(hub.start("absent"), Boolean.class));
    assertNull(hub.output(hub.start("nothing"), String.class));
  }
}
