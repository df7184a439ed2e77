package sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static sdk.Hub.activity;
import static sdk.Hub.orchestration;

import com.microsoft.durabletask.NewOrchestrationInstanceOptions;
import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import io.grpc.Status;
import java.io.BufferedReader;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** Starting (schedules, ids in use, bad input), several workers on one hub, workers that die. */
class StartAndWorkersTest extends HubTest {
  /** A scheduled orchestration is PENDING until its time, and starts then, not before. */
  @Test
  void scheduledStart() throws Exception {
    hub.worker(
        orchestration("clock", ctx -> ctx.complete(ctx.getCurrentInstant().toString())),
        orchestration("echo", HubTest::echo));
    Instant due = Instant.now().plus(Duration.ofMillis(1500));
    String clock = hub.start("clock", new NewOrchestrationInstanceOptions().setStartTime(due));
    assertEquals("in between", hub.output(hub.start("echo", "in between"), String.class));
    assertEquals(OrchestrationRuntimeStatus.PENDING, hub.state(clock).getRuntimeStatus());
    assertFalse(Instant.parse(hub.output(clock, String.class)).isBefore(due));
  }

  /** start_no_policy: an ended instance is replaced; a live one is not, and goes on untouched. */
  @Test
  void idInUse() throws Exception {
    hub.worker(
        orchestration("waiting", HubTest::waiting), orchestration("echo", HubTest::echo));
    hub.start("echo", id("mine").setInput("first"));
    assertEquals("first", hub.output("mine", String.class));
    hub.start("echo", id("mine").setInput("second"));
    assertEquals("second", hub.output("mine", String.class));
    hub.start("waiting", id("mine"));
    hub.until("mine", OrchestrationRuntimeStatus.RUNNING);
    hub.refused(
        Status.Code.ALREADY_EXISTS,
        "orchestration instance already exists",
        () -> hub.start("waiting", id("mine")));
    hub.client.raiseEvent("mine", "finish", "the live one");
    assertEquals("the live one", hub.output("mine", String.class));
  }

  /** start_bad_ids, raise_event_missing: a clear refusal, and nothing is left behind. */
  @Test
  void badInputIsRefused() {
    Status.Code invalid = Status.Code.INVALID_ARGUMENT;
    hub.refused(invalid, "instanceId", () -> hub.start("waiting", id("@a@b")));
    hub.refused(invalid, "length", () -> hub.start("waiting", id("x".repeat(513))));
    hub.refused(
        Status.Code.NOT_FOUND, "nobody", () -> hub.client.raiseEvent("nobody", "finish"));
    assertFalse(hub.state("nobody").isInstanceFound());
  }

  /** A version of the start does not keep a worker without versions from running it. */
  @Test
  void versions() throws Exception {
    hub.worker(orchestration("echo", HubTest::echo));
    NewOrchestrationInstanceOptions options =
        new NewOrchestrationInstanceOptions().setVersion("1.2.3").setInput("ran");
    assertEquals("ran", hub.output(hub.start("echo", options), String.class));
  }

  /** default_hub: plain clients and workers share a hub, which is the one named "default". */
  @Test
  void hubOfCallersThatNameNone() throws Exception {
    String name = "plain-" + hub.name;
    try (Hub plain = new Hub(null, null);
        Hub named = new Hub("default", null)) {
      plain.worker(orchestration(name, HubTest::echo));
      String instance = plain.start(name, "plain");
      assertEquals("plain", plain.output(instance, String.class));
      assertEquals("plain", named.output(instance, String.class));
      assertFalse(hub.state(instance).isInstanceFound());
    }
  }

  /** create_hub_gated: a hub is created once; what would delete its data is off. */
  @Test
  void taskHubCalls() throws Exception {
    hub.client.createTaskHub(false);
    hub.worker(orchestration("echo", HubTest::echo));
    String id = hub.start("echo", "kept");
    assertEquals("kept", hub.output(id, String.class));
    hub.client.createTaskHub(false);
    hub.refused(Status.Code.PERMISSION_DENIED, "hub", () -> hub.client.createTaskHub(true));
    hub.refused(Status.Code.PERMISSION_DENIED, "hub", () -> hub.client.deleteTaskHub());
    assertEquals("kept", hub.output(id, String.class));
  }

  /** two_streams: two workers share 100 instances; each does its part, each result is right. */
  @Test
  void twoWorkers() throws Exception {
    for (String worker : List.of("left", "right")) {
      hub.worker(
          orchestration(
              "job",
              ctx -> {
                int number = ctx.getInput(Integer.class);
                ctx.complete(ctx.callActivity("work", number, String.class).await());
              }),
          activity("work", ctx -> worker + " " + ctx.getInput(Integer.class) * 3));
    }
    List<String> jobs = new ArrayList<>();
    for (int n = 0; n < 100; n++) {
      jobs.add(hub.start("job", n));
    }
    Set<String> workers = new TreeSet<>();
    for (int n = 0; n < 100; n++) {
      String[] done = hub.output(jobs.get(n), String.class).split(" ");
      workers.add(done[0]);
      assertEquals(n * 3, Integer.parseInt(done[1]));
    }
    assertEquals(Set.of("left", "right"), workers);
  }

  /** stream_drop: what a worker held when it was killed is done by another one. */
  @Test
  void killedWorker() throws Exception {
    Process victim = StuckWorker.start(hub.name);
    String id;
    try (BufferedReader output = victim.inputReader()) {
      id = hub.start("survivor", "work");
      assertEquals(StuckWorker.STUCK, output.readLine());
    } finally {
      victim.destroyForcibly();
    }
    hub.worker(
        StuckWorker.survivor(),
        activity("work", ctx -> ctx.getInput(String.class) + " done by the second worker"));
    assertEquals("work done by the second worker", hub.output(id, String.class));
  }

  /** A worker that stops hands its orchestrations over to the next one. */
  @Test
  void workerReplacedInTheMiddle() throws Exception {
    String id;
    try (Hub.Worker first = hub.worker(orchestration("waiting", HubTest::waiting))) {
      id = hub.start("waiting");
      hub.until(id, OrchestrationRuntimeStatus.RUNNING);
    }
    hub.client.raiseEvent(id, "finish", "carried on");
    hub.worker(orchestration("waiting", HubTest::waiting));
    assertEquals("carried on", hub.output(id, String.class));
  }
}
