#include "server/dispatch/dispatch_thread.h"

#include <atomic>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/synchronization/mutex.h"
#include "server/dispatch/dispatcher.h"
#include "server/orchestration/random_ids.h"
#include "storage/steady_clock.h"

namespace dt::dispatch {

// The mailbox is swapped out as a whole, so that its mutex is taken once for many events, and the
// thread is woken only when it sleeps.
//
// Steps are made by one thread at a time, which is not always the same one. While little is in
// flight, whoever brings an event makes the step for it, and each wake-up that an orchestration
// would have waited for is saved; when much is, the thread makes all steps, and the others go on
// with their own work while events gather.
class DispatchThread::Impl {
 public:
  Impl(Store* store, DispatchLimits limits, metrics::Metrics* metrics)
      : store_(store),
        own_metrics_(metrics == nullptr ? std::make_unique<metrics::Metrics>() : nullptr),
        events_max_(static_cast<size_t>(limits.mailbox_events_max)),
        dispatcher_(std::move(limits), &ids_, absl::Uniform<uint64_t>(absl::BitGen()),
                    metrics == nullptr ? own_metrics_.get() : metrics) {}

  ~Impl() {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
      mutex_.Await(absl::Condition(this, &Impl::NobodySteps));
    }
    if (thread_.joinable()) thread_.join();
  }

  void Start() {
    thread_ = std::thread([this] { Run(); });
  }

  // From the store, or one that must not get lost: never refused. The caller may have to make the
  // step itself, so it holds no lock.
  void Post(Event event) {
    absl::MutexLock lock(&mutex_);
    mailbox_.push_back(std::move(event));
    if (little_in_flight_ && !stepping_ && !stopping_) MakeSteps();
  }

  // The same; false, and the event is untouched, when the mailbox is full.
  bool TryPost(Event& event) {
    absl::MutexLock lock(&mutex_);
    if (mailbox_.size() >= events_max_) return false;
    mailbox_.push_back(std::move(event));
    if (little_in_flight_ && !stepping_ && !stopping_) MakeSteps();
    return true;
  }

  // For a caller that may hold locks: the step is the thread's.
  void PostToThread(Event event) {
    absl::MutexLock lock(&mutex_);
    mailbox_.push_back(std::move(event));
  }

  void Drain(absl::Duration timeout) {
    draining_.store(true);
    PostToThread(DrainBegun{});
    {
      absl::MutexLock lock(&mutex_);
      auto quiet = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return drain_seen_ && quiet_; };
      mutex_.AwaitWithTimeout(absl::Condition(&quiet), timeout);
    }
    PostToThread(DrainEnded{});
    absl::MutexLock lock(&mutex_);
    auto released = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return released_; };
    mutex_.AwaitWithTimeout(absl::Condition(&released), kReleaseTime);
  }

  bool draining() const { return draining_.load(); }
  Store* store() { return store_; }
  uint64_t NextId() { return last_id_.fetch_add(1) + 1; }

 private:
  // How long the end of a drain waits for the store; what is not released then is swept by others.
  static constexpr absl::Duration kReleaseTime = absl::Seconds(10);

  static constexpr absl::Duration kStandingClockPause = absl::Milliseconds(1);

  // Up to so many items, commits and creations in flight, events come one by one, and a step by the
  // thread could not handle several.
  static constexpr int kLittleInFlight = 4;

  bool NobodySteps() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !stepping_; }
  // What the thread waits for, but for the time.
  bool ThreadIsNeeded() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stopping_ || (!stepping_ && (!mailbox_.empty() || deadline_ < awaited_deadline_));
  }

  void Run() {
    absl::MutexLock lock(&mutex_);
    while (true) {
      awaited_deadline_ = deadline_;
      mutex_.AwaitWithTimeout(absl::Condition(this, &Impl::ThreadIsNeeded),
                              std::max(deadline_ - SteadyNow(), absl::ZeroDuration()));
      mutex_.Await(absl::Condition(this, &Impl::NobodySteps));
      if (stopping_) return;
      if (!mailbox_.empty() || deadline_ <= SteadyNow()) MakeSteps();
    }
  }

  // One step, and more while little is in flight and events have come meanwhile. The mutex is free
  // during each.
  void MakeSteps() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    stepping_ = true;
    do {
      events_.swap(mailbox_);
      mutex_.Unlock();
      bool drain_begun = false;
      bool drain_ended = false;
      for (const Event& event : events_) {
        drain_begun |= std::holds_alternative<DrainBegun>(event);
        drain_ended |= std::holds_alternative<DrainEnded>(event);
      }
      const absl::Time now = store_->Now();
      const absl::Time steady = SteadyNow();
      dispatcher_.Step(events_, now, steady, effects_);
      RunEffects(effects_, store_, post_);
      const absl::Time deadline = std::min(dispatcher_.NextDeadline(), steady + UntilNextDue(now));
      mutex_.Lock();
      deadline_ = deadline;
      little_in_flight_ = dispatcher_.in_flight() <= kLittleInFlight;
      drain_seen_ |= drain_begun;
      end_seen_ |= drain_ended;
      quiet_ = dispatcher_.quiet();
      released_ = end_seen_ && dispatcher_.released();
    } while (little_in_flight_ && !mailbox_.empty() && !stopping_);
    stepping_ = false;
  }

  // How long until something is due by the store's clock, which says `now`. It may stand still:
  // then nothing becomes due, and the clock is not asked all the time.
  absl::Duration UntilNextDue(absl::Time now) {
    const bool stands_still = now <= last_now_;
    last_now_ = now;
    return std::max(dispatcher_.NextDue() - now,
                    stands_still ? kStandingClockPause : absl::ZeroDuration());
  }

  Store* const store_;
  const std::unique_ptr<metrics::Metrics> own_metrics_;  // where there are no others
  const size_t events_max_;
  orchestration::RandomIds ids_;
  // Of the thread that makes a step.
  Dispatcher dispatcher_;
  std::vector<Event> events_;
  std::vector<Effect> effects_;
  absl::Time last_now_ = absl::InfinitePast();
  const std::function<void(Event)> post_ = [this](Event event) { Post(std::move(event)); };

  std::atomic<bool> draining_{false};
  std::atomic<uint64_t> last_id_{0};
  absl::Mutex mutex_;
  std::vector<Event> mailbox_ ABSL_GUARDED_BY(mutex_);
  bool stepping_ ABSL_GUARDED_BY(mutex_) = false;
  bool little_in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time deadline_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();  // of the next step
  absl::Time awaited_deadline_ ABSL_GUARDED_BY(mutex_);                 // by the thread now
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool drain_seen_ ABSL_GUARDED_BY(mutex_) = false;
  bool end_seen_ ABSL_GUARDED_BY(mutex_) = false;
  bool quiet_ ABSL_GUARDED_BY(mutex_) = false;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

namespace {

absl::Status MailboxFull() {
  return absl::ResourceExhaustedError(
      "the daemon has more requests than it can handle (dispatch mailbox_events_max); try again");
}

}  // namespace

DispatchThread::DispatchThread(Store* store, DispatchLimits limits, metrics::Metrics* metrics)
    : impl_(std::make_unique<Impl>(store, std::move(limits), metrics)) {}

DispatchThread::~DispatchThread() = default;

void DispatchThread::Start() { impl_->Start(); }

void DispatchThread::Drain(absl::Duration timeout) { impl_->Drain(timeout); }

bool DispatchThread::draining() const { return impl_->draining(); }

StreamId DispatchThread::OpenStream(StreamOptions options, std::shared_ptr<WorkItemSink> sink) {
  const StreamId id = impl_->NextId();
  impl_->Post(StreamOpened{id, std::move(options), std::move(sink)});
  return id;
}

void DispatchThread::CloseStream(StreamId stream, std::string reason) {
  impl_->Post(StreamClosed{stream, std::move(reason)});
}

void DispatchThread::CompleteOrchestration(HubId hub, OrchestratorResponse response,
                                           DoneCallback done) {
  Event event = TurnAnswered{hub, std::move(response), std::move(done)};
  if (impl_->TryPost(event)) return;
  std::move(std::get<TurnAnswered>(event).done)(MailboxFull());
}

void DispatchThread::CompleteActivity(HubId hub, ActivityResponse response, DoneCallback done) {
  Event event = ActivityAnswered{hub, std::move(response), std::move(done)};
  if (impl_->TryPost(event)) return;
  std::move(std::get<ActivityAnswered>(event).done)(MailboxFull());
}

void DispatchThread::CompleteEntity(HubId hub, EntityBatchResult result, DoneCallback done) {
  Event event = EntityAnswered{hub, std::move(result), std::move(done)};
  if (impl_->TryPost(event)) return;
  std::move(std::get<EntityAnswered>(event).done)(MailboxFull());
}

void DispatchThread::AbandonOrchestration(HubId hub, std::string completion_token,
                                          DoneCallback done) {
  impl_->Post(Abandoned{WorkType::kTurn, hub, std::move(completion_token), std::move(done)});
}

void DispatchThread::AbandonActivity(HubId hub, std::string completion_token, DoneCallback done) {
  impl_->Post(Abandoned{WorkType::kActivity, hub, std::move(completion_token), std::move(done)});
}

void DispatchThread::AbandonEntity(HubId hub, std::string completion_token, DoneCallback done) {
  impl_->Post(Abandoned{WorkType::kEntity, hub, std::move(completion_token), std::move(done)});
}

void DispatchThread::ReadTurnHistory(HubId hub, std::string instance_id, std::string execution_id,
                                     Callback<std::vector<HistoryChunk>> done) {
  Event event = HistoryAsked{hub, std::move(instance_id), std::move(execution_id), std::move(done)};
  if (impl_->TryPost(event)) return;
  std::move(std::get<HistoryAsked>(event).done)(MailboxFull());
}

void DispatchThread::StartInstance(NewInstance instance, Callback<CreateResult> done) {
  Event event = StartAsked{std::move(instance), std::move(done)};
  if (impl_->TryPost(event)) return;
  std::move(std::get<StartAsked>(event).done)(MailboxFull());
}

void DispatchThread::SendMessage(ClientMessage message, Callback<Delivery> done) {
  // The dispatcher only needs the answer: the message may be for a resident.
  ClientDelivered event{message.hub, message.instance_id, message.message, Delivery()};
  impl_->store()->SendMessage(std::move(message),
                              [impl = impl_.get(), event = std::move(event),
                               done = std::move(done)](absl::StatusOr<Delivery> result) mutable {
                                event.result = result;
                                impl->Post(std::move(event));
                                std::move(done)(std::move(result));
                              });
}

void DispatchThread::Terminate(ClientTermination termination, Callback<Delivery> done) {
  ClientDelivered event{termination.hub, termination.termination.instance_id,
                        termination.termination.message, Delivery()};
  impl_->store()->Terminate(std::move(termination),
                            [impl = impl_.get(), event = std::move(event),
                             done = std::move(done)](absl::StatusOr<Delivery> result) mutable {
                              event.result = result;
                              impl->Post(std::move(event));
                              std::move(done)(std::move(result));
                            });
}

WaitId DispatchThread::Wait(HubId hub, std::string instance_id, WaitFor wait_for,
                            Callback<KnownRow> done, std::optional<WaitSoFar> so_far) {
  const WaitId id = impl_->NextId();
  Event event = WaitAsked{id, hub, std::move(instance_id), wait_for, std::move(done), so_far};
  if (!impl_->TryPost(event)) std::move(std::get<WaitAsked>(event).done)(MailboxFull());
  return id;
}

void DispatchThread::CancelWait(WaitId wait) { impl_->Post(WaitCancelled{wait}); }

void DispatchThread::OnRegistered(WorkerId worker) { impl_->PostToThread(Registered{worker}); }

void DispatchThread::OnWake(HubId hub) { impl_->PostToThread(Woken{hub}); }
void DispatchThread::OnWaitHints(WaitHints hints) {
  impl_->PostToThread(WaitsHinted{std::move(hints)});
}
void DispatchThread::OnHearing(bool hears) { impl_->PostToThread(HearingChanged{hears}); }

void DispatchThread::SetMemoryScarce(bool scarce) { impl_->PostToThread(MemoryScarce{scarce}); }

}  // namespace dt::dispatch
