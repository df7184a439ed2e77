#include "server/dispatch/matcher.h"

#include <algorithm>
#include <tuple>

namespace dt::dispatch {
namespace {

// How many items of one route are looked at for one that a stream may have, when the first ones are
// still in the back-off of the only streams with credits.
constexpr int kRouteLookahead = 32;
constexpr size_t kBackoffsPerStreamMax = 10000;

// Whether it is its share, and not its credits, that keeps a stream from taking on more.
bool IsHeldBack(const Credits& credits) {
  return credits.free() <= 0 && credits.share.limit() < credits.max;
}

}  // namespace

Matcher::Matcher(StepContext* step)
    : step_(*step), table_(step->limits.stream_items_default, &step->metrics.hubs) {}

void Matcher::MarkDirty(Hub& hub) {
  if (hub.dirty) return;
  hub.dirty = true;
  dirty_.push_back(&hub);
}

Hub* Matcher::TakeDirty() {
  if (dirty_.empty()) return nullptr;
  Hub* hub = dirty_.back();
  dirty_.pop_back();
  hub->dirty = false;
  return hub;
}

// --- Items that wait

void Matcher::Enqueue(Item& item, absl::Time at) {
  item.place = QueuePlace{absl::ToUnixMicros(at), item.number, &item};
  item.queued_since = at == absl::InfinitePast() ? step_.now : at;
  item.route->queue.insert(*item.place);
  List(*item.route);
}

void Matcher::EnqueueFairly(Item& item, InstanceKey instance) {
  const int64_t rank = item.route->ranks.Enter(instance);
  item.place = QueuePlace{rank, item.number, &item};
  item.queued_since = step_.now;
  item.route->queue.insert(*item.place);
  List(*item.route);
}

void Matcher::Dequeue(Item& item, InstanceKey instance) {
  if (!item.place.has_value()) return;
  item.route->queue.erase(*item.place);
  if (item.type == WorkType::kActivity) item.route->ranks.Leave(instance, item.place->rank);
  item.place.reset();
}

void Matcher::List(Route& route) {
  MarkDirty(*route.hub);
  if (route.listed) return;
  route.listed = true;
  ++route.users;
  route.hub->waiting[Index(route.type)].push_back(&route);
}

void Matcher::Pump(Hub& hub, WorkType type, Offer offer) {
  while (OfferNext(hub, type, offer)) {
  }
  std::vector<Route*>& waiting = hub.waiting[Index(type)];
  for (size_t i = 0; i < waiting.size();) {
    Route* route = waiting[i];
    if (!route->queue.empty()) {
      ++i;
      continue;
    }
    route->listed = false;
    waiting[i] = waiting.back();
    waiting.pop_back();
    table_.Leave(route);
  }
}

bool Matcher::OfferNext(Hub& hub, WorkType type, Offer offer) {
  // The route whose first item has waited for longest goes first; routes are few.
  std::vector<Route*>& waiting = hub.waiting[Index(type)];
  if (type != WorkType::kActivity && waiting.size() > 1) {
    std::sort(waiting.begin(), waiting.end(), [](const Route* a, const Route* b) {
      if (a->queue.empty() || b->queue.empty()) return b->queue.empty() && !a->queue.empty();
      return *a->queue.begin() < *b->queue.begin();
    });
  }
  if (type == WorkType::kActivity && waiting.size() > 1) {
    std::rotate(waiting.begin(), waiting.begin() + 1, waiting.end());
  }
  for (Route* route : waiting) {
    if (!route->queue.empty() && OfferFrom(*route, offer)) return true;
  }
  return false;
}

bool Matcher::OfferFrom(Route& route, Offer offer) {
  const bool any_credit =
      std::any_of(route.streams.begin(), route.streams.end(), [&route](const Stream* stream) {
        const Credits& credits = stream->credits[Index(route.type)];
        return credits.in_flight < credits.max;
      });
  if (!any_credit) return false;
  // An offer that is not taken changes nothing.
  int looked_at = 0;
  for (const QueuePlace& place : route.queue) {
    if (offer(*place.item)) return true;
    if (++looked_at >= kRouteLookahead) return false;
  }
  return false;
}

// --- The choice of a stream

Matcher::Choice Matcher::Choose(const Item& item, const Needs& needs) {
  const Route& route = *item.route;
  Choice choice;
  choice.all_gave_back = !route.streams.empty();
  const auto rank = [&](const Stream& stream) {
    return std::make_tuple(!route.misspelling.empty() && route.misspelling.contains(&stream),
                           needs.streams_history && !stream.options.history_streaming,
                           stream.unanswered(), stream.last_dispatch);
  };
  for (Stream* stream : route.streams) {
    if (stream->BackoffUntil(item.stored_id()) > step_.steady) continue;
    choice.all_gave_back = false;
    const Credits& credits = stream->credits[Index(route.type)];
    if (credits.in_flight >= credits.max || LargeItems::OnTrial(*stream, step_.steady)) continue;
    const bool streams_history = needs.streams_history && stream->options.history_streaming;
    const int64_t bytes = streams_history ? needs.streamed_bytes : needs.bytes;
    if (LargeItems::IsLargeFor(*stream, bytes) && !needs.overdue && !IsQuiet(*stream)) continue;
    if (choice.stream == nullptr || rank(*stream) < rank(*choice.stream)) choice.stream = stream;
  }
  return choice;
}

bool Matcher::IsQuiet(const Stream& stream) {
  if (stream.unanswered() > 0) return false;
  for (const std::vector<Route*>& waiting : stream.hub->waiting) {
    for (const Route* route : waiting) {
      if (std::find(route->streams.begin(), route->streams.end(), &stream) ==
          route->streams.end()) {
        continue;
      }
      for (const QueuePlace& place : route->queue) {
        if (place.item->item_bytes() <= LargeItems::kReceiveBytes) return false;
      }
    }
  }
  return true;
}

// --- Credits

absl::Duration Matcher::HoldMax(int type) const {
  const absl::Duration hold_maxima[kWorkTypes] = {step_.limits.orchestration_hold_max,
                                                  step_.limits.activity_hold_max,
                                                  step_.limits.entity_hold_max};
  const absl::Duration hold_max = hold_maxima[type];
  return hold_max > absl::ZeroDuration() ? hold_max : absl::InfiniteDuration();
}

void Matcher::TakeCredit(Stream& stream, Item& item) {
  const int type = Index(item.type);
  item.stream = stream.id;
  item.dispatch = ++last_dispatch_;
  ++stream.credits[type].in_flight;
  stream.last_dispatch = item.dispatch;
  in_flight_[type].emplace_hint(in_flight_[type].end(), item.dispatch,
                                InFlight{&item, step_.steady});
  CountDispatch(item);
}

void Matcher::CountDispatch(Item& item) const {
  metrics::WorkMetrics& counted = item.hub->metrics->work[Index(item.type)];
  counted.dispatched.Add();
  counted.active.Add(1);
  if (item.returned || item.lost_leases > 0) counted.redelivered.Add();
  item.returned = false;
  // A turn that goes again with its whole history has waited once.
  if (item.queued_since == absl::InfinitePast()) return;
  counted.dispatch_latency.Observe(step_.now - item.queued_since);
  item.queued_since = absl::InfinitePast();
}

void Matcher::CountAbandon(Item& item, metrics::Abandon reason) {
  item.hub->metrics->work[Index(item.type)].abandoned[reason].Add();
  item.returned = true;
}

void Matcher::CountStale(HubId hub, WorkType type) {
  table_.HubOf(hub)->metrics->work[Index(type)].completed[metrics::Answer::kStale].Add();
}

void Matcher::CountEnd(HubId hub, RuntimeStatus status) {
  table_.HubOf(hub)->metrics->instances_finished[metrics::EndOf(status)].Add();
}

void Matcher::SendItem(Stream& stream, const Item& item, orchestration::Frame frame,
                       int64_t bytes) {
  if (LargeItems::IsLargeFor(stream, bytes)) large_items_.Sent(stream, item, bytes, step_.steady);
  Write(stream, std::move(frame));
}

void Matcher::FreeCredit(Item& item) {
  const int type = Index(item.type);
  absl::Time since = step_.steady;
  if (const auto found = in_flight_[type].find(item.dispatch); found != in_flight_[type].end()) {
    since = found->second.since;
    metrics::WorkMetrics& counted = item.hub->metrics->work[type];
    counted.active.Add(-1);
    counted.duration.Observe(step_.steady - since);
    in_flight_[type].erase(found);
  }
  ++finished_;
  Stream* stream = table_.Find(item.stream);
  if (stream == nullptr) return;
  Credits& credits = stream->credits[type];
  credits.share.Finished(since, /*limited=*/credits.free() <= 0, step_.steady);
  --credits.in_flight;
  large_items_.Answered(*stream, item.dispatch);
  MarkDirty(*stream->hub);
}

Item* Matcher::FindInFlight(const CompletionToken& token) const {
  const InFlightMap& in_flight = in_flight_[Index(token.type)];
  const auto found = in_flight.find(token.dispatch);
  if (found == in_flight.end() || found->second.item->lease != token.lease) return nullptr;
  return found->second.item;
}

Item* Matcher::TakeExpired() {
  for (int type = 0; type < kWorkTypes; ++type) {
    if (in_flight_[type].empty()) continue;
    const InFlight& oldest = in_flight_[type].begin()->second;
    if (oldest.since + HoldMax(type) > step_.steady) continue;
    Item* item = oldest.item;
    FreeCredit(*item);
    return item;
  }
  return nullptr;
}

void Matcher::AddBackoff(const Item& item) {
  Stream& stream = *table_.Find(item.stream);
  const DispatchLimits& limits = step_.limits;
  if (stream.abandoned.size() >= kBackoffsPerStreamMax) {
    absl::erase_if(stream.abandoned, [this, &limits](const auto& entry) {
      return entry.second.until + limits.abandon_delay_max < step_.steady;
    });
  }
  AbandonBackoff& backoff = stream.abandoned[item.stored_id()];
  backoff.until =
      step_.steady + Doubled(limits.abandon_delay_min, backoff.count++, limits.abandon_delay_max);
}

void Matcher::ForgetBackoff(const Item& item) {
  Stream* stream = table_.Find(item.stream);
  if (stream != nullptr && !stream->abandoned.empty()) stream->abandoned.erase(item.stored_id());
}

std::optional<Reservation> Matcher::Reserve(Hub& hub, WorkType type, const std::string& name,
                                            const Payload& version, const SharedBytes& data) {
  if (!step_.leasing() || hub.streams.empty() || step_.work.Room(hub.work_bytes) == 0) {
    return std::nullopt;
  }
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
  step_.work.Add(hub.work_bytes, reservation.bytes);
  return reservation;
}

void Matcher::Unreserve(const Reservation& reservation) {
  step_.work.Add(table_.HubOf(reservation.hub)->work_bytes, -reservation.bytes);
  Stream* stream = table_.Find(reservation.stream);
  if (stream == nullptr) return;
  --stream->credits[Index(reservation.type)].reserved;
  MarkDirty(*stream->hub);
}

// --- Fair shares

void Matcher::SetContested(Stream& stream, WorkType type, bool contested) {
  stream.credits[Index(type)].share.SetContested(contested, step_.steady);
  if (contested) {
    contested_.insert({stream.id, Index(type)});
  } else if (contested_.erase({stream.id, Index(type)}) > 0) {
    MarkDirty(*stream.hub);
  }
}

void Matcher::GrowShares() {
  for (const auto& [id, type] : contested_) {
    Stream& stream = *table_.Find(id);
    Credits& credits = stream.credits[type];
    if (!IsHeldBack(credits)) continue;
    credits.share.Waited(step_.steady);
    if (credits.free() > 0) MarkDirty(*stream.hub);
  }
}

absl::Time Matcher::NextGrowth() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [id, type] : contested_) {
    const Credits& credits = table_.streams().at(id)->credits[type];
    if (IsHeldBack(credits)) next = std::min(next, credits.share.NextGrowth());
  }
  return next;
}

// --- Streams

void Matcher::OnOpened() {
  next_ping_ = std::min(next_ping_, step_.steady + step_.limits.health_ping_interval);
}

std::unique_ptr<Stream> Matcher::Close(StreamId id, std::vector<Lost>* lost) {
  std::unique_ptr<Stream> stream = table_.Close(id);
  if (stream == nullptr) return nullptr;
  for (const WorkType type : kAllWorkTypes) contested_.erase({id, Index(type)});
  // A large item that has just been sent is what the stream ended at.
  const bool on_trial = LargeItems::OnTrial(*stream, step_.steady);
  if (on_trial) large_items_.BrokeStream(*stream->trial, step_.steady);
  for (int type = 0; type < kWorkTypes; ++type) {
    for (auto it = in_flight_[type].begin(); it != in_flight_[type].end();) {
      const auto& [dispatch, in_flight] = *it;
      if (in_flight.item->stream != id) {
        ++it;
        continue;
      }
      lost->push_back({in_flight.item, !on_trial || stream->trial->dispatch == dispatch});
      in_flight.item->hub->metrics->work[type].active.Add(-1);
      it = in_flight_[type].erase(it);
    }
  }
  return stream;
}

void Matcher::Write(Stream& stream, orchestration::Frame frame) {
  stream.last_write = step_.steady;
  step_.Do(WriteItem{stream.sink, std::move(frame)});
}

void Matcher::PingStreams() {
  if (next_ping_ > step_.steady) return;
  const absl::Duration interval = step_.limits.health_ping_interval;
  next_ping_ = absl::InfiniteFuture();
  for (const auto& [id, stream] : table_.streams()) {
    if (stream->last_write + interval <= step_.steady) {
      Write(*stream, orchestration::EncodeHealthPing());
    }
    next_ping_ = std::min(next_ping_, stream->last_write + interval);
  }
}

void Matcher::OnTime() {
  PingStreams();
  GrowShares();
  if (!large_items_.OnTime(step_.steady)) return;
  for (const auto& [id, hub] : table_.hubs()) MarkDirty(*hub);
}

absl::Time Matcher::NextDeadline() const {
  absl::Time next = std::min({next_ping_, large_items_.NextDeadline(), NextGrowth()});
  for (int type = 0; type < kWorkTypes; ++type) {
    if (in_flight_[type].empty()) continue;
    next = std::min(next, in_flight_[type].begin()->second.since + HoldMax(type));
  }
  return next;
}

int Matcher::items_in_flight() const {
  size_t sum = 0;
  for (const InFlightMap& in_flight : in_flight_) sum += in_flight.size();
  return static_cast<int>(sum);
}

}  // namespace dt::dispatch
