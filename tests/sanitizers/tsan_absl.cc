// Tells the thread sanitizer what Abseil's locks order. Linked into the programs of the preset
// tsan.
//
// Debian's Abseil is built without the sanitizer, which therefore sees no order between two
// critical sections of an absl::Mutex and would report correct programs. The functions here stand
// in front of those in the shared library: each calls the library's own and adds the acquire or the
// release that the sanitizer missed. libgrpc's calls of absl::Mutex come through here as well.
//
// Invariants: a release comes before the lock can pass to another thread, and before a condition
// can be evaluated by one; an acquire after this thread got the lock and before any code of ours
// runs under it, conditions included. This file itself is compiled without the sanitizer.
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

#define DT_STRING_OF(text) #text
#define DT_STRING(text) DT_STRING_OF(text)

namespace {

// The library's own function of this mangled name; `name` is what follows the namespaces.
template <typename Function>
Function* Next(const std::string& prefix, const std::string& name) {
  const std::string ns = DT_STRING(ABSL_OPTION_INLINE_NAMESPACE_NAME);
  const std::string symbol = prefix + "4absl" + std::to_string(ns.size()) + ns + name;
  void* address = dlsym(RTLD_NEXT, symbol.c_str());
  if (address == nullptr) {
    std::fprintf(stderr, "tsan_absl: this Abseil has no %s: %s\n", symbol.c_str(), dlerror());
    std::abort();
  }
  return reinterpret_cast<Function*>(address);
}

// A condition, which Abseil evaluates under the lock before the wait returns and in other threads.
struct Ordered {
  absl::Mutex* mutex;
  const absl::Condition* condition;
  static bool Eval(Ordered* ordered) {
    __tsan_acquire(ordered->mutex);
    const bool met = ordered->condition->Eval();
    __tsan_release(ordered->mutex);
    return met;
  }
};

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static auto* const next = Next<void(Mutex*)>("_ZN", "5Mutex4LockEv");
  next(this);
  __tsan_acquire(this);
}

void Mutex::ReaderLock() {
  static auto* const next = Next<void(Mutex*)>("_ZN", "5Mutex10ReaderLockEv");
  next(this);
  __tsan_acquire(this);
}

bool Mutex::TryLock() {
  static auto* const next = Next<bool(Mutex*)>("_ZN", "5Mutex7TryLockEv");
  const bool locked = next(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::Unlock() {
  static auto* const next = Next<void(Mutex*)>("_ZN", "5Mutex6UnlockEv");
  __tsan_release(this);
  next(this);
}

void Mutex::ReaderUnlock() {
  static auto* const next = Next<void(Mutex*)>("_ZN", "5Mutex12ReaderUnlockEv");
  __tsan_release(this);
  next(this);
}

void Mutex::Await(const Condition& condition) {
  static auto* const next =
      Next<void(Mutex*, const Condition&)>("_ZN", "5Mutex5AwaitERKNS0_9ConditionE");
  Ordered ordered{this, &condition};
  __tsan_release(this);
  next(this, Condition(&Ordered::Eval, &ordered));
  __tsan_acquire(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, absl::Duration timeout) {
  static auto* const next = Next<bool(Mutex*, const Condition&, absl::Duration)>(
      "_ZN", "5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  Ordered ordered{this, &condition};
  __tsan_release(this);
  const bool met = next(this, Condition(&Ordered::Eval, &ordered), timeout);
  __tsan_acquire(this);
  return met;
}

bool Mutex::AwaitWithDeadline(const Condition& condition, absl::Time deadline) {
  static auto* const next = Next<bool(Mutex*, const Condition&, absl::Time)>(
      "_ZN", "5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  Ordered ordered{this, &condition};
  __tsan_release(this);
  const bool met = next(this, Condition(&Ordered::Eval, &ordered), deadline);
  __tsan_acquire(this);
  return met;
}

void Mutex::LockWhen(const Condition& condition) {
  static auto* const next =
      Next<void(Mutex*, const Condition&)>("_ZN", "5Mutex8LockWhenERKNS0_9ConditionE");
  Ordered ordered{this, &condition};
  __tsan_release(this);
  next(this, Condition(&Ordered::Eval, &ordered));
  __tsan_acquire(this);
}

bool Mutex::LockWhenWithTimeout(const Condition& condition, absl::Duration timeout) {
  static auto* const next = Next<bool(Mutex*, const Condition&, absl::Duration)>(
      "_ZN", "5Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  Ordered ordered{this, &condition};
  __tsan_release(this);
  const bool met = next(this, Condition(&Ordered::Eval, &ordered), timeout);
  __tsan_acquire(this);
  return met;
}

bool Mutex::LockWhenWithDeadline(const Condition& condition, absl::Time deadline) {
  static auto* const next = Next<bool(Mutex*, const Condition&, absl::Time)>(
      "_ZN", "5Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  Ordered ordered{this, &condition};
  __tsan_release(this);
  const bool met = next(this, Condition(&Ordered::Eval, &ordered), deadline);
  __tsan_acquire(this);
  return met;
}

void CondVar::Wait(Mutex* mutex) {
  static auto* const next = Next<void(CondVar*, Mutex*)>("_ZN", "7CondVar4WaitEPNS0_5MutexE");
  __tsan_release(mutex);
  next(this, mutex);
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, absl::Duration timeout) {
  static auto* const next = Next<bool(CondVar*, Mutex*, absl::Duration)>(
      "_ZN", "7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  const bool timed_out = next(this, mutex, timeout);
  __tsan_acquire(mutex);
  return timed_out;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, absl::Time deadline) {
  static auto* const next = Next<bool(CondVar*, Mutex*, absl::Time)>(
      "_ZN", "7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  __tsan_release(mutex);
  const bool timed_out = next(this, mutex, deadline);
  __tsan_acquire(mutex);
  return timed_out;
}

void Notification::Notify() {
  static auto* const next = Next<void(Notification*)>("_ZN", "12Notification6NotifyEv");
  __tsan_release(this);
  next(this);
}

void Notification::WaitForNotification() const {
  static auto* const next =
      Next<void(const Notification*)>("_ZNK", "12Notification19WaitForNotificationEv");
  next(this);
  __tsan_acquire(const_cast<Notification*>(this));
}

bool Notification::WaitForNotificationWithTimeout(absl::Duration timeout) const {
  static auto* const next = Next<bool(const Notification*, absl::Duration)>(
      "_ZNK", "12Notification30WaitForNotificationWithTimeoutENS0_8DurationE");
  const bool notified = next(this, timeout);
  if (notified) __tsan_acquire(const_cast<Notification*>(this));
  return notified;
}

bool Notification::WaitForNotificationWithDeadline(absl::Time deadline) const {
  static auto* const next = Next<bool(const Notification*, absl::Time)>(
      "_ZNK", "12Notification31WaitForNotificationWithDeadlineENS0_4TimeE");
  const bool notified = next(this, deadline);
  if (notified) __tsan_acquire(const_cast<Notification*>(this));
  return notified;
}

ABSL_NAMESPACE_END
}  // namespace absl
