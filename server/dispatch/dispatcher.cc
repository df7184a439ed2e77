// Events of streams and of the process, time, and the choice of a stream for an item.
#include "server/dispatch/dispatcher.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"

namespace dt::dispatch {
namespace {

// How many items of one route are looked at for one that a stream may have, when the first ones are
// still in the back-off of the only streams with credits.
constexpr int kRouteLookahead = 32;
constexpr size_t kBackoffsPerStreamMax = 10000;
// A stream that has left so much unread is ended when memory is scarce.
constexpr int64_t kUnreadBytesWhenScarce = 1 << 20;

}  // namespace

Dispatcher::Dispatcher(DispatchLimits limits, orchestration::IdSource* ids, uint64_t seed)
    : limits_(std::move(limits)),
      ids_(ids),
      random_(static_cast<std::minstd_rand::result_type>(seed % 2147483646 + 1)),
      table_(limits_.stream_items_default),
      work_(limits_.work_bytes_max),
      residents_(&work_),
      waiters_(limits_),
      unaccepted_(limits_),
      holds_{Holds([this](int64_t key, int64_t dispatch) {
               const Resident* resident = residents_.Find(key);
               return resident != nullptr && resident->phase == Resident::Phase::kDispatched &&
                      resident->dispatch == dispatch;
             }),
             Holds([this](int64_t key, int64_t dispatch) {
               const HeldTask* held = FindTask(key);
               return held != nullptr && held->phase == HeldTask::Phase::kDispatched &&
                      held->dispatch == dispatch;
             })} {}

void Dispatcher::Step(std::vector<Event>& events, absl::Time now, absl::Time steady,
                      std::vector<Effect>& effects) {
  now_ = std::max(now_, now);
  steady_ = steady;
  effects_ = &effects;
  for (Event& event : events) {
    std::visit([this](auto& alternative) { On(alternative); }, event);
  }
  events.clear();
  OnTime();
  Settle();
  effects_ = nullptr;
}

absl::Duration Dispatcher::Jittered(absl::Duration duration) {
  return duration * std::uniform_real_distribution<double>(0.8, 1.2)(random_);
}

LeaseToken Dispatcher::NewToken() { return MakeLeaseToken(worker_, ++last_token_); }

void Dispatcher::Reply(DoneCallback& done, absl::Status status) {
  if (done != nullptr) effects_->push_back(Answer{std::move(done), std::move(status)});
  done = nullptr;
}

void Dispatcher::MarkDirty(Hub& hub) {
  if (hub.dirty) return;
  hub.dirty = true;
  dirty_.push_back(&hub);
}

void Dispatcher::Settle() {
  // Sending may end turns without a worker (poison, nothing to run), which marks hubs again.
  while (!dirty_.empty()) {
    Hub& hub = *dirty_.back();
    dirty_.pop_back();
    hub.dirty = false;
    for (WorkType type : {WorkType::kTurn, WorkType::kActivity}) Pump(hub, type);
    if (!leasing()) continue;
    for (WorkType type : {WorkType::kTurn, WorkType::kActivity}) StartClaim(hub, type);
  }
  ReleaseOrphans();
  while (residents_.bytes() > limits_.resident_bytes_max || work_.scarce()) {
    Resident* idle = residents_.TakeIdle(steady_, /*any=*/true);
    if (idle == nullptr) break;
    Drop(*idle, /*release=*/true);
  }
  PollNewMessages();
}

void Dispatcher::OnTime() {
  while (Resident* due = residents_.TakeDue(now_)) Reconsider(*due);
  while (Resident* idle = residents_.TakeIdle(steady_, /*any=*/false))
    Drop(*idle, /*release=*/true);
  ExpireHolds();
  ExpireResults();
  PingStreams();
  waiters_.OnTime(steady_, *effects_);
  LogLines(stream_log_.OnTime(steady_));
  if (large_items_.OnTime(steady_)) {
    for (const auto& [id, hub] : table_.hubs()) MarkDirty(*hub);
  }
  if (leasing()) unaccepted_.OnTime(steady_, table_, *effects_);
  for (const auto& [id, hub] : table_.hubs()) {
    for (auto& pool : hub->pools) {
      if (!pool->claiming && pool->next_claim <= steady_) MarkDirty(*hub);
    }
  }
  if (next_sweep_ <= steady_ && !sweeping_ && leasing()) {
    sweeping_ = true;
    effects_->push_back(Sweep{});
  }
  for (size_t i = 0; i < retries_.size();) {
    if (retries_[i].first > steady_) {
      ++i;
      continue;
    }
    effects_->push_back(std::move(retries_[i].second));
    retries_[i] = std::move(retries_.back());
    retries_.pop_back();
  }
}

absl::Time Dispatcher::SteadyOf(absl::Time due) const {
  return due <= now_ ? steady_ : steady_ + (due - now_);
}

absl::Time Dispatcher::NextDue() const { return residents_.next_due(); }

absl::Time Dispatcher::NextDeadline() const {
  absl::Time next = std::min({residents_.next_idle(), next_ping_, waiters_.NextDeadline()});
  for (const auto& holds : holds_) next = std::min(next, holds.next());
  next = std::min(
      {next, result_holds_.next(), stream_log_.NextDeadline(), large_items_.NextDeadline()});
  for (const auto& [at, effect] : retries_) next = std::min(next, at);
  if (!leasing()) return next;
  if (!reading_new_messages_ && residents_.size() > 0) next = std::min(next, next_read_);
  if (!sweeping_) next = std::min(next, next_sweep_);
  next = std::min(next, unaccepted_.NextDeadline());
  for (const auto& [id, hub] : table_.hubs()) {
    for (const auto& pool : hub->pools) {
      // What becomes due during a claim waits for its end, which is an event.
      if (!hub->claiming[Index(pool->type)] && pool->free() > 0) {
        next = std::min(next, std::max(pool->next_claim, ClaimAfter(*hub, pool->type)));
      }
    }
  }
  return next;
}

void Dispatcher::ExpireHolds() {
  while (const std::optional<int64_t> key = holds_[Index(WorkType::kTurn)].Take(steady_)) {
    Resident& resident = *residents_.Find(*key);
    FreeCredit(resident.stream, WorkType::kTurn, *key);
    LoseTurn(resident);
  }
  while (const std::optional<int64_t> key = holds_[Index(WorkType::kActivity)].Take(steady_)) {
    HeldTask& held = *FindTask(*key);
    FreeCredit(held.stream, WorkType::kActivity, *key);
    LoseTask(held);
  }
}

void Dispatcher::PingStreams() {
  if (next_ping_ > steady_) return;
  next_ping_ = absl::InfiniteFuture();
  for (const auto& [id, stream] : table_.streams()) {
    if (stream->last_write + limits_.health_ping_interval <= steady_) {
      Send(*stream, orchestration::EncodeHealthPing());
    }
    next_ping_ = std::min(next_ping_, stream->last_write + limits_.health_ping_interval);
  }
}

void Dispatcher::Send(Stream& stream, orchestration::Frame frame) {
  stream.last_write = steady_;
  effects_->push_back(WriteItem{stream.sink, std::move(frame)});
}

// --- Credits

void Dispatcher::TakeCredit(Stream& stream, WorkType type, int64_t key) {
  ++stream.credits[Index(type)].in_flight;
  stream.in_flight[Index(type)].insert(key);
  stream.last_dispatch = last_dispatch_;
  ++items_in_flight_;
  StartHold(type, key, last_dispatch_);
}

void Dispatcher::StartHold(WorkType type, int64_t key, int64_t dispatch) {
  const absl::Duration hold_max =
      type == WorkType::kTurn ? limits_.orchestration_hold_max : limits_.activity_hold_max;
  if (hold_max > absl::ZeroDuration()) holds_[Index(type)].Begin(key, dispatch, steady_ + hold_max);
}

void Dispatcher::FreeCredit(StreamId id, WorkType type, int64_t key) {
  --items_in_flight_;
  holds_[Index(type)].End();
  Stream* stream = table_.Find(id);
  if (stream == nullptr) return;
  --stream->credits[Index(type)].in_flight;
  stream->in_flight[Index(type)].erase(key);
  if (stream->trial.has_value()) large_items_.Answered(*stream, {type, key});
  MarkDirty(*stream->hub);
}

std::optional<Reservation> Dispatcher::Reserve(Hub& hub, WorkType type, const std::string& name,
                                               const Payload& version, const SharedBytes& data) {
  if (!leasing() || hub.streams.empty() || work_.Room(hub.work_bytes) == 0) return std::nullopt;
  const Route& route = *table_.RouteOf(hub, type, name, version);
  Stream* best = nullptr;
  int64_t free_credits = 0;
  for (Stream* stream : route.streams) {
    const int free = stream->credits[Index(type)].free();
    if (free <= 0) continue;
    free_credits += free;
    if (best == nullptr || free > best->credits[Index(type)].free()) best = stream;
  }
  // A credit is not promised to new work while older work waits for it.
  if (free_credits <= route.waiting()) return std::nullopt;
  ++best->credits[Index(type)].reserved;
  const Reservation reservation{best->id, type, hub.id, static_cast<int64_t>(data->size())};
  work_.Add(hub.work_bytes, reservation.bytes);
  return reservation;
}

void Dispatcher::Unreserve(const Reservation& reservation) {
  work_.Add(table_.HubOf(reservation.hub)->work_bytes, -reservation.bytes);
  Stream* stream = table_.Find(reservation.stream);
  if (stream == nullptr) return;
  --stream->credits[Index(reservation.type)].reserved;
  MarkDirty(*stream->hub);
}

Stream* Dispatcher::Choose(const Route& route, const Offered& offered, bool* all_gave_back) {
  Stream* best = nullptr;
  *all_gave_back = !route.streams.empty();
  for (Stream* stream : route.streams) {
    if (stream->BackoffUntil(route.type, offered.key) > steady_) continue;
    *all_gave_back = false;
    const Credits& credits = stream->credits[Index(route.type)];
    if (credits.in_flight >= credits.max || LargeItems::OnTrial(*stream, steady_)) continue;
    const bool streams_history = offered.streams_history && stream->options.history_streaming;
    const int64_t bytes = streams_history ? offered.streamed_bytes : offered.bytes;
    if (LargeItems::IsLargeFor(*stream, bytes) && !offered.overdue && !IsQuiet(*stream)) continue;
    const auto rank = [&](const Stream& candidate) {
      return std::make_tuple(!route.misspelling.empty() && route.misspelling.contains(&candidate),
                             offered.streams_history && !candidate.options.history_streaming,
                             candidate.unanswered(), candidate.last_dispatch);
    };
    if (best == nullptr || rank(*stream) < rank(*best)) best = stream;
  }
  return best;
}

bool Dispatcher::IsQuiet(const Stream& stream) {
  if (stream.unanswered() > 0) return false;
  const auto waits_for_it = [&stream](const Route* route) {
    return std::find(route->streams.begin(), route->streams.end(), &stream) != route->streams.end();
  };
  for (const Route* route : stream.hub->waiting[Index(WorkType::kTurn)]) {
    if (!waits_for_it(route)) continue;
    for (const auto& [at, seq, key] : route->ready) {
      if (residents_.Find(key)->bytes <= LargeItems::kReceiveBytes) return false;
    }
  }
  for (const Route* route : stream.hub->waiting[Index(WorkType::kActivity)]) {
    if (!waits_for_it(route)) continue;
    for (const auto& [rank, key] : route->tasks.entries()) {
      const auto bytes = static_cast<int64_t>(FindTask(key)->task.request->size());
      if (bytes <= LargeItems::kReceiveBytes) return false;
    }
  }
  return true;
}

void Dispatcher::NoteSent(Stream& stream, WorkType type, int64_t key, int64_t bytes) {
  if (LargeItems::IsLargeFor(stream, bytes)) large_items_.Sent(stream, {type, key}, bytes, steady_);
}

bool Dispatcher::InTrial(const Stream& stream, WorkType type, int64_t key) const {
  return LargeItems::OnTrial(stream, steady_) && stream.trial->type == type &&
         stream.trial->key == key;
}

absl::Time Dispatcher::AddBackoff(Stream& stream, WorkType type, int64_t key) {
  if (stream.abandoned.size() >= kBackoffsPerStreamMax) {
    absl::erase_if(stream.abandoned, [this](const auto& entry) {
      return entry.second.until + limits_.abandon_delay_max < steady_;
    });
  }
  AbandonBackoff& backoff = stream.abandoned[{type, key}];
  const int doublings = std::min(backoff.count++, 30);
  backoff.until = steady_ + std::min(limits_.abandon_delay_max,
                                     limits_.abandon_delay_min * (int64_t{1} << doublings));
  return backoff.until;
}

// --- Sending

void Dispatcher::List(Route& route) {
  MarkDirty(*route.hub);
  if (route.listed) return;
  route.listed = true;
  ++route.users;
  route.hub->waiting[Index(route.type)].push_back(&route);
}

void Dispatcher::Pump(Hub& hub, WorkType type) {
  if (draining_) return;
  while (DispatchNext(hub, type)) {
  }
  std::vector<Route*>& waiting = hub.waiting[Index(type)];
  for (size_t i = 0; i < waiting.size();) {
    Route* route = waiting[i];
    if (!route->empty()) {
      ++i;
      continue;
    }
    route->listed = false;
    waiting[i] = waiting.back();
    waiting.pop_back();
    table_.Leave(route);
  }
}

bool Dispatcher::DispatchNext(Hub& hub, WorkType type) {
  // The route whose first item has waited for longest goes first; routes are few.
  std::vector<Route*>& waiting = hub.waiting[Index(type)];
  if (type == WorkType::kTurn && waiting.size() > 1) {
    std::sort(waiting.begin(), waiting.end(), [](const Route* a, const Route* b) {
      if (a->ready.empty() || b->ready.empty()) return b->ready.empty() && !a->ready.empty();
      return *a->ready.begin() < *b->ready.begin();
    });
  }
  if (type == WorkType::kActivity && waiting.size() > 1) {
    std::rotate(waiting.begin(), waiting.begin() + 1, waiting.end());
  }
  for (Route* route : waiting) {
    if (!route->empty() && DispatchFrom(*route)) return true;
  }
  return false;
}

bool Dispatcher::DispatchFrom(Route& route) {
  const bool any_credit =
      std::any_of(route.streams.begin(), route.streams.end(), [&route](const Stream* stream) {
        const Credits& credits = stream->credits[Index(route.type)];
        return credits.in_flight < credits.max;
      });
  if (!any_credit) return false;
  const int64_t front = route.type == WorkType::kTurn ? std::get<2>(*route.ready.begin())
                                                      : route.tasks.entries().begin()->second;
  if (Offer(route, front)) return true;
  // Handling an item changes the queue; so the keys are taken out of it first.
  std::vector<int64_t> keys;
  for (auto it = route.ready.begin(); it != route.ready.end() && keys.size() < kRouteLookahead;
       ++it) {
    keys.push_back(std::get<2>(*it));
  }
  const auto& tasks = route.tasks.entries();
  for (auto it = tasks.begin(); it != tasks.end() && keys.size() < kRouteLookahead; ++it) {
    keys.push_back(it->second);
  }
  return std::any_of(keys.begin(), keys.end(),
                     [this, &route](int64_t key) { return Offer(route, key); });
}

bool Dispatcher::Offer(const Route& route, int64_t key) {
  bool all_gave_back = false;
  if (route.type == WorkType::kTurn) {
    Resident& resident = *residents_.Find(key);
    Stream* stream = Choose(route, OfferOf(resident), &all_gave_back);
    return OfferTurn(resident, stream, all_gave_back);
  }
  HeldTask& held = *FindTask(key);
  Stream* stream = Choose(route, OfferOf(held), &all_gave_back);
  return OfferTask(held, stream, all_gave_back);
}

// --- Streams

void Dispatcher::LogLines(const StreamLog::Lines& lines) {
  for (const std::string& line : lines) spdlog::info("{}", line);
}

void Dispatcher::On(StreamOpened& event) {
  if (ended_) {
    effects_->push_back(
        FinishStream{std::move(event.sink), absl::UnavailableError("the server is shutting down")});
    return;
  }
  Stream* stream =
      table_.Open(event.stream, std::move(event.options), std::move(event.sink), steady_);
  next_ping_ = std::min(next_ping_, steady_ + limits_.health_ping_interval);
  unaccepted_.Begin(steady_);
  RequeueHeldBack(*stream->hub);
  ReconsiderOrphans();
  MarkDirty(*stream->hub);
  LogLines(stream_log_.Opened(stream->options, steady_));
}

void Dispatcher::On(StreamClosed& event) {
  std::unique_ptr<Stream> stream = table_.Close(event.stream);
  if (stream == nullptr) return;
  LogLines(stream_log_.Closed(stream->options, event.reason, steady_));
  Hub& hub = *stream->hub;
  // A large item that has just been sent is what the stream ended at.
  const bool on_trial = LargeItems::OnTrial(*stream, steady_);
  if (on_trial) {
    large_items_.BrokeStream({stream->trial->type, stream->trial->key}, stream->trial->bytes,
                             steady_);
  }
  for (int64_t key : stream->in_flight[Index(WorkType::kTurn)]) {
    FreeCredit(stream->id, WorkType::kTurn, key);
    const bool charged = !on_trial || InTrial(*stream, WorkType::kTurn, key);
    if (Resident* resident = residents_.Find(key)) LoseTurn(*resident, charged);
  }
  for (int64_t key : stream->in_flight[Index(WorkType::kActivity)]) {
    FreeCredit(stream->id, WorkType::kActivity, key);
    const bool charged = !on_trial || InTrial(*stream, WorkType::kActivity, key);
    if (HeldTask* held = FindTask(key)) LoseTask(*held, charged);
  }
  for (Resident* resident : residents_.All()) {
    if (resident->hub == &hub && resident->route->streams.empty()) Reconsider(*resident);
  }
  for (auto& [key, held] : tasks_) {
    if (held->phase != HeldTask::Phase::kQueued || !held->route->streams.empty()) continue;
    held->route->tasks.Erase(held->task.instance_key, key);
    Orphan(*held);
  }
  RequeueHeldBack(hub);
  MarkDirty(hub);
}

// --- The process

void Dispatcher::On(Registered& event) {
  // Every lease of an earlier registration is gone, so nothing is released.
  worker_ = event.worker;
  for (Resident* resident : residents_.All()) Drop(*resident, /*release=*/false);
  std::vector<HeldTask*> held;
  for (auto& [key, task] : tasks_) held.push_back(task.get());
  for (HeldTask* task : held) DropTask(*task, /*release=*/false);
  held_back_.clear();
  orphans_.clear();
  early_.clear();
  early_keys_.clear();
  tokens_in_flight_.clear();
  suspects_.clear();
  awaiting_read_.clear();
  claims_.clear();
  for (const auto& [id, hub] : table_.hubs()) {
    for (auto& pool : hub->pools) {
      pool->claiming = false;
      pool->next_claim = absl::InfinitePast();
      pool->empty_claims = 0;
    }
    for (WorkType type : {WorkType::kTurn, WorkType::kActivity}) {
      hub->claiming[Index(type)] = false;
      hub->claim_in_doubt[Index(type)] = 0;
    }
    table_.DropUnusedPools(*hub);
    MarkDirty(*hub);
  }
  empty_reads_ = 0;
  reading_new_messages_ = false;
  next_read_ = steady_ + limits_.poll_min;
  sweeping_ = false;
  next_sweep_ = steady_;
}

void Dispatcher::On(Woken& event) {
  Hub* hub = table_.FindHub(event.hub);
  if (hub == nullptr) return;  // nothing of it is here, and no worker for it
  read_woken_at_ = std::min(read_woken_at_, vain_read_hints_.NextLook(steady_));
  next_read_ = std::min(next_read_, std::max(read_woken_at_, read_after_));
  for (WorkType type : {WorkType::kTurn, WorkType::kActivity}) {
    hub->hinted[Index(type)] = true;
    WorkFree(*hub, type, hub->vain_hints[Index(type)].NextLook(steady_));
  }
}

void Dispatcher::On(MemoryScarce& event) {
  work_.SetScarce(event.scarce);
  if (!event.scarce) return;
  // What waits for them may be of items that were lost long ago, and that nobody counts any more.
  std::vector<StreamId> unread;
  for (const auto& [id, stream] : table_.streams()) {
    if (stream->sink->UnreadBytes() >= kUnreadBytesWhenScarce) unread.push_back(id);
  }
  for (const StreamId id : unread) {
    EndStream(id, absl::ResourceExhaustedError(absl::StrCat(
                      "the daemon has used up its memory (memory.bytes-max), and this worker has "
                      "left ",
                      table_.Find(id)->sink->UnreadBytes(), " bytes of work items unread")));
  }
}

void Dispatcher::EndStream(StreamId id, absl::Status status) {
  std::shared_ptr<WorkItemSink> sink = table_.Find(id)->sink;
  StreamClosed closed{id, std::string(status.message())};
  On(closed);
  effects_->push_back(FinishStream{std::move(sink), std::move(status)});
}

void Dispatcher::On(DrainBegun&) {
  draining_ = true;
  waiters_.EndAll(absl::UnavailableError("the server is shutting down"), *effects_);
  // What is not at a worker is given back now, so that others go on with it.
  for (Resident* resident : residents_.All()) {
    if (resident->phase == Resident::Phase::kIdle || resident->phase == Resident::Phase::kReady) {
      Drop(*resident, /*release=*/true);
    }
  }
  std::vector<HeldTask*> waiting;
  for (auto& [key, task] : tasks_) {
    if (task->phase == HeldTask::Phase::kQueued || task->phase == HeldTask::Phase::kSetAside) {
      waiting.push_back(task.get());
    }
  }
  for (HeldTask* held : waiting) DropTask(*held, /*release=*/true);
}

void Dispatcher::On(DrainEnded&) {
  draining_ = true;
  ended_ = true;
  std::vector<StreamId> open;
  for (const auto& [id, stream] : table_.streams()) open.push_back(id);
  for (StreamId id : open) {
    std::unique_ptr<Stream> stream = table_.Close(id);
    effects_->push_back(
        FinishStream{stream->sink, absl::UnavailableError("the server is shutting down")});
  }
  for (Resident* resident : residents_.All()) {
    if (resident->phase != Resident::Phase::kCommitting) Drop(*resident, /*release=*/true);
  }
  std::vector<HeldTask*> held;
  for (auto& [key, task] : tasks_) {
    if (task->phase != HeldTask::Phase::kCompleting) held.push_back(task.get());
  }
  for (HeldTask* task : held) DropTask(*task, /*release=*/true);
}

Dispatcher::Counts Dispatcher::Count() const {
  Counts counts;
  counts.residents = residents_.size();
  counts.held_tasks = tasks_.size();
  counts.streams = table_.streams().size();
  counts.waits = waiters_.size();
  counts.deadlines = result_holds_.size() + waiters_.deadlines() + residents_.idle();
  for (const auto& holds : holds_) counts.deadlines += holds.size();
  counts.resident_bytes = residents_.bytes();
  counts.work_bytes = work_.total();
  counts.items_in_flight = items_in_flight_;
  return counts;
}

}  // namespace dt::dispatch
