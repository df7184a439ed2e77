package sdk;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static sdk.Hub.orchestration;

import com.microsoft.durabletask.FailureDetails;
import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import com.microsoft.durabletask.Task;
import com.microsoft.durabletask.TaskFailedException;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Sub-orchestrations: results, failures, retries, ids in use. */
class SubOrchestrationsTest extends HubTest {
  /** Children and grandchildren; results come back in the order of the calls. */
  @Test
  void subOrchestrations() throws Exception {
    hub.worker(
        orchestration("leaf", ctx -> ctx.complete(ctx.getInput(Integer.class) * 10)),
        orchestration(
            "branch",
            ctx -> {
              int number = ctx.getInput(Integer.class);
              ctx.complete(ctx.callSubOrchestrator("leaf", number, Integer.class).await() + number);
            }),
        orchestration(
            "tree",
            ctx -> {
              List<Task<Integer>> children =
                  IntStream.range(0, ctx.getInput(Integer.class))
                      .mapToObj(n -> ctx.callSubOrchestrator("branch", n, Integer.class))
                      .collect(Collectors.toList());
              ctx.complete(ctx.allOf(children).await());
            }));
    int[] expected = {0, 11, 22, 33, 44, 55, 66, 77, 88, 99};
    assertArrayEquals(expected, hub.output(hub.start("tree", 10), int[].class));
  }

  /** The failure of a child reaches its parent, with type and message. */
  @Test
  void failingSubOrchestration() throws Exception {
    hub.worker(
        orchestration(
            "child",
            ctx -> {
              throw new IllegalStateException("child gives up");
            }),
        orchestration(
            "parent",
            ctx -> {
              String child = ctx.getInstanceId() + "-child";
              try {
                ctx.callSubOrchestrator("child", null, child, String.class).await();
              } catch (TaskFailedException failure) {
                FailureDetails details = failure.getErrorDetails();
                ctx.complete(details.getErrorType() + ": " + details.getErrorMessage());
              }
            }));
    String id = hub.start("parent");
    assertEquals(
        "java.lang.IllegalStateException: child gives up", hub.output(id, String.class));
    assertEquals(
        OrchestrationRuntimeStatus.FAILED, hub.state(id + "-child").getRuntimeStatus());
  }

  /** child_retry_same_id: a child that failed twice under one id completes under the same id. */
  @Test
  void subOrchestrationRetriedWithTheSameId() throws Exception {
    AtomicInteger runs = new AtomicInteger();
    hub.worker(
        orchestration(
            "child",
            ctx -> {
              if (runs.incrementAndGet() < 3) {
                throw new IllegalStateException("again");
              }
              ctx.complete("third time lucky");
            }),
        orchestration(
            "parent",
            ctx -> {
              String child = ctx.getInstanceId() + "-child";
              ctx.complete(
                  ctx.callSubOrchestrator(
                          "child", null, child, ActivitiesTest.retries(3), String.class)
                      .await());
            }));
    String id = hub.start("parent");
    assertEquals("third time lucky", hub.output(id, String.class));
    assertEquals(3, runs.get());
    assertEquals(
        OrchestrationRuntimeStatus.COMPLETED, hub.state(id + "-child").getRuntimeStatus());
  }

  /** child_id_running: the id of a live instance fails the call, and leaves that instance alone. */
  @Test
  void subOrchestrationIdInUse() throws Exception {
    hub.worker(
        orchestration("waiting", HubTest::waiting),
        orchestration(
            "parent",
            ctx -> {
              String taken = ctx.getInput(String.class);
              try {
                ctx.callSubOrchestrator("waiting", null, taken, String.class).await();
              } catch (TaskFailedException failure) {
                ctx.complete(failure.getErrorDetails().getErrorType());
              }
            }));
    String taken = hub.start("waiting");
    hub.until(taken, OrchestrationRuntimeStatus.RUNNING);
    assertEquals(
        "OrchestrationAlreadyExists", hub.output(hub.start("parent", taken), String.class));
    hub.client.raiseEvent(taken, "finish", "undisturbed");
    assertEquals("undisturbed", hub.output(taken, String.class));
  }
}
