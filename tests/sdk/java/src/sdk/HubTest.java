package sdk;

import com.microsoft.durabletask.NewOrchestrationInstanceOptions;
import com.microsoft.durabletask.TaskOrchestrationContext;
import java.util.UUID;
import org.junit.jupiter.api.AfterEach;

/** What all tests share: a fresh task hub for each, as JUnit makes an object for each test. */
abstract class HubTest {
  final Hub hub = new Hub("java-" + UUID.randomUUID().toString().substring(0, 12), null);

  @AfterEach
  void closeHub() {
    hub.close();
  }

  /** Options of a start with this id. */
  static NewOrchestrationInstanceOptions id(String id) {
    return new NewOrchestrationInstanceOptions().setInstanceId(id);
  }

  /** An orchestration that ends with the data of the event "finish". */
  static void waiting(TaskOrchestrationContext ctx) {
    ctx.complete(ctx.waitForExternalEvent("finish", String.class).await());
  }

  /** An orchestration that returns its input. */
  static void echo(TaskOrchestrationContext ctx) {
    ctx.complete(ctx.getInput(Object.class));
  }
}
