// A store whose next read waits until the test lets it go, before the database is asked.
#ifndef DT_TESTS_RPC_HELD_READS_H_
#define DT_TESTS_RPC_HELD_READS_H_

#include <optional>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/forwarding_store.h"

namespace dt::testing {

class HeldReads : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  void ReadInstance(HubId hub, std::string instance_id, bool payloads,
                    Callback<std::optional<InstanceRow>> done) override {
    Run(hold_instance_, [this, hub, instance_id = std::move(instance_id), payloads,
                         done = std::move(done)]() mutable {
      ForwardingStore::ReadInstance(hub, std::move(instance_id), payloads, std::move(done));
    });
  }
  void ReadHistory(HubId hub, std::string instance_id, std::optional<std::string> execution_id,
                   int64_t after_turn, int64_t max_bytes, Callback<HistoryPage> done) override {
    bool& hold = after_turn == 0 ? hold_first_page_ : hold_next_page_;
    Run(hold,
        [this, hub, instance_id = std::move(instance_id), execution_id = std::move(execution_id),
         after_turn, max_bytes, done = std::move(done)]() mutable {
          ForwardingStore::ReadHistory(hub, std::move(instance_id), std::move(execution_id),
                                       after_turn, max_bytes, std::move(done));
        });
  }

  // Which read waits: of an instance, of the first page of a history, or of a later one.
  void HoldInstance() { Set(hold_instance_); }
  void HoldFirstPage() { Set(hold_first_page_); }
  void HoldNextPage() { Set(hold_next_page_); }

  // Waits until a read is held.
  bool AwaitHeld() {
    absl::MutexLock lock(&mutex_);
    const auto held = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return held_ != nullptr; };
    return mutex_.AwaitWithTimeout(absl::Condition(&held), kPatience);
  }
  void LetGo() {
    absl::AnyInvocable<void()> read;
    {
      absl::MutexLock lock(&mutex_);
      read = std::exchange(held_, nullptr);
    }
    read();
  }

 private:
  void Set(bool& hold) {
    absl::MutexLock lock(&mutex_);
    hold = true;
  }
  void Run(bool& hold, absl::AnyInvocable<void()> read) {
    {
      absl::MutexLock lock(&mutex_);
      if (std::exchange(hold, false)) {
        held_ = std::move(read);
        return;
      }
    }
    read();
  }

  // All of them under the mutex.
  absl::Mutex mutex_;
  bool hold_instance_ = false;
  bool hold_first_page_ = false;
  bool hold_next_page_ = false;
  absl::AnyInvocable<void()> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::testing

#endif  // DT_TESTS_RPC_HELD_READS_H_
