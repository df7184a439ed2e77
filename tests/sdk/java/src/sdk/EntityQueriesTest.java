package sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static sdk.Entities.ALL;
import static sdk.Entities.COUNTER;
import static sdk.Entities.GATE;
import static sdk.Entities.OTHER;
import static sdk.Entities.ask;
import static sdk.Entities.call;

import com.google.protobuf.Int32Value;
import com.google.protobuf.StringValue;
import com.google.protobuf.Timestamp;
import com.microsoft.durabletask.DataConverter;
import com.microsoft.durabletask.OrchestrationMetadata;
import com.microsoft.durabletask.OrchestrationStatusQuery;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import sdk.Entities.Gate;
import wire.CleanEntityStorageResponse;
import wire.EntityMetadata;
import wire.EntityQuery;
import wire.QueryEntitiesResponse;

/** What clients learn of entities: lists by prefix, time and page, the backlog, and cleaning. */
class EntityQueriesTest extends HubTest {
  private static EntityQuery.Builder all() {
    return EntityQuery.newBuilder();
  }

  private List<String> withPrefix(String prefix) {
    return hub.entities.ids(all().setInstanceIdStartsWith(StringValue.of(prefix)));
  }

  /** Counters with these keys and the states 0, 1 and so on, made one after the other. */
  private void makeCounters(String... keys) throws Exception {
    for (int n = 0; n < keys.length; n++) {
      hub.entities.signal("@counter@" + keys[n], "set", n);
      hub.entities.until("@counter@" + keys[n], n);
    }
  }

  /** query_entities: a prefix with and without @, of names in any case, of keys in theirs. */
  @Test
  void queryByPrefix() throws Exception {
    hub.entityWorker(ALL);
    makeCounters("a-1", "a-2", "A-3", "b-4", "a%5");
    hub.entities.signal("@Diary@a-6", "write", "x");
    hub.entities.until("@diary@a-6", List.of("x"));
    List<String> counters =
        List.of("@counter@A-3", "@counter@a%5", "@counter@a-1", "@counter@a-2", "@counter@b-4");
    List<String> everything = new ArrayList<>(counters);
    everything.add("@diary@a-6");
    assertEquals(everything, hub.entities.ids(all()));
    assertEquals(everything, withPrefix(""));
    for (String prefix : List.of("@counter@", "counter@", "@COUNTER@", "Counter", "@cou")) {
      assertEquals(counters, withPrefix(prefix), prefix);
    }
    assertEquals(List.of("@counter@a-1", "@counter@a-2"), withPrefix("@counter@a-"));
    assertEquals(List.of("@counter@A-3"), withPrefix("@Counter@A"));
    assertEquals(List.of("@counter@a%5"), withPrefix("@counter@a%"));
    assertEquals(List.of(), withPrefix("@nobody"));
  }

  /** 21 entities, 5 a page, are five calls; each is there once, and the last page has no token. */
  @Test
  void queryPages() throws Exception {
    hub.entityWorker(ALL);
    List<String> ids =
        IntStream.range(0, 21).mapToObj(n -> String.format("@counter@page-%02d", n)).toList();
    for (String id : ids) {
      hub.entities.signal(id, "set", 1);
    }
    for (String id : ids) {
      hub.entities.until(id, 1);
    }
    EntityQuery.Builder query = all().setPageSize(Int32Value.of(5));
    List<String> found = new ArrayList<>();
    for (int left = ids.size(); left > 0; left -= 5) {
      QueryEntitiesResponse page = hub.entities.page(query);
      assertEquals(Math.min(5, left), page.getEntitiesCount());
      assertEquals(left > 5, page.hasContinuationToken());
      page.getEntitiesList().forEach(entity -> found.add(entity.getInstanceId()));
      query.setContinuationToken(page.getContinuationToken());
    }
    assertEquals(ids, found.stream().sorted().toList());
    assertEquals(ids, hub.entities.ids(all().setPageSize(Int32Value.of(21))));
    assertEquals(ids, hub.entities.ids(all()));
  }

  /** States come when asked for, and times are those of the last change. */
  @Test
  void queryStates() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(call());
    makeCounters("one", "two");
    Map<String, String> states = Map.of(COUNTER, "0", OTHER, "1");
    for (EntityMetadata found : hub.entities.query(all().setIncludeState(true))) {
      String state = found.getSerializedState().getValue();
      assertEquals(states.get(found.getInstanceId()), state);
    }
    for (EntityMetadata found : hub.entities.query(all())) {
      assertFalse(found.hasSerializedState());
    }
    assertFalse(hub.entities.get(COUNTER, false).hasSerializedState());
    assertTrue(changed(COUNTER).isBefore(changed(OTHER)));
    assertEquals(0, hub.output(hub.start("call", ask(COUNTER, "get", null)), Integer.class));
    assertTrue(changed(COUNTER).isAfter(changed(OTHER)));
  }

  private Instant changed(String entity) {
    Timestamp time = hub.entities.get(entity, false).getLastModifiedTime();
    return Instant.ofEpochSecond(time.getSeconds(), time.getNanos());
  }

  /** From is inclusive, to is exclusive. */
  @Test
  void queryByTime() throws Exception {
    hub.entityWorker(ALL);
    makeCounters("one", "two");
    Instant one = changed(COUNTER);
    Instant two = changed(OTHER);
    assertEquals(List.of(OTHER), hub.entities.ids(changedFrom(two)));
    assertEquals(List.of(COUNTER, OTHER), hub.entities.ids(changedFrom(one)));
    assertEquals(List.of(), hub.entities.ids(changedFrom(two.plusNanos(1_000))));
    assertEquals(List.of(COUNTER), hub.entities.ids(changedTo(two)));
    assertEquals(List.of(), hub.entities.ids(changedTo(one)));
  }

  private static EntityQuery.Builder changedFrom(Instant time) {
    return all().setLastModifiedFrom(DataConverter.getTimestampFromInstant(time));
  }

  private static EntityQuery.Builder changedTo(Instant time) {
    return all().setLastModifiedTo(DataConverter.getTimestampFromInstant(time));
  }

  /** entity_metadata: what is due and has not run; a delayed signal is none of it. */
  @Test
  void backlog() throws Exception {
    try (EntityWorker worker = hub.entityWorker(ALL)) {
      makeCounters("one");
    }
    for (int n = 0; n < 2; n++) {
      hub.entities.signal(COUNTER, "add", 1);
    }
    hub.entities.signalAt(Instant.now().plusSeconds(3600), COUNTER, "add", 1);
    assertEquals(2, hub.entities.get(COUNTER).getBacklogQueueSize());
    hub.entityWorker(ALL);
    hub.entities.until(COUNTER, 2);
    assertEquals(0, hub.entities.get(COUNTER).getBacklogQueueSize());
  }

  /**
   * An entity with messages and without state is shown to who asks for such ones, and to GetEntity
   * never.
   */
  @Test
  void transientEntities() throws Exception {
    Gate gate = new Gate();
    hub.entityWorker(Map.of("gate", gate));
    hub.entities.signal(GATE, "pass", "first");
    gate.awaitReached();
    assertEquals(List.of(), hub.entities.ids(all()));
    assertEquals(List.of(GATE), hub.entities.ids(all().setIncludeTransient(true)));
    assertNull(hub.entities.get(GATE));
    gate.open();
    hub.entities.until(GATE, List.of("first"));
    assertEquals(List.of(GATE), hub.entities.ids(all()));
  }

  /** Entities are in no list of instances, and instances in none of entities. */
  @Test
  void entitiesAreNoOrchestrations() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(call());
    hub.output(hub.start("call", ask(COUNTER, "set", 1)), Integer.class);
    List<OrchestrationMetadata> states =
        hub.client.queryInstances(new OrchestrationStatusQuery()).getOrchestrationState();
    assertEquals(List.of("call"), states.stream().map(OrchestrationMetadata::getName).toList());
    assertEquals(List.of(COUNTER), hub.entities.ids(all()));
  }

  /**
   * clean_storage: what has a state stays; empty entities and locks without an owner go by
   * themselves, so there is nothing to clean.
   */
  @Test
  void cleanStorage() throws Exception {
    hub.entityWorker(ALL);
    makeCounters("one", "two");
    hub.entities.signal(OTHER, "delete", null);
    hub.entities.until(OTHER, null);
    CleanEntityStorageResponse cleaned = hub.entities.clean();
    assertEquals(0, cleaned.getEmptyEntitiesRemoved());
    assertEquals(0, cleaned.getOrphanedLocksReleased());
    assertFalse(cleaned.hasContinuationToken());
    assertEquals(List.of(COUNTER), hub.entities.ids(all().setIncludeTransient(true)));
    assertEquals(0, hub.entities.state(COUNTER, Integer.class));
  }
}
