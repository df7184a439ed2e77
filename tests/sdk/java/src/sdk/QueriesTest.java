package sdk;

import static com.microsoft.durabletask.OrchestrationRuntimeStatus.COMPLETED;
import static com.microsoft.durabletask.OrchestrationRuntimeStatus.FAILED;
import static com.microsoft.durabletask.OrchestrationRuntimeStatus.PENDING;
import static com.microsoft.durabletask.OrchestrationRuntimeStatus.RUNNING;
import static com.microsoft.durabletask.OrchestrationRuntimeStatus.SUSPENDED;
import static com.microsoft.durabletask.OrchestrationRuntimeStatus.TERMINATED;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static sdk.Hub.orchestration;

import com.microsoft.durabletask.NewOrchestrationInstanceOptions;
import com.microsoft.durabletask.OrchestrationMetadata;
import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import com.microsoft.durabletask.OrchestrationStatusQuery;
import com.microsoft.durabletask.OrchestrationStatusQueryResult;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Queries over instances: conditions, pages, payloads; waits that run out. */
class QueriesTest extends HubTest {
  private static OrchestrationStatusQuery all() {
    return new OrchestrationStatusQuery();
  }

  private static OrchestrationStatusQuery prefix(String prefix) {
    return all().setInstanceIdPrefix(prefix);
  }

  /** The pages of ids that a query answers. The SDK tells of the last one with an empty token. */
  private List<List<String>> pages(OrchestrationStatusQuery query) {
    List<List<String>> pages = new ArrayList<>();
    query.setContinuationToken("");
    do {
      OrchestrationStatusQueryResult page = hub.client.queryInstances(query);
      pages.add(
          page.getOrchestrationState().stream()
              .map(OrchestrationMetadata::getInstanceId)
              .collect(Collectors.toList()));
      query.setContinuationToken(page.getContinuationToken());
    } while (!query.getContinuationToken().isEmpty());
    return pages;
  }

  private List<String> ids(OrchestrationStatusQuery query) {
    return pages(query).stream().flatMap(List::stream).collect(Collectors.toList());
  }

  /** Starts instances that no worker knows. */
  private List<String> startUnknown(List<String> ids) {
    ids.forEach(id -> hub.start("nothing", id(id).setInput(id)));
    return ids;
  }

  private static List<String> numbered(int count) {
    return IntStream.range(0, count)
        .mapToObj(n -> String.format("page-%03d", n))
        .collect(Collectors.toList());
  }

  private static Hub.Registered failing() {
    return orchestration(
        "failing",
        ctx -> {
          throw new IllegalStateException("no such thing");
        });
  }

  /** Each status is found alone, several together, all without a condition. */
  @Test
  void queryByStatus() throws Exception {
    hub.worker(
        orchestration("echo", HubTest::echo),
        orchestration("waiting", HubTest::waiting),
        failing());
    Map<OrchestrationRuntimeStatus, String> ids = new EnumMap<>(OrchestrationRuntimeStatus.class);
    Instant later = Instant.now().plus(Duration.ofHours(1));
    ids.put(
        PENDING, hub.start("echo", new NewOrchestrationInstanceOptions().setStartTime(later)));
    ids.put(RUNNING, hub.start("waiting"));
    ids.put(SUSPENDED, hub.start("waiting"));
    ids.put(COMPLETED, hub.start("echo", "done"));
    ids.put(FAILED, hub.start("failing"));
    ids.put(TERMINATED, hub.start("waiting"));
    hub.client.suspendInstance(ids.get(SUSPENDED));
    hub.client.terminate(ids.get(TERMINATED), null);
    for (Map.Entry<OrchestrationRuntimeStatus, String> entry : ids.entrySet()) {
      hub.until(entry.getValue(), entry.getKey());
    }
    for (Map.Entry<OrchestrationRuntimeStatus, String> entry : ids.entrySet()) {
      assertEquals(
          List.of(entry.getValue()), ids(all().setRuntimeStatusList(List.of(entry.getKey()))));
    }
    assertEquals(
        new TreeSet<>(List.of(ids.get(PENDING), ids.get(RUNNING), ids.get(SUSPENDED))),
        new TreeSet<>(ids(all().setRuntimeStatusList(List.of(PENDING, RUNNING, SUSPENDED)))));
    assertEquals(new TreeSet<>(ids.values()), new TreeSet<>(ids(all())));
  }

  /** From is inclusive, to is exclusive, and the oldest comes first. */
  @Test
  void queryByCreationTime() throws Exception {
    startUnknown(List.of("c"));
    hub.createdApart("c");
    startUnknown(List.of("b"));
    Instant second = hub.createdApart("b");
    startUnknown(List.of("a"));
    Instant third = hub.createdApart("a");
    assertEquals(List.of("c", "b", "a"), ids(all()));
    assertEquals(List.of("b", "a"), ids(all().setCreatedTimeFrom(second)));
    assertEquals(List.of("c"), ids(all().setCreatedTimeTo(second)));
    assertEquals(List.of("b"), ids(all().setCreatedTimeFrom(second).setCreatedTimeTo(third)));
    assertEquals(List.of(), ids(all().setCreatedTimeFrom(third.plusMillis(1))));
  }

  /** A prefix is plain text, and its case counts; nothing stands for other characters. */
  @Test
  void queryByPrefix() {
    List<String> ids =
        startUnknown(
            List.of("order-1", "order-2", "Order-3", "order%4", "order_5", "orderly", "größe-6"));
    assertEquals(List.of("order-1", "order-2"), ids(prefix("order-")));
    assertEquals(List.of("order%4"), ids(prefix("order%")));
    assertEquals(List.of("order_5"), ids(prefix("order_")));
    assertEquals(List.of("größe-6"), ids(prefix("größ")));
    assertEquals(ids, ids(prefix("")));
    // The hub is that of the connection, whatever names the query lists.
    assertEquals(ids, ids(all().setTaskHubNames(List.of("another"))));
  }

  /** Input, output, custom status and failure come when asked for; names and times always do. */
  @Test
  void queryPayloadsOnlyOnRequest() throws Exception {
    hub.worker(
        orchestration(
            "talkative",
            ctx -> {
              ctx.setCustomStatus("almost");
              ctx.complete(ctx.getInput(String.class));
            }),
        failing());
    hub.output(hub.start("talkative", id("talkative").setInput("heavy")), String.class);
    hub.await(hub.start("failing", id("failing")));
    List<OrchestrationMetadata> light = hub.client.queryInstances(all()).getOrchestrationState();
    assertEquals("talkative", light.get(0).getName());
    assertEquals(COMPLETED, light.get(0).getRuntimeStatus());
    assertEquals("", light.get(0).getSerializedInput() + light.get(0).getSerializedOutput());
    List<OrchestrationMetadata> heavy =
        hub.client.queryInstances(all().setFetchInputsAndOutputs(true)).getOrchestrationState();
    assertEquals("heavy", heavy.get(0).readInputAs(String.class));
    assertEquals("heavy", heavy.get(0).readOutputAs(String.class));
    assertEquals("almost", heavy.get(0).readCustomStatusAs(String.class));
    assertEquals("no such thing", heavy.get(1).getFailureDetails().getErrorMessage());
    assertEquals(light.get(0).getCreatedAt(), heavy.get(0).getCreatedAt());
    assertEquals(light.get(0).getLastUpdatedAt(), heavy.get(0).getLastUpdatedAt());
  }

  /** query_pages, java_page_loop: 21 instances, 5 a page, are five pages, and the loop ends. */
  @Test
  void queryPages() {
    List<String> ids = startUnknown(numbered(21));
    List<List<String>> pages = pages(all().setMaxInstanceCount(5));
    assertEquals(
        List.of(5, 5, 5, 5, 1), pages.stream().map(List::size).collect(Collectors.toList()));
    assertEquals(ids, ids(all().setMaxInstanceCount(5)));
    assertEquals(1, pages(all().setMaxInstanceCount(21)).size());
    // A token goes with another page size.
    String token =
        hub.client.queryInstances(all().setMaxInstanceCount(5)).getContinuationToken();
    List<OrchestrationMetadata> rest =
        hub.client.queryInstances(all().setContinuationToken(token)).getOrchestrationState();
    assertEquals(
        ids.subList(5, 21),
        rest.stream().map(OrchestrationMetadata::getInstanceId).collect(Collectors.toList()));
    hub.refused(
        Status.Code.INVALID_ARGUMENT,
        "continuationToken",
        () -> hub.client.queryInstances(all().setContinuationToken("yesterday")));
  }

  /** 250 instances: pages of the SDK's own size, and smaller ones. */
  @Test
  void manyInstancesAreListedOnceEach() {
    List<String> ids = startUnknown(numbered(250));
    assertEquals(ids, ids(all()));
    assertEquals(ids, ids(all().setMaxInstanceCount(60)));
  }

  /** A child is an instance as its parent is; other hubs know neither. */
  @Test
  void childrenAreFoundAndHubsAreApart() throws Exception {
    hub.worker(
        orchestration("echo", HubTest::echo),
        orchestration(
            "parent",
            ctx -> {
              String child = ctx.getInstanceId() + "-child";
              ctx.complete(ctx.callSubOrchestrator("echo", 1, child, Integer.class).await());
            }));
    hub.output(hub.start("parent", id("parent")), Integer.class);
    assertEquals(List.of("parent", "parent-child"), ids(prefix("parent")));
    try (Hub other = new Hub(hub.name + "-other", null)) {
      assertEquals(List.of(), other.client.queryInstances(all()).getOrchestrationState());
    }
  }

  /** get_payload_flag, wait_missing_then_created: payloads on request; waits end as they say. */
  @Test
  void waitsAndPayloads() throws Exception {
    Duration briefly = Duration.ofMillis(200);
    assertThrows(
        TimeoutException.class,
        () -> hub.client.waitForInstanceCompletion("later", briefly, true));
    CompletableFuture<OrchestrationMetadata> started =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                return hub.client.waitForInstanceStart("later", Hub.WAIT_MAX, true);
              } catch (TimeoutException timeout) {
                throw new AssertionError(timeout);
              }
            });
    hub.start("echo", id("later").setInput("heavy"));
    assertThrows(
        TimeoutException.class, () -> hub.client.waitForInstanceStart("later", briefly));
    hub.worker(orchestration("echo", HubTest::echo));
    OrchestrationMetadata state = started.get(Hub.WAIT_MAX.toSeconds(), TimeUnit.SECONDS);
    assertEquals("heavy", state.readInputAs(String.class));
    assertEquals("heavy", hub.output("later", String.class));
    OrchestrationMetadata light = hub.client.getInstanceMetadata("later", false);
    assertEquals(COMPLETED, light.getRuntimeStatus());
    assertEquals("", light.getSerializedInput() + light.getSerializedOutput());
  }
}
