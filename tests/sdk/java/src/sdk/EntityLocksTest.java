package sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static sdk.Entities.ALL;
import static sdk.Entities.COUNTER;
import static sdk.Entities.DIARY;
import static sdk.Entities.OTHER;
import static sdk.Entities.ask;
import static sdk.Entities.call;
import static sdk.Hub.activity;
import static sdk.Hub.orchestration;

import com.microsoft.durabletask.OrchestrationRuntimeStatus;
import com.microsoft.durabletask.TaskOrchestrationContext;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import sdk.EntityCalls.Call;
import sdk.EntityCalls.Lock;
import wire.CleanEntityStorageResponse;

/** Critical sections: entities that an orchestration locks, and who waits for it. */
class EntityLocksTest extends HubTest {
  private static final String THIRD = "@counter@three";

  /** Locks, and tells by the custom status that it has asked to. */
  private static Lock lock(TaskOrchestrationContext ctx, String... entities) {
    ctx.setCustomStatus("asked");
    return new EntityCalls(ctx).lock(entities);
  }

  private void untilAsked(String instanceId) throws InterruptedException {
    hub.until(instanceId, state -> "asked".equals(state.readCustomStatusAs(String.class)));
  }

  /** Adds 1 to COUNTER and OTHER. */
  private static void addToBoth(EntityCalls calls) {
    Call<Integer> one = calls.call(COUNTER, "add", 1, Integer.class);
    Call<Integer> two = calls.call(OTHER, "add", 1, Integer.class);
    one.await();
    two.await();
  }

  /**
   * An orchestration that locks COUNTER and OTHER, adds 1 to both, and keeps them until the event
   * "leave". That says how it leaves the section; only "done" releases the locks.
   */
  private static Hub.Registered hold() {
    return orchestration(
        "hold",
        ctx -> {
          EntityCalls calls = new EntityCalls(ctx);
          Lock lock = lock(ctx, COUNTER, OTHER);
          addToBoth(calls);
          String how = ctx.waitForExternalEvent("leave", String.class).await();
          switch (how) {
            case "fail" -> throw new IllegalStateException("in the section");
            // The event must not go along, or each generation leaves as this one does.
            case "again" -> ctx.continueAsNew(null, false);
            case "done" -> {
              addToBoth(calls);
              lock.release();
            }
            default -> {}
          }
          ctx.complete(how);
        });
  }

  /** An orchestration that adds 100 to COUNTER in a critical section. */
  private static Hub.Registered lockOne() {
    return orchestration(
        "lockOne",
        ctx -> {
          Lock lock = lock(ctx, COUNTER);
          int value = new EntityCalls(ctx).result(COUNTER, "add", 100, Integer.class);
          lock.release();
          ctx.complete(value);
        });
  }

  /** Starts "hold"; returns its id once it is in its section. */
  private String startHolder() throws InterruptedException {
    String holder = hub.start("hold");
    hub.entities.until(COUNTER, 1);
    hub.entities.until(OTHER, 1);
    return holder;
  }

  private void leave(String instanceId, String how) {
    hub.client.raiseEvent(instanceId, "leave", how);
  }

  /** Waits for both locks to be released: an orchestration may end before that. */
  private void untilFree() throws InterruptedException {
    for (String entity : List.of(COUNTER, OTHER)) {
      Hub.until(() -> hub.entities.lockedBy(entity), ""::equals);
    }
  }

  /**
   * lock_basic: in the section the owner's operations run, and others wait; after it they run in
   * the order in which they came.
   */
  @Test
  void section() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(hold(), call());
    String holder = startHolder();
    assertEquals(holder, hub.entities.lockedBy(COUNTER));
    assertEquals(holder, hub.entities.lockedBy(OTHER));
    hub.entities.signal(COUNTER, "add", 10);
    String caller = hub.start("call", ask(COUNTER, "add", 100));
    Hub.until(() -> hub.entities.get(COUNTER).getBacklogQueueSize(), size -> size == 2);
    leave(holder, "done");
    assertEquals("done", hub.output(holder, String.class));
    assertEquals(112, hub.output(caller, Integer.class));
    assertEquals(112, hub.entities.state(COUNTER, Integer.class));
    assertEquals(2, hub.entities.state(OTHER, Integer.class));
    untilFree();
  }

  /** What was sent to an entity before the lock was asked for is done before it is granted. */
  @Test
  void operationsBeforeTheRequestComeFirst() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "before",
            ctx -> {
              EntityCalls calls = new EntityCalls(ctx);
              for (int n = 0; n < 20; n++) {
                calls.signal(DIARY, "write", n);
              }
              Lock lock = calls.lock(DIARY, COUNTER);
              calls.signal(OTHER, "add", 1);
              int entries = calls.result(DIARY, "read", null, List.class).size();
              lock.release();
              ctx.complete(entries);
            }));
    assertEquals(20, hub.output(hub.start("before"), Integer.class));
    hub.entities.until(OTHER, 1);
  }

  /** The activity "inside", which tells when two critical sections overlap in what they lock. */
  private static final class Sections {
    private final Set<String> inside = new HashSet<>();
    private final List<String> overlaps = new ArrayList<>();
    private int count;

    Hub.Registered inside() {
      return activity(
          "inside",
          ctx -> {
            List<String> names = List.of(ctx.getInput(String[].class));
            enter(names);
            // Others get their chance; nothing is waited for.
            sleep(Duration.ofMillis(5));
            leave(names);
            return null;
          });
    }

    private synchronized void enter(List<String> names) {
      count++;
      names.stream().filter(name -> !inside.add(name)).forEach(overlaps::add);
    }

    private synchronized void leave(List<String> names) {
      names.forEach(inside::remove);
    }

    synchronized void assertApart(int sections) {
      assertEquals(List.of(), overlaps);
      assertEquals(sections, count);
    }

    private static void sleep(Duration time) {
      try {
        Thread.sleep(time.toMillis());
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  private static Hub.Registered transfer() {
    return orchestration(
        "transfer",
        ctx -> {
          EntityCalls calls = new EntityCalls(ctx);
          String[] accounts = ctx.getInput(String[].class);
          String from = accounts[0];
          String to = accounts[accounts.length - 1];
          Lock lock = calls.lock(accounts);
          int fromBalance = calls.result(from, "get", null, Integer.class);
          int toBalance = calls.result(to, "get", null, Integer.class);
          ctx.callActivity("inside", accounts).await();
          Call<Integer> paid = calls.call(from, "set", fromBalance - 1, Integer.class);
          Call<Integer> received = calls.call(to, "set", toBalance + 1, Integer.class);
          paid.await();
          received.await();
          lock.release();
          ctx.complete("done");
        });
  }

  /**
   * lock_cross: transfers between five accounts, under locks of two and three in all orders: all
   * end, no two are in sections with an account in common, and no money is lost.
   */
  @Test
  void competingOrchestrations() throws Exception {
    int accounts = 5;
    Sections sections = new Sections();
    hub.entityWorker(ALL);
    // A worker of this SDK does one thing at a time.
    for (int n = 0; n < 3; n++) {
      hub.worker(transfer(), sections.inside());
    }
    List<String> ids = new ArrayList<>();
    int[] expected = new int[accounts];
    for (int n = 0; n < 24; n++) {
      // Two neighbours or two that are not, sometimes with one between them, in either order.
      int first = n % accounts;
      int apart = 1 + n % 2;
      List<Integer> chosen = new ArrayList<>(List.of(first, (first + apart) % accounts));
      if (n % 3 == 0) {
        chosen.add(1, (first + 3) % accounts);
      }
      if (n % 4 < 2) {
        Collections.reverse(chosen);
      }
      expected[chosen.get(0)]--;
      expected[chosen.get(chosen.size() - 1)]++;
      ids.add(hub.start("transfer", chosen.stream().map(i -> "@counter@" + i).toList()));
    }
    for (String id : ids) {
      assertEquals("done", hub.output(id, String.class));
    }
    sections.assertApart(ids.size());
    int[] balances = new int[accounts];
    Arrays.setAll(balances, n -> hub.entities.state("@counter@" + n, Integer.class));
    assertEquals(Arrays.toString(expected), Arrays.toString(balances));
  }

  /** lock_overlapping: a request of two waits for the one before, and one behind it for both. */
  @Test
  void requestsAreGrantedInTheirOrder() throws Exception {
    List<String> entered = new CopyOnWriteArrayList<>();
    hub.entityWorker(ALL);
    hub.worker(
        hold(),
        orchestration(
            "inOrder",
            ctx -> {
              String[] entities = ctx.getInput(String[].class);
              Lock lock = lock(ctx, entities);
              ctx.callActivity("note", String.join(" ", entities)).await();
              lock.release();
              ctx.complete(null);
            }),
        activity("note", ctx -> entered.add(ctx.getInput(String.class))));
    String holder = startHolder();
    List<String> waiting = new ArrayList<>();
    for (List<String> entities :
        List.of(List.of(COUNTER, THIRD), List.of(THIRD), List.of(OTHER, THIRD))) {
      waiting.add(hub.start("inOrder", entities));
      untilAsked(waiting.get(waiting.size() - 1));
    }
    assertEquals(List.of(), entered);
    leave(holder, "done");
    for (String id : waiting) {
      hub.output(id, Object.class);
    }
    assertEquals(List.of(COUNTER + " " + THIRD, THIRD, OTHER + " " + THIRD), entered);
  }

  /** lock_duplicates */
  @Test
  void lockOfOneNamedTwice() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "twice",
            ctx -> {
              Lock lock = lock(ctx, OTHER, COUNTER, OTHER, COUNTER);
              int value = new EntityCalls(ctx).result(OTHER, "add", 1, Integer.class);
              lock.release();
              ctx.complete(value);
            }));
    for (int n = 1; n <= 3; n++) {
      assertEquals(n, hub.output(hub.start("twice"), Integer.class));
    }
  }

  /** lock_nonexistent_entity: it can be locked, and leaves nothing behind. */
  @Test
  void lockOfWhatIsNotThere() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "empty",
            ctx -> {
              lock(ctx, COUNTER, OTHER).release();
              ctx.complete("was inside");
            }));
    assertEquals("was inside", hub.output(hub.start("empty"), String.class));
    assertNull(hub.entities.get(COUNTER));
    CleanEntityStorageResponse cleaned = hub.entities.clean();
    assertEquals(0, cleaned.getEmptyEntitiesRemoved());
    assertEquals(0, cleaned.getOrphanedLocksReleased());
  }

  /** Neither the state nor the time of the last change tells of a lock that did nothing. */
  @Test
  void locksAreNoChange() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "locker",
            ctx -> {
              lock(ctx, COUNTER).release();
              ctx.complete(null);
            }));
    hub.entities.signal(COUNTER, "add", 3);
    hub.entities.until(COUNTER, 3);
    var before = hub.entities.get(COUNTER);
    hub.output(hub.start("locker"), Object.class);
    Hub.until(() -> hub.entities.get(COUNTER), before::equals);
  }

  /** It is due in the section, and comes after it. */
  @Test
  void delayedSignalToALockedEntity() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(hold());
    String holder = startHolder();
    hub.entities.signalAt(Instant.now().plusMillis(300), COUNTER, "add", 10);
    Hub.until(() -> hub.entities.get(COUNTER).getBacklogQueueSize(), size -> size == 1);
    assertEquals(1, hub.entities.state(COUNTER, Integer.class));
    leave(holder, "done");
    hub.entities.until(COUNTER, 12);
  }

  /** What ends an owner that does not release. */
  private enum End {
    COMPLETED,
    FAILED,
    CONTINUED,
    TERMINATED,
    PURGED,
    RESTARTED;

    boolean asksAgain() {
      return this == CONTINUED || this == RESTARTED;
    }
  }

  private void end(End end, String holder) throws Exception {
    switch (end) {
      case COMPLETED -> leave(holder, "forget");
      case FAILED -> leave(holder, "fail");
      case CONTINUED -> leave(holder, "again");
      case TERMINATED -> hub.client.terminate(holder, null);
      case PURGED, RESTARTED -> {
        hub.client.terminate(holder, null);
        hub.until(holder, OrchestrationRuntimeStatus.TERMINATED);
        if (end == End.PURGED) {
          assertEquals(1, hub.client.purgeInstance(holder).getDeletedInstanceCount());
        } else {
          hub.client.restartInstance(holder, false);
        }
      }
    }
  }

  /**
   * owner_gone: whatever ends the owner, who waits gets the lock; an owner that asks again waits
   * for it.
   */
  @ParameterizedTest
  @EnumSource(End.class)
  void ownerGone(End end) throws Exception {
    hub.entityWorker(ALL);
    hub.worker(hold(), lockOne());
    String holder = startHolder();
    String next = hub.start("lockOne");
    untilAsked(next);
    end(end, holder);
    assertEquals(101, hub.output(next, Integer.class));
    if (end.asksAgain()) {
      hub.entities.until(OTHER, 2);
      leave(holder, "done");
      assertEquals("done", hub.output(holder, String.class));
    }
    untilFree();
  }

  /** unlock_before_grant: who is terminated while it waits is not granted, and others are. */
  @Test
  void waitingOwnerGone() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(hold(), lockOne());
    String holder = startHolder();
    String gone = hub.start("hold");
    untilAsked(gone);
    String next = hub.start("lockOne");
    untilAsked(next);
    hub.client.terminate(gone, null);
    hub.until(gone, OrchestrationRuntimeStatus.TERMINATED);
    leave(holder, "done");
    assertEquals(102, hub.output(next, Integer.class));
    untilFree();
    assertEquals(2, hub.entities.state(OTHER, Integer.class));
  }

  /** A lock is the orchestration's: with other workers it goes on in its section. */
  @Test
  void lockOutlivesItsWorkers() throws Exception {
    String holder;
    try (EntityWorker entityWorker = hub.entityWorker(ALL);
        Hub.Worker worker = hub.worker(hold())) {
      holder = startHolder();
    }
    hub.entities.signal(COUNTER, "add", 10);
    hub.entityWorker(ALL);
    hub.worker(hold());
    assertEquals(holder, hub.entities.lockedBy(COUNTER));
    leave(holder, "done");
    assertEquals("done", hub.output(holder, String.class));
    hub.entities.until(COUNTER, 12);
  }

  /** A call that fails leaves the section as it is: the next call works. */
  @Test
  void failureInASection() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "section",
            ctx -> {
              EntityCalls calls = new EntityCalls(ctx);
              Lock lock = calls.lock(COUNTER);
              String failure = "";
              try {
                calls.result(COUNTER, "fail", 7, Integer.class);
              } catch (EntityCalls.OperationFailed failed) {
                failure = failed.getMessage();
              }
              int value = calls.result(COUNTER, "add", 5, Integer.class);
              lock.release();
              ctx.complete(failure + ", then " + value);
            }));
    assertEquals("failed with 7, then 5", hub.output(hub.start("section"), String.class));
    assertEquals("failed with 7, then 10", hub.output(hub.start("section"), String.class));
  }

  /** One orchestration in many sections, with others between them. */
  @Test
  void sectionsOneAfterTheOther() throws Exception {
    hub.entityWorker(ALL);
    hub.worker(
        orchestration(
            "sections",
            ctx -> {
              EntityCalls calls = new EntityCalls(ctx);
              for (int n = 0; n < 5; n++) {
                Lock lock = calls.lock(COUNTER, OTHER);
                int value = calls.result(COUNTER, "get", null, Integer.class);
                calls.result(OTHER, "set", value, Integer.class);
                calls.result(COUNTER, "set", value + 1, Integer.class);
                lock.release();
              }
              ctx.complete(null);
            }));
    List<String> ids = new ArrayList<>();
    for (int n = 0; n < 4; n++) {
      ids.add(hub.start("sections"));
    }
    for (String id : ids) {
      hub.output(id, Object.class);
    }
    assertEquals(20, hub.entities.state(COUNTER, Integer.class));
    assertEquals(19, hub.entities.state(OTHER, Integer.class));
  }
}
