package sdk;

import static sdk.Hub.activity;
import static sdk.Hub.orchestration;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;

/**
 * A worker in a process of its own, whose activity never ends: the test killedWorker kills it. Its
 * argument is the task hub. It prints one line when the activity has begun.
 */
final class StuckWorker {
  static final String STUCK = "stuck";

  private StuckWorker() {}

  static Process start(String hub) throws IOException {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    return new ProcessBuilder(
            java, "-cp", System.getProperty("java.class.path"), StuckWorker.class.getName(), hub)
        .redirectError(ProcessBuilder.Redirect.DISCARD)
        .start();
  }

  static Hub.Registered survivor() {
    return orchestration(
        "survivor",
        ctx -> {
          String input = ctx.getInput(String.class);
          ctx.complete(ctx.callActivity("work", input, String.class).await());
        });
  }

  public static void main(String[] arguments) throws InterruptedException {
    CountDownLatch never = new CountDownLatch(1);
    new Hub(arguments[0], null)
        .worker(
            survivor(),
            activity(
                "work",
                ctx -> {
                  System.out.println(STUCK);
                  try {
                    never.await();
                  } catch (InterruptedException interrupted) {
                    Thread.currentThread().interrupt();
                  }
                  return null;
                }));
    never.await();
  }
}
