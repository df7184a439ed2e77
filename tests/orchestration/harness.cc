#include "tests/orchestration/harness.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "server/orchestration/event_bytes.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

void ApplyChange(const Change<std::string>& change, std::optional<std::string>& value) {
  if (change.kind == Change<std::string>::Kind::kSet) value = change.value;
  if (change.kind == Change<std::string>::Kind::kClear) value.reset();
}

void CheckOutstanding(const OutstandingMap& loaded, const OutstandingMap& resident) {
  CHECK(loaded.size() == resident.size());
  for (const auto& [id, outstanding] : loaded) {
    const auto entry = resident.find(id);
    REQUIRE(entry != resident.end());
    CHECK(entry->second.count == outstanding.count);
    CHECK(entry->second.resolved_while_suspended == outstanding.resolved_while_suspended);
  }
}

void CheckSections(const CriticalSections& loaded, const CriticalSections& resident) {
  CHECK(loaded.size() == resident.size());
  for (const auto& [id, section] : loaded) {
    const auto entry = resident.find(id);
    REQUIRE(entry != resident.end());
    CHECK(entry->second.granted == section.granted);
    CHECK(entry->second.entities == section.entities);
  }
}

template <typename T>
T Value(absl::StatusOr<T> value) {
  INFO(value.status().ToString());
  REQUIRE(value.ok());
  return *std::move(value);
}

}  // namespace

std::string CountingIds::NewExecutionId() { return absl::StrFormat("%04d%028d", ++count_, 0); }

CreateInstanceRequest StartRequest(const Input& input) {
  CreateInstanceRequest request;
  request.set_instanceid("order-1");
  request.set_name("Order");
  if (input) request.mutable_input()->set_value(*input);
  return request;
}

OrchestratorResponse Response(std::vector<OrchestratorAction> actions) {
  OrchestratorResponse response;
  for (OrchestratorAction& action : actions) *response.add_actions() = std::move(action);
  return response;
}

Orchestration::Orchestration(const CreateInstanceRequest& request)
    : now_(absl::FromUnixSeconds(1000)) {
  Begin(Value(BuildStart(request, 1, now_, ids, {})).instance);
}

Orchestration::Orchestration(const NewInstance& instance) : now_(absl::FromUnixSeconds(1000)) {
  Begin(instance);
}

void Orchestration::Begin(const NewInstance& instance) {
  row_.key = 100;
  row_.hub = instance.hub;
  row_.instance_id = instance.instance_id;
  row_.execution_id = instance.execution_id;
  row_.name = instance.name;
  row_.version = instance.version;
  row_.parent = instance.parent;
  Put(instance.started);
  if (instance.scheduled_start) held_until_ = *instance.scheduled_start;
  state = Value(StateFromClaim(Load()));
}

void Orchestration::At(double seconds) {
  now_ = absl::UnixEpoch() + absl::Microseconds(static_cast<int64_t>(seconds * 1e6));
}

void Orchestration::Store(const NewMessage& message, bool front) {
  Message stored;
  stored.seq = ++last_seq_;
  stored.generation = message.generation;
  stored.visible_at = front ? message.visible_at : std::max(message.visible_at, now_);
  stored.event_type = message.event_type;
  stored.event = message.event;
  inbox.push_back(std::move(stored));
}

void Orchestration::Put(NewMessage message) { Store(message, false); }

void Orchestration::Raise(const std::string& name, const Input& input) {
  RaiseEventRequest request;
  request.set_instanceid(row_.instance_id);
  request.set_name(name);
  if (input) request.mutable_input()->set_value(*input);
  Put(Value(BuildRaiseEvent(request, now_, {})).message);
}

void Orchestration::Suspend(const Input& reason) {
  SuspendRequest request;
  request.set_instanceid(row_.instance_id);
  if (reason) request.mutable_reason()->set_value(*reason);
  Put(Value(BuildSuspend(request, now_, {})).message);
}

void Orchestration::Resume(const Input& reason) {
  ResumeRequest request;
  request.set_instanceid(row_.instance_id);
  if (reason) request.mutable_reason()->set_value(*reason);
  Put(Value(BuildResume(request, now_, {})).message);
}

void Orchestration::Terminate(const Input& output, bool recursive) {
  TerminateRequest request;
  request.set_instanceid(row_.instance_id);
  request.set_recursive(recursive);
  if (output) request.mutable_output()->set_value(*output);
  Put(Value(BuildTerminate(request, now_, {})).message);
}

void Orchestration::FinishTask(int32_t id, const Input& result, Generation generation) {
  ActivityResponse response;
  response.set_taskid(id);
  if (result) response.mutable_result()->set_value(*result);
  if (generation == kAnyGeneration) generation = state.generation;
  Put(ActivityResult(response, generation, now_));
}

void Orchestration::FailTask(int32_t id, const TaskFailureDetails& details) {
  Put(ActivityFailure(id, state.generation, details, now_));
}

std::vector<Message> Orchestration::Due() const {
  std::vector<Message> due;
  if (now_ < held_until_) return due;
  for (const Message& message : inbox) {
    if (message.visible_at <= now_) due.push_back(message);
  }
  std::stable_sort(due.begin(), due.end(), [](const Message& a, const Message& b) {
    return std::pair(a.visible_at, a.seq) < std::pair(b.visible_at, b.seq);
  });
  return due;
}

bool Orchestration::has_work() const { return !Due().empty(); }

OrchestratorRequest Orchestration::ParsedRequest() const {
  RequestOptions options;
  options.completion_token = "token-1";
  const WorkItem item = ParseFrame(EncodeOrchestratorItem(state, turn, options));
  CHECK(item.completiontoken() == "token-1");
  REQUIRE(item.has_orchestratorrequest());
  return item.orchestratorrequest();
}

std::string Orchestration::Request() {
  turn = PlanTurn(state, Due(), now_, limits);
  CHECK(turn.dropped.size() == turn.drop_reasons.size());
  if (!turn.empty()) return RenderRequest(ParsedRequest());
  std::erase_if(inbox, [this](const Message& message) {
    return std::find(turn.dropped.begin(), turn.dropped.end(), message.seq) != turn.dropped.end();
  });
  return "";
}

std::string Orchestration::AnswerWith(OrchestratorResponse response) {
  TurnResult result = FinishTurn(state, turn, std::move(response), 7, now_, ids, limits);
  checkpoint = result.checkpoint;
  Commit(std::move(result));
  return RenderCheckpoint(checkpoint);
}

std::string Orchestration::Answer(std::vector<OrchestratorAction> actions) {
  return AnswerWith(Response(std::move(actions)));
}

std::string Orchestration::Run(std::vector<OrchestratorAction> actions) {
  REQUIRE(Request() != "");
  return Answer(std::move(actions));
}

// As the store applies a checkpoint to the instance itself.
void Orchestration::Commit(TurnResult result) {
  CHECK(checkpoint.key == row_.key);
  CHECK(checkpoint.lease_token == 7);
  CHECK(checkpoint.turn == row_.turn + 1);
  CHECK(checkpoint.generation == row_.generation);
  for (const int64_t seq : checkpoint.consumed) {
    REQUIRE(std::erase_if(inbox, [seq](const Message& m) { return m.seq == seq; }) == 1);
  }
  row_.turn = checkpoint.turn;
  if (row_.status == RuntimeStatus::kPending) row_.status = RuntimeStatus::kRunning;
  if (checkpoint.history) row_.history.push_back(*checkpoint.history);
  if (checkpoint.update) {
    row_.status = checkpoint.update->status;
    ApplyChange(checkpoint.update->custom_status, row_.custom_status);
    ApplyChange(checkpoint.update->orchestration_trace_context, row_.orchestration_trace_context);
  }
  if (checkpoint.next_generation) {
    const Generation old = row_.generation++;
    std::erase_if(inbox, [old](const Message& message) { return message.generation == old; });
    row_.execution_id = checkpoint.next_generation->execution_id;
    row_.version = checkpoint.next_generation->version;
    row_.saved_custom_status = checkpoint.next_generation->saved_custom_status;
    row_.history.clear();
  }
  if (checkpoint.ends) inbox.clear();
  for (const NewMessage& message : checkpoint.own_messages) {
    Store(message, checkpoint.next_generation && message.generation == row_.generation &&
                       message.visible_at == absl::InfinitePast());
  }
  ApplyCheckpoint(std::move(result.delta), state);
  CheckReload();
}

Claim Orchestration::Load() const { return row_; }

void Orchestration::CheckReload() const {
  const InstanceState loaded = Value(StateFromClaim(Load()));
  CHECK(loaded.execution_id == state.execution_id);
  CHECK(loaded.generation == state.generation);
  CHECK(loaded.turn == state.turn);
  CHECK(loaded.version == state.version);
  CHECK(loaded.status == state.status);
  CHECK(loaded.custom_status == state.custom_status);
  CHECK(loaded.saved_custom_status == state.saved_custom_status);
  CHECK(loaded.orchestration_trace_context == state.orchestration_trace_context);
  CHECK(loaded.started.has_value() == state.started.has_value());
  if (loaded.started && state.started) {
    CHECK(RenderFields(*loaded.started) == RenderFields(*state.started));
  }
  CHECK(loaded.suspended == state.suspended);
  CHECK(loaded.event_count == state.event_count);
  CHECK(loaded.history_bytes == state.history_bytes);
  CHECK(loaded.history.size() == state.history.size());
  // A new generation keeps its clock in memory only; the first turn writes it down.
  if (loaded.event_count > 0) {
    CHECK(RenderFields(loaded.last_started) == RenderFields(state.last_started));
  }
  CheckOutstanding(loaded.outstanding, state.outstanding);
  CheckSections(loaded.sections, state.sections);
  CHECK(loaded.entity_calls == state.entity_calls);
  CHECK(loaded.sent_events == state.sent_events);
}

}  // namespace dt::orchestration
