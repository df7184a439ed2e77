package sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static sdk.Hub.orchestration;

import com.microsoft.durabletask.OrchestrationMetadata;
import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;

/** Suspend and resume, terminate, custom status. */
class ControlTest extends HubTest {
  /** A suspended orchestration keeps its events for later; others go on meanwhile. */
  @Test
  void suspendAndResume() throws Exception {
    hub.worker(
        orchestration("waiting", HubTest::waiting), orchestration("echo", HubTest::echo));
    String id = hub.start("waiting");
    hub.client.suspendInstance(id, "lunch");
    hub.until(id, OrchestrationRuntimeStatus.SUSPENDED);
    hub.client.suspendInstance(id);
    hub.client.raiseEvent(id, "finish", "after lunch");
    assertEquals("quick", hub.output(hub.start("echo", "quick"), String.class));
    assertEquals(OrchestrationRuntimeStatus.SUSPENDED, hub.state(id).getRuntimeStatus());
    hub.client.resumeInstance(id, "back");
    assertEquals("after lunch", hub.output(id, String.class));
    hub.client.suspendInstance(id);
    assertEquals(OrchestrationRuntimeStatus.COMPLETED, hub.state(id).getRuntimeStatus());
  }

  /** The SDK terminates without recursion: the child goes on, its result changes nothing above. */
  @Test
  void terminateNotRecursive() throws Exception {
    hub.worker(
        orchestration("waiting", HubTest::waiting),
        orchestration(
            "parent",
            ctx -> {
              String child = ctx.getInstanceId() + "-child";
              ctx.complete(ctx.callSubOrchestrator("waiting", null, child, String.class).await());
            }));
    String top = hub.start("parent");
    String child = top + "-child";
    hub.awaitStart(top);
    hub.until(top, OrchestrationRuntimeStatus.RUNNING);
    hub.awaitStart(child);
    hub.client.terminate(top, "only me");
    assertEquals(OrchestrationRuntimeStatus.TERMINATED, hub.await(top).getRuntimeStatus());
    hub.client.raiseEvent(child, "finish", "still here");
    assertEquals("still here", hub.output(child, String.class));
    assertEquals("only me", hub.state(top).readOutputAs(String.class));
  }

  /** terminate_pending: without any worker it ends at once, and no worker ever gets it. */
  @Test
  void terminatePending() throws Exception {
    String id = hub.start("never");
    assertEquals(OrchestrationRuntimeStatus.PENDING, hub.state(id).getRuntimeStatus());
    hub.client.terminate(id, "not needed");
    OrchestrationMetadata state = hub.state(id);
    assertEquals(OrchestrationRuntimeStatus.TERMINATED, state.getRuntimeStatus());
    assertEquals("not needed", state.readOutputAs(String.class));
    AtomicBoolean started = new AtomicBoolean();
    hub.worker(
        orchestration("never", ctx -> started.set(true)), orchestration("echo", HubTest::echo));
    assertEquals("ran", hub.output(hub.start("echo", "ran"), String.class));
    assertFalse(started.get());
  }

  /** The custom status shows while the orchestration runs, follows it, and stays at its end. */
  @Test
  void customStatus() throws Exception {
    hub.worker(
        orchestration(
            "talkative",
            ctx -> {
              for (int step = 0; step < 3; step++) {
                ctx.setCustomStatus("step " + step);
                ctx.waitForExternalEvent("next").await();
              }
              ctx.setCustomStatus("over ✓");
              ctx.complete("said it all");
            }));
    String id = hub.start("talkative");
    for (int step = 0; step < 3; step++) {
      String expected = "step " + step;
      hub.until(
          id,
          state ->
              state.isCustomStatusFetched()
                  && expected.equals(state.readCustomStatusAs(String.class)));
      hub.client.raiseEvent(id, "next");
    }
    assertEquals("said it all", hub.output(id, String.class));
    assertEquals("over ✓", hub.state(id).readCustomStatusAs(String.class));
  }
}
