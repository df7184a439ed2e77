#include "tests/bench/driver.h"

#include <unistd.h>

#include <charconv>
#include <functional>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "tests/bench/answer.h"
#include "tests/bench/client_slot.h"
#include "tests/bench/entity.h"
#include "tests/bench/history_call.h"
#include "tests/bench/replay.h"
#include "tests/bench/worker_stream.h"

namespace dt::bench {
namespace {

constexpr size_t kErrorsKept = 10;

std::string NewIdPrefix() {
  return fmt::format("dtbench-{:x}-{:x}-", absl::ToUnixMicros(absl::Now()), getpid());
}

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address, size_t number,
                                          bool reconnect) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // Equal arguments would share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt("dtbench.channel", static_cast<int>(number));
  if (reconnect) {
    // The default, a second, would be measured as the absence of the server.
    constexpr int kReconnectMs = 50;
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectMs);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMs);
  }
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

// Comes out of the queue when commands wait for the thread. One for all of them, made before the
// thread: its alarm is set again only once it was delivered, as gRPC asks.
class Driver::CommandTag final : public Tag {
 public:
  explicit CommandTag(Driver& driver) : driver_(driver) {}
  void OnDone(bool) override { driver_.RunCommands(); }
  void Set() { alarm_.Set(&driver_.queue_, gpr_now(GPR_CLOCK_MONOTONIC), this); }

 private:
  Driver& driver_;
  grpc::Alarm alarm_;
};

Driver::Driver(const Options& options)
    : options_(options),
      parameters_(options.parameters),
      id_prefix_(NewIdPrefix()),
      command_tag_(std::make_unique<CommandTag>(*this)) {
  const auto connect = [this](std::vector<std::unique_ptr<Stub>>& stubs,
                              const std::string& address) {
    const size_t number = clients_.size() + workers_.size();
    stubs.push_back(
        TaskHubSidecarService::NewStub(NewChannel(address, number, options_.reconnect)));
  };
  for (const std::string& address : options_.client_addresses) connect(clients_, address);
  for (const std::string& address : options_.addresses) {
    connect(workers_, address);
    for (int i = 0; i < options_.workers; ++i) {
      streams_.push_back(std::make_unique<Stream>(*this, *workers_.back()));
    }
  }
}

Driver::~Driver() { Shutdown(); }

absl::Status Driver::SayHello(Stub& server, const std::string& address) const {
  grpc::ClientContext context;
  PrepareContext(context);
  context.set_wait_for_ready(true);
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(options_.connect_seconds)));
  google::protobuf::Empty request, response;
  const grpc::Status status = server.Hello(&context, request, &response);
  if (status.ok()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("Hello to ", address, ": ", Describe(status),
                                             "; start the server, or name its address with "
                                             "--address"));
}

absl::Status Driver::Connect() {
  for (const auto* servers : {&clients_, &workers_}) {
    const auto& addresses = servers == &clients_ ? options_.client_addresses : options_.addresses;
    for (size_t i = 0; i < servers->size(); ++i) {
      if (absl::Status status = SayHello(*(*servers)[i], addresses[i]); !status.ok()) return status;
    }
  }
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

void Driver::Send(std::function<void()> command) {
  absl::MutexLock lock(&mutex_);
  if (commands_.empty()) command_tag_->Set();
  commands_.push_back(std::move(command));
}

void Driver::RunCommands() {
  std::vector<std::function<void()>> commands;
  {
    absl::MutexLock lock(&mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands) command();
}

void Driver::OpenStreams() {
  Send([this] {
    for (const auto& stream : streams_) stream->Open();
  });
}

void Driver::Begin(Pass pass, int64_t count) {
  {
    absl::MutexLock lock(&mutex_);
    active_slots_ = 1;  // the command, until the slots are counted
    if (pass == Pass::kStart) waiting_ = ended_ = 0;
  }
  stop_ = false;
  Send([this, pass, count] { BeginPass(pass, count); });
}

void Driver::BeginPass(Pass pass, int64_t count) {
  pass_ = pass;
  if (pass == Pass::kStart) {
    batch_begin_ = records_.size();
    batch_size_ = count;
  }
  const int64_t each = pass == Pass::kRaise ? parameters_.events_each : 1;
  next_operation_ = 0;
  end_operation_ = count == 0 ? std::numeric_limits<uint64_t>::max() : count * each;
  if (is_open_loop()) {  // the pacer's last tick takes the place of SlotIdle
    pacer_ = std::make_unique<Pacer>(
        options_.starts_per_second, count,
        [this](std::optional<Clock::time_point> due) { Send([this, due] { StartDue(due); }); });
    return;
  }
  const size_t slots = pass == Pass::kRaise ? options_.raise_in_flight : options_.in_flight;
  while (slots_.size() < slots) slots_.push_back(std::make_unique<Slot>(*this));
  {
    absl::MutexLock lock(&mutex_);
    active_slots_ += static_cast<int>(slots);
  }
  for (size_t i = 0; i < slots; ++i) slots_[i]->Next();
  SlotIdle();
}

void Driver::StartDue(std::optional<Clock::time_point> due) {
  if (!due) return SlotIdle();
  if (free_slots_.empty()) {
    slots_.push_back(std::make_unique<Slot>(*this));
    free_slots_.push_back(slots_.back().get());
  }
  Slot* slot = free_slots_.back();
  free_slots_.pop_back();
  {
    absl::MutexLock lock(&mutex_);
    ++active_slots_;
  }
  slot->NextDue(*due);
}

void Driver::Stop() {
  stop_ = true;
  if (!is_open_loop()) return;
  Send([this] {
    if (pacer_ != nullptr) pacer_->Stop();
  });
}

bool Driver::WaitEnded(Clock::time_point deadline) {
  absl::MutexLock lock(&mutex_);
  const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return failed_ || active_slots_ == 0;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&ended),
                                 absl::FromChrono(deadline - Clock::now()));
}

bool Driver::WaitEnded() { return WaitEnded(Clock::time_point::max()); }

bool Driver::WaitMark(Mark mark, int64_t count, Clock::time_point deadline) {
  absl::MutexLock lock(&mutex_);
  const auto reached = [this, mark, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return failed_ || (mark == Mark::kWaiting ? waiting_ : ended_) >= count;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&reached),
                                 absl::FromChrono(deadline - Clock::now()));
}

int64_t Driver::marked(Mark mark) const {
  absl::MutexLock lock(&mutex_);
  return mark == Mark::kWaiting ? waiting_ : ended_;
}

bool Driver::failed() const {
  absl::MutexLock lock(&mutex_);
  return failed_;
}

std::optional<absl::Time> Driver::WaitFirstItem() {
  absl::MutexLock lock(&mutex_);
  const auto come = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return failed_ || first_item_.has_value();
  };
  mutex_.Await(absl::Condition(&come));
  return first_item_;
}

void Driver::WaitFailed() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&failed_));
}

void Driver::Shutdown() {
  if (!thread_.joinable()) return;
  Send([this] { Close(); });
  thread_.join();
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

void Driver::Close() {
  closing_ = true;
  stop_ = true;
  if (pacer_ != nullptr) pacer_->Stop();
  for (const auto& stream : streams_) stream->Cancel();
  for (const auto& call : history_calls_) call->Cancel();
  for (const auto& slot : slots_) slot->Cancel();
}

// True when no operation is left in the queue.
bool Driver::Closed() {
  absl::MutexLock lock(&mutex_);
  return closing_ && commands_.empty() && open_streams_ == 0 && abandons_ == 0 && pauses_ == 0 &&
         active_slots_ == 0 && free_calls_.size() == calls_.size() &&
         free_history_calls_.size() == history_calls_.size();
}

WorkCounts Driver::work_counts() const {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  WorkCounts counts;
  counts.turns = turns_.load(kRelaxed);
  counts.streamed_turns = streamed_turns_.load(kRelaxed);
  counts.activities = activities_.load(kRelaxed);
  counts.batches = batches_.load(kRelaxed);
  counts.operations = operations_.load(kRelaxed);
  counts.generations = generations_.load(kRelaxed);
  counts.foreign = foreign_.load(kRelaxed);
  counts.pings = pings_.load(kRelaxed);
  for (const auto& stream : streams_) counts.stream_activities.push_back(stream->activities());
  return counts;
}

void Driver::Loop() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    static_cast<Tag*>(tag)->OnDone(ok);
    if (closing_ && Closed()) return;
  }
}

void Driver::PrepareContext(grpc::ClientContext& context) const {
  if (!options_.hub.empty()) context.AddMetadata("taskhub", options_.hub);
  if (!options_.token.empty()) context.AddMetadata("authorization", "Bearer " + options_.token);
}

void Driver::AddError(std::string text) {
  stop_ = true;
  if (pacer_ != nullptr) pacer_->Stop();
  ++results_.error_count;
  if (results_.errors.size() < kErrorsKept) results_.errors.push_back(std::move(text));
  absl::MutexLock lock(&mutex_);
  failed_ = true;
}

void Driver::NoteItem() {
  if (has_items_) return;
  has_items_ = true;
  absl::MutexLock lock(&mutex_);
  first_item_ = absl::Now();
}

void Driver::SlotIdle() {
  absl::MutexLock lock(&mutex_);
  --active_slots_;
}

void Driver::SlotDone(Slot& slot) {
  if (is_open_loop()) free_slots_.push_back(&slot);
  SlotIdle();
}

bool Driver::TakeNext(uint64_t& operation) {
  if (stop_ || next_operation_ >= end_operation_) return false;
  operation = next_operation_++;
  return true;
}

uint64_t Driver::InstanceOf(uint64_t operation) {
  if (pass_ == Pass::kRaise || pass_ == Pass::kCollect) {
    return batch_begin_ + operation % batch_size_;
  }
  records_.emplace_back();
  Bump(started_);
  return records_.size() - 1;
}

std::string Driver::InstanceId(uint64_t number) const { return absl::StrCat(id_prefix_, number); }

bool Driver::FindPlace(const std::string& id, Place& place) const {
  if (id.compare(0, id_prefix_.size(), id_prefix_) != 0) return false;
  const char* end = id.data() + id.size();
  const auto result = std::from_chars(id.data() + id_prefix_.size(), end, place.number);
  place.is_root = result.ptr == end;
  return result.ec == std::errc() && (place.is_root || *result.ptr == ':') &&
         place.number < records_.size();
}

bool Driver::IsOurs(const std::string& id, Place& place) {
  if (FindPlace(id, place)) return true;
  Bump(foreign_);
  return false;
}

bool Driver::IsAway(const grpc::Status& status) {
  if (!options_.reconnect) return false;
  const bool is_unavailable = status.error_code() == grpc::StatusCode::UNAVAILABLE;
  if (!is_unavailable && status.error_code() != grpc::StatusCode::CANCELLED) return false;
  ++(is_unavailable ? results_.unavailable : results_.cancelled);
  return true;
}

void Driver::EndActivity(Stub& worker, const WorkItem& item) {
  const ActivityRequest& request = item.activityrequest();
  Place place;
  const bool ours = IsOurs(request.orchestrationinstance().instanceid(), place);
  const absl::Status status = RunActivity(request, activity_answer_);
  if (!status.ok() && !ours) return AbandonCall::Send(*this, worker, item);
  if (!status.ok()) AddError(std::string(status.message()));
  if (ours) {
    Bump(activities_);
    ++records_[place.number].activities;
  }
  activity_answer_.set_completiontoken(item.completiontoken());
  TakeCall()->Send(worker, activity_answer_);
}

void Driver::EndTurn(Stub& worker, const WorkItem& item, Replay& replay, absl::Status status) {
  Place place;
  const bool ours = IsOurs(replay.instance_id(), place);
  if (status.ok()) status = replay.ApplyNew(item.orchestratorrequest().newevents());
  status = AnswerTurn(replay, status, turn_answer_);
  if (!status.ok() && !ours) return AbandonCall::Send(*this, worker, item);
  if (!status.ok()) AddError(std::string(status.message()));
  Reached reached;
  if (ours && status.ok()) {
    if (item.orchestratorrequest().requireshistorystreaming()) Bump(streamed_turns_);
    NoteTurn(replay, place, reached);
  }
  turn_answer_.set_completiontoken(item.completiontoken());
  TakeCall()->Send(worker, turn_answer_, reached);
}

void Driver::EndBatch(Stub& worker, const WorkItem& item) {
  const EntityRequest& request = item.entityrequestv2();
  const bool ours = absl::StartsWith(request.instanceid(), EntityPrefix(id_prefix_));
  if (!ours) Bump(foreign_);
  const absl::Status status = RunEntity(request, batch_answer_);
  if (!status.ok() && !ours) return AbandonCall::Send(*this, worker, item);
  if (!status.ok()) AddError(std::string(status.message()));
  if (ours) {
    Bump(batches_);
    Bump(operations_, request.operationrequests_size());
  }
  batch_answer_.set_completiontoken(item.completiontoken());
  TakeCall()->Send(worker, batch_answer_);
}

absl::StatusOr<EntityTotals> Driver::ReadEntities() const {
  QueryEntitiesRequest request;
  EntityQuery& query = *request.mutable_query();
  query.mutable_instanceidstartswith()->set_value(EntityPrefix(id_prefix_));
  query.set_includestate(true);
  EntityTotals all;
  QueryEntitiesResponse response;
  do {
    grpc::ClientContext context;
    PrepareContext(context);
    const absl::Duration timeout = absl::Seconds(options_.timeout_seconds);
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    response.Clear();
    const grpc::Status status = ClientOf(0).QueryEntities(&context, request, &response);
    if (!status.ok()) {
      return absl::UnavailableError(absl::StrCat("QueryEntities answered ", Describe(status)));
    }
    for (const EntityMetadata& entity : response.entities()) {
      EntityTotals totals;
      if (!DecodeTotals(entity.serializedstate().value(), totals)) {
        return absl::DataLossError(absl::StrCat(entity.instanceid(), " has the state ",
                                                Shown(entity.serializedstate().value())));
      }
      all.operations += totals.operations;
      all.sum += totals.sum;
    }
    *query.mutable_continuationtoken() = response.continuationtoken();
  } while (!response.continuationtoken().value().empty());
  return all;
}

void Driver::NoteTurn(const Replay& replay, const Place& place, Reached& reached) {
  Bump(turns_);
  if (const auto due_us = replay.fired_due_us()) {
    const auto late_us = absl::ToUnixMicros(absl::Now()) - *due_us;
    results_.lateness_ms.push_back(static_cast<double>(late_us) / 1000);
  }
  reached.number = place.number;
  const CompleteOrchestrationAction* completion = FindCompletion(turn_answer_);
  if (completion == nullptr) {
    if (place.is_root && replay.is_first_turn()) reached.mark = Mark::kWaiting;
    return;
  }
  Bump(generations_);
  if (completion->orchestrationstatus() == ORCHESTRATION_STATUS_CONTINUED_AS_NEW) return;
  ++records_[place.number].instances_ended;
  if (place.is_root) reached.mark = Mark::kEnded;
}

void Driver::Reach(const Reached& reached) {
  if (!reached.mark || pass_ == Pass::kStartAndWait) return;
  Record& record = records_[reached.number];
  const bool is_end = *reached.mark == Mark::kEnded;
  bool& already = is_end ? record.ended : record.waiting;
  if (already) return;
  already = true;
  if (is_end) results_.completions.push_back({Clock::now(), std::nullopt});
  absl::MutexLock lock(&mutex_);
  ++(is_end ? ended_ : waiting_);
}

Driver::CompleteCall* Driver::TakeCall() {
  if (free_calls_.empty()) {
    calls_.push_back(std::make_unique<CompleteCall>(*this));
    return calls_.back().get();
  }
  CompleteCall* call = free_calls_.back();
  free_calls_.pop_back();
  return call;
}

Driver::HistoryCall* Driver::TakeHistoryCall() {
  if (free_history_calls_.empty()) {
    history_calls_.push_back(std::make_unique<HistoryCall>(*this));
    return history_calls_.back().get();
  }
  HistoryCall* call = free_history_calls_.back();
  free_history_calls_.pop_back();
  return call;
}

}  // namespace dt::bench
