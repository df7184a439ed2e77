#include "server/dispatch/mail.h"

#include <algorithm>
#include <utility>

#include "spdlog/spdlog.h"

namespace dt::dispatch {

Message Stored(const NewMessage& message, int64_t seq, absl::Time visible_at) {
  Message stored;
  stored.seq = seq;
  stored.generation = message.generation;
  stored.visible_at = visible_at;
  stored.event_type = message.event_type;
  stored.event = message.event;
  return stored;
}

namespace {

// The kind of work that a message makes. Some of the numbers of entities' messages are of answers
// to orchestrations, which go to a generation.
WorkType WorkTypeOf(const NewMessage& message) {
  switch (message.event_type) {
    case HistoryEvent::kEntityOperationSignaled:
    case HistoryEvent::kEntityOperationCalled:
    case HistoryEvent::kEntityLockRequested:
    case HistoryEvent::kEntityUnlockSent:
      return WorkType::kEntity;
    default:
      return WorkType::kTurn;
  }
}

}  // namespace

// --- Told

void Mail::Apply(HubId hub_id, const Delivery& delivery, const NewMessage& message) {
  if (delivery.outcome != DeliveryOutcome::kOk) {
    // The parent of an instance that ended at once may be held here, and is in no Delivery.
    if (delivery.outcome == DeliveryOutcome::kDone) ReadSoon();
    return;
  }
  Hub& hub = *matcher_.table().HubOf(hub_id);
  const LeaseToken lease = delivery.lease_token;
  if (lease == 0) {
    claimer_.WorkFree(hub, WorkTypeOf(message), step_.SteadyOf(delivery.visible_at));
    return;
  }
  if (!step_.IsOwn(lease)) return;
  Message stored = Stored(message, delivery.seq, delivery.visible_at);
  Arrivals& arrivals = claimer_.arrivals();
  if (Resident* resident = residency_.table().Find(delivery.key, lease)) {
    if (delivery.unread) {
      ReadAgain(delivery.key);
      return;
    }
    residency_.table().Append(*resident, std::move(stored));
    // Earlier events of other daemons may be on their way with the read in flight.
    if (reading_ && message.generation == kAnyGeneration) {
      resident->awaits_read = true;
      awaiting_.push_back(delivery.key);
    }
    residency_.Reconsider(*resident);
  } else if (arrivals.Expected(lease)) {
    arrivals.Keep(lease, delivery.key, std::move(stored));
    if (delivery.unread) arrivals.MarkIncomplete(lease);
  } else {
    // It was given up meanwhile; the release makes the message claimable.
    claimer_.WorkFree(hub, WorkTypeOf(message), step_.SteadyOf(delivery.visible_at));
  }
}

void Mail::ReadAgain(HubId hub, const std::string& instance_id) {
  Resident* resident = residency_.FindById(hub, instance_id);
  if (resident == nullptr) {
    claimer_.arrivals().MarkAllIncomplete();
    claimer_.WorkFree(hub, dispatch::WorkTypeOf(instance_id));
    return;
  }
  resident->inbox.MarkUnread(/*reading=*/resident->phase == Resident::Phase::kReading);
  residency_.Reconsider(*resident);
}

void Mail::ReadAgain(InstanceKey key) {
  Resident* resident = residency_.table().Find(key);
  if (resident == nullptr) {
    claimer_.arrivals().MarkAllIncomplete();
    return;
  }
  ReadAgain(resident->hub->id, resident->instance_id());
}

// --- Read

void Mail::ReadSoon() {
  woken_at_ = step_.steady;
  next_read_ = step_.steady;
}

void Mail::Hinted() {
  woken_at_ = std::min(woken_at_, hint_backoff_.NextLook(step_.steady));
  next_read_ = std::min(next_read_, std::max(woken_at_, read_after_));
}

void Mail::Poll() {
  if (reading_ || !step_.leasing() || next_read_ > step_.steady) return;
  if (residency_.table().size() == 0) {
    next_read_ = step_.steady + step_.limits.poll_min;
    return;
  }
  reading_ = true;
  hinted_ = std::exchange(woken_at_, absl::InfiniteFuture()) <= step_.steady;
  residency_.table().BeginRead();
  step_.Do(ReadNewMessages{step_.worker});
}

void Mail::On(NewMessagesRead& event) {
  ResidentTable& table = residency_.table();
  std::vector<InstanceKey> touched;
  if (event.worker == step_.worker) {
    reading_ = false;
    const bool found = event.result.ok() && !event.result->empty();
    empty_reads_ = found ? 0 : empty_reads_ + 1;
    const absl::Duration delay = Claimer::PollDelay(step_, empty_reads_);
    if (hinted_ && event.result.ok() && !found) hint_backoff_.Add(step_.steady);
    if (!event.result.ok()) read_after_ = step_.steady + delay;
    next_read_ = step_.steady + delay;
    if (event.result.ok()) next_read_ = std::min(next_read_, std::max(step_.steady, woken_at_));
    touched.swap(awaiting_);
  }
  for (const InstanceKey key : touched) {
    if (Resident* resident = table.Find(key)) resident->awaits_read = false;
  }
  if (!event.result.ok()) {
    // The marks may be gone and their messages not here: everything is read again.
    spdlog::warn("new messages could not be read: {}", event.result.status().ToString());
    claimer_.arrivals().MarkAllIncomplete();
    for (Resident* resident : table.All()) {
      resident->inbox.MarkUnread(/*reading=*/resident->phase == Resident::Phase::kReading);
      if (!resident->unconfirmed()) touched.push_back(resident->key());
    }
  } else {
    for (InboxRead& read : *event.result) {
      touched.push_back(read.key);
      Merge(std::move(read));
    }
  }
  table.EndRead();
  for (const InstanceKey key : touched) {
    if (Resident* resident = table.Find(key)) residency_.Reconsider(*resident);
  }
}

void Mail::Merge(InboxRead read) {
  const LeaseToken lease = read.lease_token;
  if (Resident* resident = residency_.table().Find(read.key, lease)) {
    residency_.table().Merge(*resident, std::move(read));
  } else if (claimer_.arrivals().Expected(lease)) {
    // The marks are gone, so the claim that brings the instance must read again.
    claimer_.arrivals().MarkIncomplete(lease);
  }
  // Else it was given up; the release finds them.
}

void Mail::Reset() {
  awaiting_.clear();
  empty_reads_ = 0;
  reading_ = false;
  next_read_ = step_.steady + step_.limits.poll_min;
}

absl::Time Mail::NextDeadline() {
  return !reading_ && residency_.table().size() > 0 ? next_read_ : absl::InfiniteFuture();
}

}  // namespace dt::dispatch
