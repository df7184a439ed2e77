// Client requests as records, and the state as clients see it (RULES.md section 5).

#include "server/orchestration/requests.h"

#include "server/orchestration/random_ids.h"
#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1000);

absl::StatusOr<StartPlan> Start(const CreateInstanceRequest& request, RequestLimits limits = {}) {
  CountingIds ids;
  return BuildStart(request, 1, kNow, ids, limits);
}

absl::Status StartError(const CreateInstanceRequest& request, RequestLimits limits = {}) {
  return Start(request, limits).status();
}

CreateInstanceRequest WithPolicy(std::vector<OrchestrationStatus> statuses, int older_action = 0) {
  CreateInstanceRequest request = StartRequest();
  auto* policy = request.mutable_orchestrationidreusepolicy();
  for (const OrchestrationStatus status : statuses) policy->add_replaceablestatus(status);
  // As the older Go SDK sends it: a field that this revision does not know.
  if (older_action != 0) {
    policy->GetReflection()->MutableUnknownFields(policy)->AddVarint(
        2, static_cast<uint64_t>(older_action));
  }
  CreateInstanceRequest received;
  REQUIRE(received.ParseFromString(request.SerializeAsString()));
  return received;
}

StatusSet Bits(std::initializer_list<RuntimeStatus> statuses) {
  StatusSet set = 0;
  for (const RuntimeStatus status : statuses) set |= StatusBit(status);
  return set;
}

}  // namespace

TEST_CASE("random_id the form of a UUID and nothing else") {
  RandomIds ids;
  CHECK(IsRandomId(ids.NewExecutionId()));
  for (const char* id :
       {"0f8fad5bd9cb469fa16570867728950e", "0F8FAD5B-D9CB-469F-A165-70867728950E"}) {
    CHECK(IsRandomId(id));
  }
  for (const char* id :
       {"", "order-1", "0f8fad5bd9cb469fa16570867728950", "0f8fad5bd9cb469fa16570867728950e0",
        "0f8fad5bd9cb469fa16570867728950g", "0f8fad5b-d9cb-469f-a16570867728950e-",
        "0f8fad5bd9cb469fa16570867728950e:0a1"}) {
    CHECK(!IsRandomId(id));
  }
}

TEST_CASE("start_generated_id: an empty id is replaced, the execution id has its form") {
  CreateInstanceRequest request = StartRequest();
  request.clear_instanceid();
  const NewInstance instance = Start(request)->instance;
  CHECK(instance.instance_id.size() == 32);
  CHECK(instance.execution_id.size() == 32);
  CHECK(instance.execution_id != instance.instance_id);
}

TEST_CASE("execution_id_form: a client's own is used when it has the form") {
  CreateInstanceRequest request = StartRequest();
  const std::string own = "0123456789abcdef0123456789abcdef";
  request.mutable_executionid()->set_value(own);
  CHECK(Start(request)->instance.execution_id == own);
  for (const std::string& other : {own.substr(1), "A" + own.substr(1), "-" + own.substr(1)}) {
    request.mutable_executionid()->set_value(other);
    CHECK(Start(request)->instance.execution_id != other);
  }
  RandomIds random;
  const std::string id = random.NewExecutionId();
  CHECK(id.size() == 32);
  CHECK(id.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(id != random.NewExecutionId());
}

TEST_CASE("start_bad_ids: entity ids, long ids, NUL and an empty name") {
  CreateInstanceRequest request = StartRequest();
  request.set_instanceid("@a@b");
  CHECK(StartError(request).ToString() ==
        "INVALID_ARGUMENT: instanceId begins with @, which is kept for entities: choose another "
        "id");
  request.set_instanceid(std::string(513, 'x'));
  CHECK(StartError(request).ToString() ==
        "INVALID_ARGUMENT: the length of instanceId is 513 characters, the limit is 512 "
        "(limits.instance-id-chars-max)");
  std::string umlauts;
  for (int i = 0; i < 512; ++i) umlauts += "\xc3\xbc";
  request.set_instanceid(umlauts);
  CHECK(Start(request).ok());  // characters are counted, not bytes
  request.set_instanceid(std::string("a\0b", 3));
  CHECK(StartError(request).ToString() ==
        "INVALID_ARGUMENT: instanceId contains the character U+0000, which cannot be stored in a "
        "text");
  request = StartRequest();
  request.clear_name();
  CHECK(StartError(request).ToString() == "INVALID_ARGUMENT: name is empty");
}

TEST_CASE("start_limits: each names its field, size and limit") {
  RequestLimits limits;
  limits.name_bytes_max = 4;
  CHECK(StartError(StartRequest(), limits).ToString() ==
        "INVALID_ARGUMENT: the length of name is 5 bytes, the limit is 4 (limits.name-bytes-max)");
  limits = {};
  limits.payload_bytes_max = 3;
  CHECK(StartError(StartRequest("four"), limits).ToString() ==
        "RESOURCE_EXHAUSTED: input has 4 bytes, the limit is 3 (limits.payload-bytes-max)");
  limits = {};
  limits.tags_bytes_max = 3;
  CreateInstanceRequest request = StartRequest();
  (*request.mutable_tags())["key"] = "v";
  CHECK(StartError(request, limits).ToString() ==
        "INVALID_ARGUMENT: tags have 4 bytes of keys and values together, the limit is 3 "
        "(limits.tags-bytes-max)");
  limits = {};
  limits.version_bytes_max = 2;
  request.mutable_version()->set_value("1.0");
  CHECK(StartError(request, limits).ToString() ==
        "INVALID_ARGUMENT: the length of version is 3 bytes, the limit is 2 "
        "(limits.version-bytes-max)");
}

TEST_CASE("start_fields: what was given comes back, absent or empty") {
  CreateInstanceRequest request = StartRequest("in");
  request.mutable_version()->set_value("");
  (*request.mutable_tags())["b"] = "2";
  (*request.mutable_tags())["a"] = "1";
  const NewInstance instance = Start(request)->instance;
  CHECK(instance.name == "Order");
  CHECK(instance.version == "");
  CHECK(instance.input == "in");
  CHECK(instance.tags == Tags{{"a", "1"}, {"b", "2"}});
  CHECK(instance.replaceable == kTerminalStatuses);
  CHECK(instance.parent == std::nullopt);
  CHECK(instance.started.generation == 0);
  CHECK(RenderWholeEvent(ParseEvent(*instance.started.event)) ==
        "ExecutionStarted @1000 name=\"Order\" version=\"\" input=\"in\""
        " orchestrationInstance={instanceId=\"order-1\""
        " executionId=\"00010000000000000000000000000000\"} tags={a=\"1\" b=\"2\"}");
  CHECK(Start(StartRequest())->instance.version == std::nullopt);
  CHECK(Start(StartRequest())->instance.input == std::nullopt);
}

TEST_CASE("js_1970_schedule: starts at once, no schedule is echoed, the input is empty") {
  CreateInstanceRequest request = StartRequest("");
  *request.mutable_scheduledstarttimestamp() = Seconds(0);
  const NewInstance instance = Start(request)->instance;
  CHECK(instance.scheduled_start == std::nullopt);
  CHECK(instance.input == "");
  CHECK(RenderMessage(instance.started) ==
        "ExecutionStarted @1000 name=\"Order\" input=\"\" gen 0");
}

TEST_CASE("start_scheduled: in the future, rounded up for the schedule and exact in the event") {
  CreateInstanceRequest request = StartRequest();
  *request.mutable_scheduledstarttimestamp() = Seconds(1003, 100);
  const NewInstance instance = Start(request)->instance;
  CHECK(instance.scheduled_start == absl::FromUnixSeconds(1003) + absl::Microseconds(1));
  CHECK(RenderMessage(instance.started) ==
        "ExecutionStarted @1000 name=\"Order\" scheduledStartTimestamp=1003.0000001 gen 0");
  *request.mutable_scheduledstarttimestamp() = Seconds(1003, 1'000'000'000);
  CHECK(StartError(request).code() == absl::StatusCode::kInvalidArgument);
  *request.mutable_scheduledstarttimestamp() = Seconds(int64_t{1} << 60);
  CHECK(StartError(request).code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("start_no_policy: terminal instances are replaceable, live ones are not") {
  CHECK(Start(StartRequest())->instance.replaceable == kTerminalStatuses);
  CHECK(Start(StartRequest())->answers.ignored == 0);
  CHECK(Start(StartRequest())->answers.excluded == 0);
}

TEST_CASE("start_policy: the listed statuses and no others") {
  CHECK(Start(WithPolicy({}))->instance.replaceable == 0);
  CHECK(Start(WithPolicy({ORCHESTRATION_STATUS_FAILED}))->instance.replaceable ==
        Bits({RuntimeStatus::kFailed}));
  CHECK(Start(WithPolicy({ORCHESTRATION_STATUS_RUNNING, ORCHESTRATION_STATUS_TERMINATED}))
            ->instance.replaceable == Bits({RuntimeStatus::kRunning, RuntimeStatus::kTerminated}));
  CHECK(StartError(WithPolicy({static_cast<OrchestrationStatus>(42)})).ToString() ==
        "INVALID_ARGUMENT: orchestrationIdReusePolicy.replaceableStatus contains the unknown "
        "status 42");
}

TEST_CASE(
    "start_policy_invalid: a live status without TERMINATED is an error for that status only") {
  for (const OrchestrationStatus status :
       {ORCHESTRATION_STATUS_RUNNING, ORCHESTRATION_STATUS_PENDING,
        ORCHESTRATION_STATUS_SUSPENDED}) {
    const auto live = static_cast<RuntimeStatus>(status);
    const auto plan = Start(WithPolicy({status, ORCHESTRATION_STATUS_COMPLETED}));
    REQUIRE(plan.ok());
    CHECK(plan->instance.replaceable == Bits({RuntimeStatus::kCompleted}));
    CHECK(plan->answers.excluded == Bits({live}));
    CHECK(AnswerExisting(plan->answers, live, "i").ToString() ==
          "INVALID_ARGUMENT: Invalid reusable statuses: cannot exclude 'Terminated' while also "
          "allowing reuse of running instances");
    CHECK(AnswerExisting(plan->answers, RuntimeStatus::kFailed, "i").ToString() ==
          "ALREADY_EXISTS: orchestration instance already exists: 'i' has status "
          "ORCHESTRATION_STATUS_FAILED");
  }
  const auto plan =
      Start(WithPolicy({ORCHESTRATION_STATUS_RUNNING, ORCHESTRATION_STATUS_TERMINATED}));
  CHECK(plan->answers.excluded == 0);
}

TEST_CASE("go_policy_ignore: the listed statuses answer OK and change nothing") {
  const auto plan = Start(WithPolicy(
      {ORCHESTRATION_STATUS_RUNNING, ORCHESTRATION_STATUS_COMPLETED, ORCHESTRATION_STATUS_PENDING},
      1));
  REQUIRE(plan.ok());
  CHECK(plan->answers.ignored ==
        Bits({RuntimeStatus::kRunning, RuntimeStatus::kCompleted, RuntimeStatus::kPending}));
  CHECK(plan->instance.replaceable == 0);
  CHECK(plan->answers.excluded == 0);
  CHECK(AnswerExisting(plan->answers, RuntimeStatus::kRunning, "i").ok());
  CHECK(absl::IsAlreadyExists(AnswerExisting(plan->answers, RuntimeStatus::kFailed, "i")));
}

TEST_CASE("go_policy_terminate: the listed statuses are replaced") {
  const auto plan = Start(WithPolicy(
      {ORCHESTRATION_STATUS_RUNNING, ORCHESTRATION_STATUS_COMPLETED, ORCHESTRATION_STATUS_PENDING},
      2));
  REQUIRE(plan.ok());
  CHECK(plan->answers.ignored == 0);
  CHECK(plan->answers.excluded == 0);
  CHECK(plan->instance.replaceable ==
        Bits({RuntimeStatus::kRunning, RuntimeStatus::kCompleted, RuntimeStatus::kPending}));
  CHECK(StartError(WithPolicy({}, 3)).ToString() ==
        "INVALID_ARGUMENT: orchestrationIdReusePolicy.action is 3, the highest known is 2");
}

TEST_CASE("client_messages: belong to no generation and keep absent and empty apart") {
  RaiseEventRequest raise;
  raise.set_instanceid("order-1");
  raise.set_name("Go-Ahead");
  CHECK(RenderMessage(BuildRaiseEvent(raise, kNow, {})->message) ==
        "EventRaised @1000 name=\"Go-Ahead\"");
  raise.mutable_input();
  CHECK(RenderMessage(BuildRaiseEvent(raise, kNow, {})->message) ==
        "EventRaised @1000 name=\"Go-Ahead\" input=\"\"");
  SuspendRequest suspend;
  suspend.set_instanceid("order-1");
  suspend.mutable_reason()->set_value("why");
  CHECK(RenderMessage(BuildSuspend(suspend, kNow, {})->message) ==
        "ExecutionSuspended @1000 input=\"why\"");
  ResumeRequest resume;
  resume.set_instanceid("order-1");
  CHECK(RenderMessage(BuildResume(resume, kNow, {})->message) == "ExecutionResumed @1000");
  CHECK(BuildResume(resume, kNow, {})->instance_id == "order-1");
  TerminateRequest terminate;
  terminate.set_instanceid("order-1");
  terminate.set_recursive(true);
  terminate.mutable_output()->set_value("");
  const Termination termination = *BuildTerminate(terminate, kNow, {});
  CHECK(termination.reason == "");
  CHECK(RenderMessage(termination.message) == "ExecutionTerminated @1000 input=\"\" recurse=true");
}

TEST_CASE("client_message_limits: id, name and payload") {
  RequestLimits limits;
  limits.payload_bytes_max = 3;
  limits.name_bytes_max = 3;
  RaiseEventRequest raise;
  CHECK(BuildRaiseEvent(raise, kNow, limits).status().ToString() ==
        "INVALID_ARGUMENT: instanceId is empty");
  raise.set_instanceid("x");
  raise.set_name("name");
  CHECK(BuildRaiseEvent(raise, kNow, limits).status().ToString() ==
        "INVALID_ARGUMENT: the length of name is 4 bytes, the limit is 3 (limits.name-bytes-max)");
  raise.set_name("n");
  raise.mutable_input()->set_value("four");
  CHECK(BuildRaiseEvent(raise, kNow, limits).status().ToString() ==
        "RESOURCE_EXHAUSTED: input has 4 bytes, the limit is 3 (limits.payload-bytes-max)");
  TerminateRequest terminate;
  terminate.set_instanceid("x");
  terminate.mutable_output()->set_value("four");
  CHECK(BuildTerminate(terminate, kNow, limits).status().ToString() ==
        "RESOURCE_EXHAUSTED: output has 4 bytes, the limit is 3 (limits.payload-bytes-max)");
  SuspendRequest suspend;
  suspend.set_instanceid("x");
  suspend.mutable_reason()->set_value("four");
  CHECK(BuildSuspend(suspend, kNow, limits).status().ToString() ==
        "RESOURCE_EXHAUSTED: reason has 4 bytes, the limit is 3 (limits.payload-bytes-max)");
  ResumeRequest resume;
  CHECK(BuildResume(resume, kNow, limits).status().ToString() ==
        "INVALID_ARGUMENT: instanceId is empty");
}

TEST_CASE("get_payload_flag: payloads and failure only when asked for, times always") {
  InstanceRow row;
  row.instance_id = "order-1";
  row.execution_id = "e1";
  row.name = "Order";
  row.status = RuntimeStatus::kFailed;
  row.created_at = absl::FromUnixSeconds(1000);
  row.last_updated_at = absl::FromUnixSeconds(1001);
  row.input = "";
  row.output = "out";
  row.custom_status = "busy";
  TaskFailureDetails details;
  details.set_errortype("Oops");
  row.failure = details.SerializeAsString();
  const std::string always =
      "instanceId=\"order-1\" name=\"Order\" orchestrationStatus=FAILED createdTimestamp=1000"
      " lastUpdatedTimestamp=1001";
  CHECK(RenderFields(RenderState(row, false)) == always + " executionId=\"e1\"");
  CHECK(RenderFields(RenderState(row, true)) ==
        always +
            " input=\"\" output=\"out\" customStatus=\"busy\""
            " failureDetails={errorType=\"Oops\"} executionId=\"e1\"");
  row.status = RuntimeStatus::kCompleted;
  CHECK_FALSE(RenderState(row, true).has_failuredetails());
}

TEST_CASE("get_all_fields: version, schedule, completion, parent and tags if they are known") {
  InstanceRow row;
  row.instance_id = "kid";
  row.execution_id = "e1";
  row.name = "Kid";
  row.version = "";
  row.status = RuntimeStatus::kCompleted;
  row.created_at = absl::FromUnixSeconds(1000);
  row.last_updated_at = absl::FromUnixSeconds(1002);
  row.completed_at = absl::FromUnixSeconds(1002) + absl::Microseconds(1);
  row.scheduled_start = absl::FromUnixSeconds(1001);
  row.parent_instance_id = "order-1";
  row.tags = {{"a", "1"}, {"b", ""}};
  CHECK(RenderFields(RenderState(row, true)) ==
        "instanceId=\"kid\" name=\"Kid\" version=\"\" orchestrationStatus=COMPLETED"
        " scheduledStartTimestamp=1001 createdTimestamp=1000 lastUpdatedTimestamp=1002"
        " executionId=\"e1\" completedTimestamp=1002.000001 parentInstanceId=\"order-1\""
        " tags={a=\"1\" b=\"\"}");
}

TEST_CASE("health_ping: is a work item without a token") {
  const WorkItem item = ParseFrame(EncodeHealthPing());
  CHECK(item.has_healthping());
  CHECK(item.completiontoken().empty());
}

}  // namespace dt::orchestration
