package sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static sdk.Hub.orchestration;

import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import com.microsoft.durabletask.PurgeInstanceCriteria;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Purging ended instances, and running instances again. */
class PurgeAndRestartTest extends HubTest {
  private int purge(String id) {
    return hub.client.purgeInstance(id).getDeletedInstanceCount();
  }

  private int purge(PurgeInstanceCriteria criteria) throws Exception {
    return hub.client.purgeInstances(criteria).getDeletedInstanceCount();
  }

  /** The SDK's criteria need a time to begin with. */
  private static PurgeInstanceCriteria from(Instant created) {
    return new PurgeInstanceCriteria().setCreatedTimeFrom(created);
  }

  private static PurgeInstanceCriteria withStatus(OrchestrationRuntimeStatus status) {
    return from(Instant.EPOCH).setRuntimeStatusList(List.of(status));
  }

  /** purge_by_id: an ended instance goes, its id is free; live and missing ones are no error. */
  @Test
  void purgeById() throws Exception {
    hub.worker(
        orchestration("waiting", HubTest::waiting), orchestration("echo", HubTest::echo));
    hub.start("echo", id("mine").setInput("first"));
    assertEquals("first", hub.output("mine", String.class));
    assertEquals(1, purge("mine"));
    assertFalse(hub.state("mine").isInstanceFound());
    assertEquals(0, purge("mine"));
    hub.start("waiting", id("mine"));
    hub.until("mine", OrchestrationRuntimeStatus.RUNNING);
    assertEquals(0, purge("mine"));
    hub.client.raiseEvent("mine", "finish", "still here");
    assertEquals("still here", hub.output("mine", String.class));
  }

  /** The SDK purges without recursion: a child stays. */
  @Test
  void purgeNotRecursive() throws Exception {
    hub.worker(
        orchestration("echo", HubTest::echo),
        orchestration(
            "parent",
            ctx -> {
              String child = ctx.getInstanceId() + "-child";
              ctx.complete(ctx.callSubOrchestrator("echo", 1, child, Integer.class).await());
            }));
    String top = hub.start("parent");
    assertEquals(1, hub.output(top, Integer.class));
    assertEquals(1, purge(top));
    assertFalse(hub.state(top).isInstanceFound());
    assertEquals(1, purge(top + "-child"));
  }

  /** purge_by_filter: by status and time of creation, from inclusive, to exclusive. */
  @Test
  void purgeByFilter() throws Exception {
    hub.worker(
        orchestration("waiting", HubTest::waiting),
        orchestration("echo", HubTest::echo),
        orchestration(
            "failing",
            ctx -> {
              throw new IllegalStateException("no such thing");
            }));
    String live = hub.start("waiting");
    hub.until(live, OrchestrationRuntimeStatus.RUNNING);
    List<Instant> created = new ArrayList<>();
    for (String name : List.of("echo", "failing", "echo", "echo")) {
      String id = "ended-" + created.size();
      hub.start(name, id(id).setInput(1));
      hub.await(id);
      created.add(hub.createdApart(id));
    }
    assertEquals(1, purge(withStatus(OrchestrationRuntimeStatus.FAILED)));
    assertFalse(hub.state("ended-1").isInstanceFound());
    assertEquals(1, purge(from(created.get(2)).setCreatedTimeTo(created.get(3))));
    assertFalse(hub.state("ended-2").isInstanceFound());
    assertEquals(0, purge(withStatus(OrchestrationRuntimeStatus.RUNNING)));
    assertEquals(2, purge(from(Instant.EPOCH).setTimeout(Duration.ofSeconds(60))));
    assertEquals(OrchestrationRuntimeStatus.RUNNING, hub.state(live).getRuntimeStatus());
  }

  /** The SDK restarts an ended instance by a start with the same id, name and input. */
  @Test
  void restartWithTheSameId() throws Exception {
    hub.worker(orchestration("echo", HubTest::echo));
    String first = hub.start("echo", "again");
    assertEquals("again", hub.output(first, String.class));
    Instant created = hub.createdApart(first);
    assertEquals(first, hub.client.restartInstance(first, false));
    assertEquals("again", hub.output(first, String.class));
    assertTrue(hub.state(first).getCreatedAt().isAfter(created));
  }

  /** Under another id the source stays as it is; it may even be live. */
  @Test
  void restartWithANewId() throws Exception {
    hub.worker(orchestration("waiting", HubTest::waiting));
    String source = hub.start("waiting", "input");
    hub.until(source, OrchestrationRuntimeStatus.RUNNING);
    String copy = hub.client.restartInstance(source, true);
    assertNotEquals(source, copy);
    assertEquals("input", hub.state(copy).readInputAs(String.class));
    hub.client.raiseEvent(copy, "finish", "the copy");
    assertEquals("the copy", hub.output(copy, String.class));
    assertEquals(OrchestrationRuntimeStatus.RUNNING, hub.state(source).getRuntimeStatus());
  }

  /** A live instance keeps its id to itself; a missing one cannot be started. */
  @Test
  void restartRefused() {
    String id = hub.start("waiting");
    hub.refused(
        Status.Code.ALREADY_EXISTS,
        "orchestration instance already exists",
        () -> hub.client.restartInstance(id, false));
    assertEquals(OrchestrationRuntimeStatus.PENDING, hub.state(id).getRuntimeStatus());
    assertThrows(
        IllegalArgumentException.class, () -> hub.client.restartInstance("nobody", false));
  }
}
