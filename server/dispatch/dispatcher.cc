#include "server/dispatch/dispatcher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/dispatch/item_log_fields.h"
#include "spdlog/spdlog.h"

namespace dt::dispatch {
namespace {

// A stream that has left so much unread is ended when memory is scarce.
constexpr int64_t kUnreadBytesWhenScarce = 1 << 20;

absl::Status ShuttingDown() { return absl::UnavailableError("the server is shutting down"); }

void LogLines(const StreamLog::Lines& lines) {
  for (const std::string& line : lines) spdlog::info("{}", line);
}

}  // namespace

Dispatcher::Dispatcher(DispatchLimits limits, orchestration::IdSource* ids, uint64_t seed,
                       metrics::Metrics* metrics)
    : step_(std::move(limits), ids, seed, metrics),
      matcher_(&step_),
      retries_(&step_),
      claimer_(&step_, &matcher_, &retries_),
      releases_(&step_, &claimer_, &retries_),
      residency_(&step_, &matcher_, &claimer_, &releases_, &retries_),
      mail_(&step_, &matcher_, &claimer_, &residency_),
      waiters_(&step_),
      unaccepted_(step_.limits),
      activities_(&step_, &matcher_, &releases_, &retries_, &residency_, &mail_, &unaccepted_),
      commits_(&step_, &matcher_, &claimer_, &retries_, &residency_, &mail_, &activities_,
               &waiters_),
      turns_(&step_, &matcher_, &claimer_, &retries_, &residency_, &mail_, &commits_, &waiters_,
             &unaccepted_),
      entity_turns_(&step_, &matcher_, &residency_, &commits_, &unaccepted_),
      starts_(&step_, &matcher_, &claimer_, &residency_, &mail_, &turns_),
      sweeps_(&step_, &matcher_, &claimer_),
      fleet_(&step_, &matcher_) {}

void Dispatcher::Step(std::vector<Event>& events, absl::Time now, absl::Time steady,
                      std::vector<Effect>& effects) {
  step_.Begin(now, steady, &effects);
  for (Event& event : events) {
    std::visit([this](auto& alternative) { On(alternative); }, event);
  }
  events.clear();
  OnTime();
  Settle();
}

// --- Time

void Dispatcher::OnTime() {
  residency_.OnTime();
  while (Item* lost = matcher_.TakeExpired()) {
    Matcher::CountAbandon(*lost, metrics::Abandon::kExpired);
    Lose(*lost, /*charged=*/true);
  }
  turns_.ExpireResults();
  matcher_.OnTime();
  waiters_.OnTime();
  LogLines(stream_log_.OnTime(step_.steady));
  if (step_.leasing()) unaccepted_.OnTime(step_.steady, matcher_.table(), step_.effects());
  claimer_.OnTime();
  sweeps_.OnTime();
  fleet_.OnTime(residency_.table().size(), activities_.table().size());
  retries_.OnTime();
}

void Dispatcher::Settle() {
  // Sending may end turns without a worker (poison, nothing to run), which marks hubs again.
  while (Hub* hub = matcher_.TakeDirty()) {
    if (!step_.draining) {
      matcher_.Pump(*hub, WorkType::kTurn,
                    [this](Item& item) { return turns_.Offer(static_cast<Resident&>(item)); });
      matcher_.Pump(*hub, WorkType::kActivity,
                    [this](Item& item) { return activities_.Offer(static_cast<HeldTask&>(item)); });
      matcher_.Pump(*hub, WorkType::kEntity, [this](Item& item) {
        return entity_turns_.Offer(static_cast<Resident&>(item));
      });
    }
    if (!step_.leasing()) continue;
    for (const WorkType type : kAllWorkTypes) claimer_.Start(*hub, type);
  }
  while (Item* orphan = releases_.TakeOrphan()) Release(*orphan);
  residency_.MakeRoom();
  mail_.Poll();
  step_.metrics.residents.Set(static_cast<int64_t>(residency_.table().size()));
}

absl::Time Dispatcher::NextDue() { return residency_.table().next_due(); }

absl::Time Dispatcher::NextDeadline() {
  const absl::Time next =
      std::min({residency_.table().next_idle(), residency_.results().NextDeadline(),
                matcher_.NextDeadline(), waiters_.NextDeadline(), stream_log_.NextDeadline(),
                retries_.NextDeadline(), fleet_.NextDeadline()});
  if (!step_.leasing()) return next;
  return std::min({next, mail_.NextDeadline(), sweeps_.NextDeadline(), unaccepted_.NextDeadline(),
                   claimer_.NextDeadline()});
}

// --- Streams

void Dispatcher::On(StreamOpened& event) {
  if (step_.ended) {
    step_.Do(FinishStream{std::move(event.sink), ShuttingDown()});
    return;
  }
  Stream* stream = matcher_.table().Open(event.stream, std::move(event.options),
                                         std::move(event.sink), step_.steady);
  matcher_.OnOpened();
  fleet_.StreamsChanged();
  unaccepted_.Begin(step_.steady);
  activities_.RequeueHeldBack(*stream->hub);
  for (Item* orphan : releases_.TakeOrphans()) Reconsider(*orphan);
  matcher_.MarkDirty(*stream->hub);
  const LogFields fields = LogFieldsOf(stream->options);
  LogLines(stream_log_.Opened(stream->options, step_.steady));
}

void Dispatcher::On(StreamClosed& event) {
  std::vector<Matcher::Lost> lost;
  const std::unique_ptr<Stream> stream = matcher_.Close(event.stream, &lost);
  if (stream == nullptr) return;
  fleet_.StreamsChanged();
  const LogFields fields = LogFieldsOf(stream->options);
  LogLines(stream_log_.Closed(stream->options, event.reason, step_.steady));
  for (const auto& [item, charged] : lost) {
    Matcher::CountAbandon(*item, metrics::Abandon::kStream);
    Lose(*item, charged);
  }
  Hub& hub = *stream->hub;
  for (Resident* resident : residency_.table().All()) {
    if (resident->hub == &hub && resident->route->streams.empty()) residency_.Reconsider(*resident);
  }
  for (HeldTask* held : activities_.table().All()) {
    const bool queued = held->phase == HeldTask::Phase::kQueued;
    if (queued && held->route->streams.empty()) activities_.Requeue(*held);
  }
  activities_.RequeueHeldBack(hub);
  matcher_.MarkDirty(hub);
}

void Dispatcher::EndStream(StreamId id, absl::Status status) {
  std::shared_ptr<WorkItemSink> sink = matcher_.table().Find(id)->sink;
  StreamClosed closed{id, std::string(status.message())};
  On(closed);
  step_.Do(FinishStream{std::move(sink), std::move(status)});
}

void Dispatcher::EndStreamsOf(Hub& hub) {
  Claimer::ForgetDoubts(hub);
  if (hub.streams.empty()) return;
  const LogFields fields({{log_field::kTaskHub, hub.name}});
  spdlog::warn("task hub '{}' was deleted: the {} worker streams that were open for it end here",
               hub.name, hub.streams.size());
  std::vector<StreamId> open;
  for (const Stream* stream : hub.streams) open.push_back(stream->id);
  for (const StreamId id : open) {
    EndStream(id, absl::NotFoundError(absl::StrCat("Task hub not found: ", hub.name)));
  }
}

void Dispatcher::Lose(Item& item, bool charged) {
  switch (item.type) {
    case WorkType::kTurn:
      return turns_.Lose(static_cast<Resident&>(item), charged);
    case WorkType::kEntity:
      return entity_turns_.Lose(static_cast<Resident&>(item), charged);
    case WorkType::kActivity:
      return activities_.Lose(static_cast<HeldTask&>(item), charged);
  }
}

void Dispatcher::Release(Item& orphan) {
  if (orphan.type != WorkType::kActivity) {
    residency_.Drop(static_cast<Resident&>(orphan), /*release=*/true);
  } else {
    activities_.Drop(static_cast<HeldTask&>(orphan), /*release=*/true);
  }
}

void Dispatcher::Reconsider(Item& orphan) {
  if (orphan.type != WorkType::kActivity) {
    residency_.Reconsider(static_cast<Resident&>(orphan));
  } else {
    activities_.Queue(static_cast<HeldTask&>(orphan));
  }
}

void Dispatcher::On(Abandoned& event) {
  switch (event.type) {
    case WorkType::kTurn:
      return turns_.On(event);
    case WorkType::kEntity:
      return entity_turns_.On(event);
    case WorkType::kActivity:
      return activities_.On(event);
  }
}

// --- Clients

void Dispatcher::On(ClientDelivered& event) {
  if (!event.result.ok()) {
    mail_.ReadAgain(event.hub, event.instance_id);
    return;
  }
  mail_.Apply(event.hub, *event.result, event.message);
  if (event.result->outcome == DeliveryOutcome::kDone) {
    matcher_.CountEnd(event.hub, RuntimeStatus::kTerminated);
    waiters_.Changed(event.hub, event.instance_id, RuntimeStatus::kTerminated);
  }
}

void Dispatcher::On(WaitAsked& event) {
  if (step_.draining) {
    step_.Do(AnswerWait{std::move(event.done), ShuttingDown()});
    return;
  }
  const Resident* resident = residency_.FindById(event.hub, event.instance_id);
  std::optional<RuntimeStatus> known;
  // What a resident says may be what did not hold when the store was read.
  if (resident != nullptr && !event.so_far.has_value()) known = resident->state.status;
  waiters_.Add(std::move(event), known);
}

// --- The process

void Dispatcher::On(Registered& event) {
  // Every lease of an earlier registration is gone, so nothing is released.
  step_.worker = event.worker;
  for (Resident* resident : residency_.table().All()) residency_.Drop(*resident, false);
  for (HeldTask* held : activities_.table().All()) activities_.Drop(*held, false);
  claimer_.Reset();
  mail_.Reset();
  sweeps_.Reset();
  fleet_.StreamsChanged();
}

void Dispatcher::On(Woken& event) {
  Hub* hub = matcher_.table().FindHub(event.hub);
  if (hub == nullptr) return;  // nothing of it is here, and no worker for it
  mail_.Hinted();
  claimer_.Hinted(*hub);
}

void Dispatcher::On(WaitsHinted& event) {
  // Who has not heard what is awaited has just begun, or was away.
  if (event.hints.kind == WaitHintKind::kTellAgain ||
      event.hints.kind == WaitHintKind::kWorkersChanged) {
    sweeps_.Soon();
  }
  waiters_.On(event);
}

void Dispatcher::On(InstanceReleased& event) {
  if (event.result.ok()) waiters_.Released(event.release.hub, event.release.instance_id);
  releases_.On(event);
}

void Dispatcher::On(Swept& event) {
  if (event.result.ok()) {
    waiters_.remote().SetOthers(event.result->workers > 1);
    fleet_.SetOthers(event.result->workers - 1, std::move(event.result->others));
  }
  sweeps_.On(event);
}

void Dispatcher::On(MemoryScarce& event) {
  step_.work.SetScarce(event.scarce);
  if (!event.scarce) return;
  // What waits for them may be of items that were lost long ago, and that nobody counts any more.
  std::vector<StreamId> unread;
  for (const auto& [id, stream] : matcher_.table().streams()) {
    if (stream->sink->UnreadBytes() >= kUnreadBytesWhenScarce) unread.push_back(id);
  }
  for (const StreamId id : unread) {
    EndStream(id,
              absl::ResourceExhaustedError(absl::StrCat(
                  "the daemon has used up its memory (memory.bytes-max), and this worker has "
                  "left ",
                  matcher_.table().Find(id)->sink->UnreadBytes(), " bytes of work items unread")));
  }
}

void Dispatcher::On(DrainBegun&) {
  step_.draining = true;
  waiters_.EndAll(ShuttingDown());
  // What is not at a worker is given back now, so that others go on with it.
  for (Resident* resident : residency_.table().All()) {
    if (resident->phase == Resident::Phase::kIdle || resident->phase == Resident::Phase::kReady) {
      residency_.Drop(*resident, /*release=*/true);
    }
  }
  for (HeldTask* held : activities_.table().All()) {
    if (held->phase == HeldTask::Phase::kQueued || held->phase == HeldTask::Phase::kSetAside) {
      activities_.Drop(*held, /*release=*/true);
    }
  }
}

void Dispatcher::On(DrainEnded&) {
  step_.draining = true;
  step_.ended = true;
  std::vector<StreamId> open;
  for (const auto& [id, stream] : matcher_.table().streams()) open.push_back(id);
  for (const StreamId id : open) {
    std::vector<Matcher::Lost> lost;  // all are dropped below
    step_.Do(FinishStream{matcher_.Close(id, &lost)->sink, ShuttingDown()});
  }
  for (Resident* resident : residency_.table().All()) {
    if (resident->phase != Resident::Phase::kCommitting) residency_.Drop(*resident, true);
  }
  for (HeldTask* held : activities_.table().All()) {
    if (held->phase != HeldTask::Phase::kCompleting) activities_.Drop(*held, true);
  }
}

// --- Answers of the store

void Dispatcher::On(InstancesClaimed& event) {
  const bool recovered = claimer_.arrivals().EndRecovery(event.token);
  if (!event.result.ok()) {
    ClaimFailed(event.hub, event.token, event.type, event.result.status(), recovered);
    return;
  }
  claimer_.Succeeded(event.hub, event.token, event.type);
  for (Claim& claim : event.result->claims) residency_.Adopt(std::move(claim));
  claimer_.End(event.token, event.result->groups, /*failed=*/false);
}

void Dispatcher::On(TasksClaimed& event) {
  const bool recovered = claimer_.arrivals().EndRecovery(event.token);
  if (!event.result.ok()) {
    ClaimFailed(event.hub, event.token, WorkType::kActivity, event.result.status(), recovered);
    return;
  }
  claimer_.Succeeded(event.hub, event.token, WorkType::kActivity);
  for (ActivityTask& task : event.result->tasks) activities_.Hold(std::move(task));
  claimer_.End(event.token, event.result->groups, /*failed=*/false);
}

void Dispatcher::ClaimFailed(HubId hub, LeaseToken token, WorkType type, const absl::Status& status,
                             bool recovered) {
  const bool gone = claimer_.Failed(hub, token, type, status, recovered);
  Hub* known = matcher_.table().FindHub(hub);
  if (gone && known != nullptr) EndStreamsOf(*known);
}

void Dispatcher::On(TaskEnded& event) {
  --step_.commits_in_flight;
  const bool in_turn = event.context->unstored_seq != 0 && turns_.SettleBeside(event);
  activities_.On(event, in_turn);
}

void Dispatcher::On(UnacceptedFound& event) {
  if (event.result.ok()) {
    for (std::vector<WaitingWork>* found :
         {&event.result->turns, &event.result->tasks, &event.result->entities}) {
      for (WaitingWork& work : *found) work.since += step_.steady - step_.now;
    }
  }
  unaccepted_.OnFound(event, matcher_.table().FindHub(event.search.hub), step_.steady);
}

// --- What is asked from outside of a step

int Dispatcher::in_flight() const {
  return matcher_.items_in_flight() + step_.commits_in_flight + starts_.in_flight();
}

bool Dispatcher::quiet() const {
  return matcher_.items_in_flight() == 0 && step_.commits_in_flight == 0;
}

bool Dispatcher::released() const {
  return releases_.in_flight() == 0 && starts_.in_flight() == 0 && step_.commits_in_flight == 0 &&
         retries_.empty();
}

Dispatcher::Counts Dispatcher::Count() {
  Counts counts;
  const ResidentTable& residents = residency_.table();
  counts.residents = residents.size();
  counts.held_tasks = activities_.table().size();
  counts.streams = matcher_.table().streams().size();
  counts.waits = waiters_.size();
  counts.deadlines = residency_.results().holds() + waiters_.deadlines() + residents.idle();
  counts.resident_bytes = residents.bytes();
  counts.work_bytes = step_.work.total();
  counts.items_in_flight = matcher_.items_in_flight();
  return counts;
}

}  // namespace dt::dispatch
