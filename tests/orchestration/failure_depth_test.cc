// Failures that are nested too deep for readers of protocol buffers (RULES.md 10.2).
#include "server/orchestration/failure_depth.h"

#include "absl/strings/str_cat.h"
#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

TaskFailureDetails NestedFailure(int levels) {
  TaskFailureDetails details;
  TaskFailureDetails* at = &details;
  for (int level = 1; level < levels; ++level) {
    at->set_errormessage(absl::StrCat(level));
    at = at->mutable_innerfailure();
  }
  at->set_errormessage(absl::StrCat(levels));
  return details;
}

int LevelsOf(const TaskFailureDetails& details) {
  int levels = 1;
  const TaskFailureDetails* at = &details;
  for (; at->has_innerfailure(); at = &at->innerfailure()) ++levels;
  return levels;
}

// A value of so many structs, or lists, in each other.
google::protobuf::Value NestedValue(int levels, bool lists) {
  google::protobuf::Value value;
  google::protobuf::Value* at = &value;
  for (int i = 0; i < levels; ++i) {
    at = lists ? at->mutable_list_value()->add_values()
               : &(*at->mutable_struct_value()->mutable_fields())["k"];
  }
  at->set_number_value(1);
  return value;
}

// Whether a reader with protobuf's limit takes it where workers get it, behind so many parents.
bool IsReadable(const TaskFailureDetails& details) {
  WorkItem item;
  *item.mutable_orchestratorrequest()
       ->add_pastevents()
       ->mutable_suborchestrationinstancefailed()
       ->mutable_failuredetails() = details;
  return WorkItem().ParseFromString(item.SerializeAsString());
}

TEST_CASE("failure_depth: what fits stays as it is") {
  TaskFailureDetails details = NestedFailure(kFailureLevelsMax);
  (*details.mutable_properties())["p"] = NestedValue(20, /*lists=*/false);
  const std::string before = details.SerializeAsString();
  LimitDepth(details);
  CHECK(details.SerializeAsString() == before);
  CHECK(IsReadable(details));
}

TEST_CASE("failure_depth: what is deeper is cut with a remark") {
  TaskFailureDetails details = NestedFailure(900);
  CHECK_FALSE(IsReadable(details));
  LimitDepth(details);
  CHECK(LevelsOf(details) == kFailureLevelsMax);
  CHECK(IsReadable(details));
  const TaskFailureDetails* last = &details;
  while (last->has_innerfailure()) last = &last->innerfailure();
  CHECK(last->errormessage() ==
        "32 (868 inner failures are left out by the server: it keeps 32 levels)");
}

TEST_CASE("failure_depth: properties count, also those of the innermost failure") {
  const bool lists = GENERATE(false, true);
  for (const int levels : {1, 9, 10, 11, 15, 16, 17, 31, 32, 33, 250}) {
    for (const int failures : {1, 16, 32, 40}) {
      TaskFailureDetails details = NestedFailure(failures);
      for (TaskFailureDetails* at = &details;; at = at->mutable_innerfailure()) {
        (*at->mutable_properties())["p"] = NestedValue(levels, lists);
        if (!at->has_innerfailure()) break;
      }
      LimitDepth(details);
      CHECK(IsReadable(details));
      const std::string once = details.SerializeAsString();
      LimitDepth(details);
      CHECK(details.SerializeAsString() == once);
    }
  }
}

TEST_CASE("failure_depth: on every way in") {
  ActivityResponse activity;
  *activity.mutable_failuredetails() = NestedFailure(50);
  HistoryEvent event;
  REQUIRE(event.ParseFromString(*ActivityResult(activity, 0, absl::Now()).event));
  CHECK(LevelsOf(event.taskfailed().failuredetails()) == kFailureLevelsMax);

  Orchestration order;
  order.Request();
  OrchestratorAction failed = Complete(-1, ORCHESTRATION_STATUS_FAILED);
  *failed.mutable_completeorchestration()->mutable_failuredetails() = NestedFailure(50);
  order.AnswerWith(Response({failed}));
  TaskFailureDetails stored;
  REQUIRE(stored.ParseFromString(order.checkpoint.update->failure.value_or("?")));
  CHECK(LevelsOf(stored) == kFailureLevelsMax);

  Orchestration rewound;
  rewound.Request();
  OrchestratorAction rewind;
  HistoryEvent& started = *rewind.mutable_rewindorchestration()->add_newhistory();
  started.mutable_executionstarted()->set_name("Order");
  *rewind.mutable_rewindorchestration()
       ->add_newhistory()
       ->mutable_taskfailed()
       ->mutable_failuredetails() = NestedFailure(50);
  const TurnResult result = FinishTurn(rewound.state, rewound.turn, Response({rewind}), 5,
                                       rewound.now(), rewound.ids, rewound.limits);
  REQUIRE(result.rewind.has_value());
  CHECK(LevelsOf(ParseChunk(*result.checkpoint.history)[1].taskfailed().failuredetails()) ==
        kFailureLevelsMax);
}

}  // namespace
}  // namespace dt::orchestration
