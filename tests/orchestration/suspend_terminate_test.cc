// Suspend, resume and terminate (RULES.md 3.22-3.30).

#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {

TEST_CASE("suspend_twice: the second is never delivered") {
  Orchestration order;
  order.Run({});
  order.Suspend("first");
  order.Suspend("second");
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionSuspended @1000 input="first"
      status SUSPENDED
      )"));
  order.Suspend("third");
  CHECK(order.Request() == "");
  CHECK(order.turn.dropped.size() == 1);
  CHECK(order.inbox.empty());
}

TEST_CASE("resume_not_suspended: is never delivered") {
  Orchestration order;
  order.Run({});
  order.Resume();
  order.Raise("a");
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history EventRaised @1000 name="a"
      )"));
  CHECK(order.inbox.empty());
}

TEST_CASE("suspend_completed: an ended instance drops it") {
  Orchestration order;
  order.Run({Completed()});
  order.Suspend();
  CHECK(order.Request() == "");
  CHECK(order.turn.dropped.size() == 1);
}

TEST_CASE("resume_completed: an ended instance drops it") {
  Orchestration order;
  order.Run({Completed()});
  order.Resume();
  CHECK(order.Request() == "");
  CHECK(order.turn.dropped.size() == 1);
}

TEST_CASE("suspend_resume_one_batch: both are delivered, one after the other, and it runs") {
  Orchestration order;
  order.Run({});
  order.Suspend();
  order.Resume();
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionSuspended @1000
      status SUSPENDED
      )"));
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionResumed @1000
      status RUNNING
      )"));
}

TEST_CASE("suspend_ends_turn: what follows a suspend waits, but for a termination") {
  Orchestration order;
  order.Run({});
  order.Raise("before");
  order.Suspend();
  order.Raise("after");
  SECTION("and is not lost by a ContinueAsNew of that turn") {
    order.Run({ContinueAsNew("next")});
    order.Resume();
    CHECK(order.Run({}) == Text(R"(
        history OrchestratorStarted @1000
        history ExecutionStarted @1000 name="Order" input="next"
        history EventRaised @1000 name="after"
        status RUNNING
        )"));
  }
  SECTION("which is given at once") {
    order.Terminate("stop");
    CHECK(order.Run({Complete(-1, ORCHESTRATION_STATUS_TERMINATED, "stop")}) == Text(R"(
        history OrchestratorStarted @1000
        history EventRaised @1000 name="before"
        history ExecutionSuspended @1000
        history ExecutionTerminated @1000 input="stop"
        history ExecutionCompleted @1000 orchestrationStatus=TERMINATED result="stop"
        status TERMINATED output="stop"
        ends
        )"));
  }
}

TEST_CASE("suspend_at_start: SUSPENDED after the first turn") {
  Orchestration order;
  order.Suspend("wait");
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history ExecutionSuspended @1000 input="wait"
      status SUSPENDED
      )"));
}

TEST_CASE("suspend_reemit: what is outstanding is not scheduled again") {
  Orchestration order;
  order.Suspend();
  order.Run({Task(0, "A"), Timer(1, 2000), Child(2, "kid", "Kid")});
  order.Raise("a");
  CHECK(order.Run({Task(0, "A"), Timer(1, 2000), Child(2, "kid", "Kid")}) == Text(R"(
      history OrchestratorStarted @1000
      history EventRaised @1000 name="a"
      )"));

  SECTION("also in the turn that brings the result, and after it") {
    order.FinishTask(0, "ok");
    CHECK(order.Run({Task(0, "A"), Timer(1, 2000)}) == Text(R"(
        history OrchestratorStarted @1000
        history TaskCompleted @1000 result="ok"
        )"));
    order.Raise("b");
    CHECK(order.Run({Task(0, "A")}) == Text(R"(
        history OrchestratorStarted @1000
        history EventRaised @1000 name="b"
        )"));
    order.Resume();
    CHECK(order.Run({Task(0, "A again")}) == Text(R"(
        history OrchestratorStarted @1000
        history ExecutionResumed @1000
        history TaskScheduled #0 @1000 name="A again"
        task 0 A again
        status RUNNING
        )"));
  }
}

TEST_CASE("suspended_activity_result: delivered once while suspended, and then part of the past") {
  Orchestration order;
  order.Run({Task(1, "A")});
  order.Suspend();
  order.Run({});
  order.FinishTask(1, "ok");
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history TaskCompleted @1000 taskScheduledId=1 result="ok"
      )"));
  order.Resume();
  CHECK(order.Request() == Text(R"(
      past OrchestratorStarted @1000
      past ExecutionStarted @1000 name="Order"
      past TaskScheduled #1 @1000 name="A"
      past OrchestratorStarted @1000
      past ExecutionSuspended @1000
      past OrchestratorStarted @1000
      past TaskCompleted @1000 taskScheduledId=1 result="ok"
      new OrchestratorStarted @1000
      new ExecutionResumed @1000
      )"));
}

TEST_CASE("suspend_over_continue: the next generation begins when it is resumed") {
  Orchestration order;
  order.Run({});
  order.Raise("a", "1");
  order.Suspend();
  CHECK(order.Run({ContinueAsNew("next", {{"a", "1"}})}) == Text(R"(
      own ExecutionStarted @1000 name="Order" input="next" gen 1
      own EventRaised @1 name="a" input="1" gen 1
      own ExecutionSuspended @1000 gen 1
      status SUSPENDED
      continues as 0002 input="next"
      )"));
  CHECK(order.state.status == RuntimeStatus::kSuspended);
  order.Raise("later");
  order.Suspend("again");
  CHECK(order.Request() == "");
  CHECK(order.turn.held);
  CHECK(order.inbox.size() == 5);

  SECTION("without a trace of the suspend") {
    order.Resume();
    CHECK(order.Run({}) == Text(R"(
        history OrchestratorStarted @1000
        history ExecutionStarted @1000 name="Order" input="next"
        history EventRaised @1 name="a" input="1"
        history EventRaised @1000 name="later"
        status RUNNING
        )"));
    CHECK(order.inbox.empty());
  }
  SECTION("and suspended once more after that") {
    order.Resume();
    order.Suspend("third");
    CHECK(order.Run({}) == Text(R"(
        history OrchestratorStarted @1000
        history ExecutionStarted @1000 name="Order" input="next"
        history EventRaised @1 name="a" input="1"
        history EventRaised @1000 name="later"
        history ExecutionSuspended @1000 input="third"
        )"));
  }
  SECTION("or to be terminated") {
    order.Terminate("stop");
    CHECK(order.Run({Complete(-1, ORCHESTRATION_STATUS_TERMINATED, "stop")}) == Text(R"(
        history OrchestratorStarted @1000
        history ExecutionStarted @1000 name="Order" input="next"
        history EventRaised @1 name="a" input="1"
        history ExecutionSuspended @1000
        history ExecutionTerminated @1000 input="stop"
        history ExecutionCompleted @1000 orchestrationStatus=TERMINATED result="stop"
        status TERMINATED output="stop"
        ends
        )"));
  }
}

TEST_CASE("terminate_suspended: TERMINATED with the output given") {
  Orchestration order;
  order.Suspend();
  order.Run({});
  order.Terminate("stopped");
  CHECK(order.Run({Complete(-1, ORCHESTRATION_STATUS_TERMINATED, "stopped")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionTerminated @1000 input="stopped"
      history ExecutionCompleted @1000 orchestrationStatus=TERMINATED result="stopped"
      status TERMINATED output="stopped"
      ends
      )"));
}

TEST_CASE("terminate_mid_batch: a result and the termination in one turn") {
  Orchestration order;
  order.Run({Task(1, "A")});
  order.Terminate("stop");
  order.FinishTask(1, "ok");
  CHECK(order.Run({Complete(2, ORCHESTRATION_STATUS_TERMINATED, "stop")}) == Text(R"(
      history OrchestratorStarted @1000
      history TaskCompleted @1000 taskScheduledId=1 result="ok"
      history ExecutionTerminated @1000 input="stop"
      history ExecutionCompleted @1000 orchestrationStatus=TERMINATED result="stop"
      status TERMINATED output="stop"
      ends
      )"));
}

TEST_CASE("terminate_beats_continue: with a TERMINATED completion and without") {
  const char* const expected = R"(
      history OrchestratorStarted @1000
      history ExecutionTerminated @1000 input="stop"
      history ExecutionCompleted @1000 orchestrationStatus=TERMINATED result="stop"
      status TERMINATED output="stop"
      ends
      )";
  Orchestration order;
  order.Run({});
  order.Terminate("stop");
  SECTION("both") {
    OrchestratorAction next = ContinueAsNew("next");
    next.set_id(1);
    CHECK(order.Run({Complete(2, ORCHESTRATION_STATUS_TERMINATED, "stop"), next}) ==
          Text(expected));
  }
  SECTION("CONTINUED_AS_NEW alone") {
    CHECK(order.Run({Task(5, "A"), ContinueAsNew("next")}) == Text(expected));
  }
}

TEST_CASE("terminate_ignored_by_worker: TERMINATED, and the timers are dropped") {
  Orchestration order;
  order.Run({});
  order.Terminate(std::nullopt);
  CHECK(order.Run({Timer(1, 2000), Task(2, "A"), Send(3, "other", "e")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionTerminated @1000
      history ExecutionCompleted @1000 orchestrationStatus=TERMINATED
      status TERMINATED
      ends
      )"));
}

TEST_CASE("terminate_vs_complete: a completion of the same turn stands") {
  Orchestration order;
  order.Run({});
  order.Raise("finish");
  order.Terminate("stop");
  // Go answers with both; the lower id is the earlier one.
  CHECK(order.Run({Complete(4, ORCHESTRATION_STATUS_TERMINATED, "stop"),
                   Complete(3, ORCHESTRATION_STATUS_COMPLETED, "done")}) == Text(R"(
      history OrchestratorStarted @1000
      history EventRaised @1000 name="finish"
      history ExecutionTerminated @1000 input="stop"
      history ExecutionCompleted @1000 orchestrationStatus=COMPLETED result="done"
      status COMPLETED output="done"
      ends
      )"));
}

TEST_CASE("terminate_during_continue: the new generation is terminated") {
  Orchestration order;
  order.Request();
  order.Terminate("stop");  // arrives while the worker runs
  order.Answer({ContinueAsNew("next")});
  CHECK(order.Run({Complete(-1, ORCHESTRATION_STATUS_TERMINATED, "stop")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order" input="next"
      history ExecutionTerminated @1000 input="stop"
      history ExecutionCompleted @1000 orchestrationStatus=TERMINATED result="stop"
      status TERMINATED output="stop"
      ends
      )"));
}

TEST_CASE("terminate_twice: the second is dropped") {
  Orchestration order;
  order.Run({});
  order.Terminate("one");
  order.Terminate("two");
  order.Request();
  CHECK(order.turn.events.size() == 2);
  CHECK(order.turn.dropped.size() == 1);
}

TEST_CASE(
    "recursive_terminate: what is below ends with it, whoever has ended and however it ends") {
  const OrchestrationStatus status = GENERATE(
      ORCHESTRATION_STATUS_TERMINATED, ORCHESTRATION_STATUS_COMPLETED, ORCHESTRATION_STATUS_FAILED);
  const bool recurse = GENERATE(true, false);
  Orchestration order;
  order.Run({Child(1, "kid", "Kid")});
  order.Terminate("stop", recurse);
  order.Run({Complete(2, status, "stop")});
  REQUIRE(order.checkpoint.ends);
  CHECK(order.checkpoint.terminations.empty());
  REQUIRE(order.checkpoint.subtree_termination.has_value() == recurse);
  if (!recurse) return;
  CHECK(order.checkpoint.subtree_termination->reason == "stop");
  CHECK(RenderMessage(order.checkpoint.subtree_termination->message) ==
        "ExecutionTerminated @1000 input=\"stop\" recurse=true");
}

TEST_CASE("recursive_terminate: an answer that cannot be applied ends what is below, too") {
  Orchestration order;
  order.Run({Child(1, "kid", "Kid")});
  order.Terminate("stop", true);
  order.limits.actions_max = 1;
  order.Run({Complete(2, ORCHESTRATION_STATUS_TERMINATED, "stop"), Task(3, "one"), Task(4, "two")});
  CHECK(order.state.status == RuntimeStatus::kFailed);
  CHECK(order.checkpoint.subtree_termination.has_value());
}

TEST_CASE("recursive_terminate: a child of the same answer is not created") {
  Orchestration order;
  order.Run({});
  order.Terminate("stop", true);
  CHECK(order.Run({Child(1, "kid", "Kid"), Complete(2, ORCHESTRATION_STATUS_TERMINATED, "stop")}) ==
        Text(R"(
      history OrchestratorStarted @1000
      history ExecutionTerminated @1000 input="stop" recurse=true
      history SubOrchestrationInstanceCreated #1 @1000 instanceId="kid" name="Kid"
      history ExecutionCompleted @1000 orchestrationStatus=TERMINATED result="stop"
      terminate below: ExecutionTerminated @1000 input="stop" recurse=true
      status TERMINATED output="stop"
      ends
      )"));
}

TEST_CASE("non_recursive_terminate: the child is left alone") {
  Orchestration order;
  order.Run({Child(1, "running", "Kid")});
  order.Terminate("stop", false);
  order.Run({});
  CHECK(order.checkpoint.ends);
  CHECK_FALSE(order.checkpoint.subtree_termination.has_value());
}

TEST_CASE("late_timer_after_terminate: the timer of an ended orchestration is dropped") {
  Orchestration order;
  order.Run({Timer(1, 1100)});
  const Message timer = order.inbox[0];
  order.Terminate("stop");
  order.Run({});
  CHECK(order.inbox.empty());
  order.inbox.push_back(timer);
  order.At(1200);
  CHECK(order.Request() == "");
  CHECK(order.turn.dropped.size() == 1);
  CHECK(order.state.status == RuntimeStatus::kTerminated);
}

}  // namespace dt::orchestration
