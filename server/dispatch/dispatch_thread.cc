#include "server/dispatch/dispatch_thread.h"

#include <atomic>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/synchronization/mutex.h"
#include "server/dispatch/dispatcher.h"
#include "server/orchestration/random_ids.h"

namespace dt::dispatch {

// The mailbox is swapped out as a whole, so that its mutex is taken once for many events, and the
// thread is woken only when it sleeps.
class DispatchThread::Impl {
 public:
  Impl(Store* store, DispatchLimits limits)
      : store_(store),
        events_max_(static_cast<size_t>(limits.mailbox_events_max)),
        dispatcher_(std::move(limits), &ids_, absl::Uniform<uint64_t>(absl::BitGen())) {}

  ~Impl() {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    if (thread_.joinable()) thread_.join();
  }

  void Start() {
    thread_ = std::thread([this] { Run(); });
  }

  // From the store, or one that must not get lost: never refused.
  void Post(Event event) {
    absl::MutexLock lock(&mutex_);
    mailbox_.push_back(std::move(event));
  }

  // False, and the event is untouched, when the mailbox is full.
  bool TryPost(Event& event) {
    absl::MutexLock lock(&mutex_);
    if (mailbox_.size() >= events_max_) return false;
    mailbox_.push_back(std::move(event));
    return true;
  }

  void Drain(absl::Duration timeout) {
    draining_.store(true);
    Post(DrainBegun{});
    const absl::Time deadline = absl::Now() + timeout;
    {
      absl::MutexLock lock(&mutex_);
      auto quiet = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return drain_seen_ && quiet_; };
      mutex_.AwaitWithDeadline(absl::Condition(&quiet), deadline);
    }
    Post(DrainEnded{});
    absl::MutexLock lock(&mutex_);
    auto released = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return released_; };
    mutex_.AwaitWithDeadline(absl::Condition(&released), absl::Now() + kReleaseTime);
  }

  bool draining() const { return draining_.load(); }
  Store* store() { return store_; }
  uint64_t NextId() { return last_id_.fetch_add(1) + 1; }

 private:
  // How long the end of a drain waits for the store; what is not released then is swept by others.
  static constexpr absl::Duration kReleaseTime = absl::Seconds(10);

  void Run() {
    std::vector<Event> events;
    std::vector<Effect> effects;
    const std::function<void(Event)> post = [this](Event event) { Post(std::move(event)); };
    while (true) {
      const absl::Duration wait = dispatcher_.NextDeadline() - store_->Now();
      {
        absl::MutexLock lock(&mutex_);
        auto work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
          return stopping_ || !mailbox_.empty();
        };
        mutex_.AwaitWithTimeout(absl::Condition(&work), std::max(wait, absl::ZeroDuration()));
        if (stopping_) return;
        events.swap(mailbox_);
      }
      bool drain_begun = false;
      bool drain_ended = false;
      for (const Event& event : events) {
        drain_begun |= std::holds_alternative<DrainBegun>(event);
        drain_ended |= std::holds_alternative<DrainEnded>(event);
      }
      dispatcher_.Step(events, store_->Now(), effects);
      RunEffects(effects, store_, post);
      if (!draining()) continue;
      absl::MutexLock lock(&mutex_);
      drain_seen_ |= drain_begun;
      end_seen_ |= drain_ended;
      quiet_ = dispatcher_.quiet();
      released_ = end_seen_ && dispatcher_.released();
    }
  }

  Store* const store_;
  const size_t events_max_;
  orchestration::RandomIds ids_;
  Dispatcher dispatcher_;  // of the thread only
  std::atomic<bool> draining_{false};
  std::atomic<uint64_t> last_id_{0};
  absl::Mutex mutex_;
  std::vector<Event> mailbox_ ABSL_GUARDED_BY(mutex_);
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

DispatchThread::DispatchThread(Store* store, DispatchLimits limits)
    : impl_(std::make_unique<Impl>(store, std::move(limits))) {}

DispatchThread::~DispatchThread() = default;

void DispatchThread::Start() { impl_->Start(); }

void DispatchThread::Drain(absl::Duration timeout) { impl_->Drain(timeout); }

bool DispatchThread::draining() const { return impl_->draining(); }

StreamId DispatchThread::OpenStream(StreamOptions options, std::shared_ptr<WorkItemSink> sink) {
  const StreamId id = impl_->NextId();
  impl_->Post(StreamOpened{id, std::move(options), std::move(sink)});
  return id;
}

void DispatchThread::CloseStream(StreamId stream) { impl_->Post(StreamClosed{stream}); }

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

void DispatchThread::AbandonOrchestration(HubId hub, std::string completion_token,
                                          DoneCallback done) {
  impl_->Post(Abandoned{WorkType::kTurn, hub, std::move(completion_token), std::move(done)});
}

void DispatchThread::AbandonActivity(HubId hub, std::string completion_token, DoneCallback done) {
  impl_->Post(Abandoned{WorkType::kActivity, hub, std::move(completion_token), std::move(done)});
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
                            Callback<KnownRow> done) {
  const WaitId id = impl_->NextId();
  Event event = WaitAsked{id, hub, std::move(instance_id), wait_for, std::move(done)};
  if (!impl_->TryPost(event)) std::move(std::get<WaitAsked>(event).done)(MailboxFull());
  return id;
}

void DispatchThread::CancelWait(WaitId wait) { impl_->Post(WaitCancelled{wait}); }

void DispatchThread::OnRegistered(WorkerId worker) { impl_->Post(Registered{worker}); }

void DispatchThread::OnWake(HubId hub) { impl_->Post(Woken{hub}); }

}  // namespace dt::dispatch
