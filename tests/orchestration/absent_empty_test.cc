// Absent, empty and zero: what each SDK leaves out another one sends without content (RULES.md 12).
// A row of that table whose test stands nowhere else has it here.

#include "server/orchestration/pages.h"
#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

StartPlan Plan(const CreateInstanceRequest& request) {
  CountingIds ids;
  absl::StatusOr<StartPlan> plan =
      BuildStart(request, 1, absl::FromUnixSeconds(1000), ids, RequestLimits());
  REQUIRE(plan.ok());
  return *std::move(plan);
}

}  // namespace

TEST_CASE("absent_empty_carryover: an event without a time gets that of the commit") {
  Orchestration order;
  OrchestratorAction action =
      ContinueAsNew("next", {{"absent", "1"}, {"empty", "2"}, {"set", "3"}});
  auto& events = *action.mutable_completeorchestration()->mutable_carryoverevents();
  events[0].clear_timestamp();
  events[1].mutable_timestamp()->Clear();  // there, but empty: as Python and JavaScript send it
  CHECK(order.Run({action}) == Text(R"(
      own ExecutionStarted @1000 name="Order" input="next" gen 1
      own EventRaised @1000 name="absent" input="1" gen 1
      own EventRaised @1000 name="empty" input="2" gen 1
      own EventRaised @1 name="set" input="3" gen 1
      continues as 0002 input="next"
      )"));
}

TEST_CASE("absent_empty_new_version: unset keeps the version, an empty one is the empty version") {
  CreateInstanceRequest request = StartRequest();
  request.mutable_version()->set_value("1.0");
  Orchestration order(request);
  order.Run({ContinueAsNew("a")});
  CHECK(order.state.version == "1.0");
  OrchestratorAction action = ContinueAsNew("b");
  action.mutable_completeorchestration()->mutable_newversion();
  order.Run({action});
  CHECK(order.state.version == "");
}

TEST_CASE("absent_empty_start: ids, times, tags and versions of a start") {
  CreateInstanceRequest request = StartRequest();
  request.mutable_executionid();
  CHECK(Plan(request).instance.execution_id.size() == 32);
  request.mutable_scheduledstarttimestamp();
  CHECK_FALSE(Plan(request).instance.scheduled_start.has_value());
  CHECK(Plan(request).instance.tags.empty());

  CHECK(Plan(request).instance.version == std::nullopt);
  CHECK(Plan(request).instance.trace_context == std::nullopt);
  request.mutable_version();
  request.mutable_parenttracecontext();
  CHECK(Plan(request).instance.version == "");
  CHECK(Plan(request).instance.trace_context == "");
}

TEST_CASE("absent_empty_versions: of tasks and children stay as they were sent") {
  Orchestration order;
  OrchestratorAction with = Task(1, "A");
  with.mutable_scheduletask()->mutable_version();
  OrchestratorAction child = Child(2, "kid", "Kid");  // as .NET sends each of them
  child.mutable_createsuborchestration()->mutable_version();
  order.Run({with, child, Task(3, "B"), Child(4, "kid2", "Kid")});
  CHECK(order.checkpoint.tasks[0].version == "");
  CHECK(order.checkpoint.tasks[1].version == std::nullopt);
  CHECK(order.checkpoint.children[0].instance.version == "");
  CHECK(order.checkpoint.children[1].instance.version == std::nullopt);
}

TEST_CASE("absent_empty_details: a failure message is the details, even if they are empty") {
  Orchestration order;
  OrchestratorAction failed;
  failed.set_id(-1);
  auto* completion = failed.mutable_completeorchestration();
  completion->set_orchestrationstatus(ORCHESTRATION_STATUS_FAILED);
  completion->mutable_failuredetails();  // there, but empty: taken as it is
  order.Run({failed});
  TaskFailureDetails details;
  REQUIRE(details.ParseFromString(*order.checkpoint.update->failure));
  CHECK(details.errortype().empty());
}

TEST_CASE("absent_empty_query: filters and page sizes that say nothing") {
  InstanceQuery query;
  query.mutable_instanceidprefix();
  query.mutable_continuationtoken();
  const auto search = BuildQuery(query, 1, PageLimits(), RequestLimits());
  REQUIRE(search.ok());
  CHECK(search->id_prefix.empty());
  CHECK_FALSE(search->after.has_value());
  CHECK_FALSE(search->from.has_value());
  CHECK(search->max_rows == PageLimits().rows_default);
  // A bound that is there is one, also 1970: it is the only way of Java's purge to say "any".
  query.mutable_createdtimefrom();
  CHECK(BuildQuery(query, 1, PageLimits(), RequestLimits())->from == absl::UnixEpoch());
}

TEST_CASE("absent_empty_purge: a filter without conditions is one, nothing at all is an error") {
  const auto plan = [](const PurgeInstancesRequest& request) {
    return BuildPurge(request, 1, RequestLimits());
  };
  PurgeInstancesRequest request;
  CHECK(absl::IsInvalidArgument(plan(request).status()));
  request.mutable_purgeinstancefilter();
  REQUIRE(plan(request).ok());
  CHECK_FALSE(plan(request)->nothing);
  CHECK(plan(request)->request.filter.statuses == kTerminalStatuses);
  request.mutable_purgeinstancefilter()->mutable_timeout();
  CHECK(plan(request)->timeout == absl::InfiniteDuration());
  request.mutable_instancebatch();
  REQUIRE(plan(request).ok());
  CHECK(plan(request)->nothing);
}

}  // namespace dt::orchestration
