// SIGTERM and SIGINT for the whole process, taken by one thread: the first asks to stop, a second
// one ends the process at once. Signals that follow the first within a moment are the same wish:
// wrappers such as timeout(1) signal the process and then its whole group.
#ifndef DT_SERVER_STOP_SIGNALS_H_
#define DT_SERVER_STOP_SIGNALS_H_

#include <csignal>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace dt {

class StopSignals {
 public:
  // Blocks the signals in the calling thread, and so in all threads that it starts: to be made
  // first.
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // True as soon as a stop is asked for, false after `timeout`. Any thread.
  bool WaitFor(absl::Duration timeout) { return asked_.WaitForNotificationWithTimeout(timeout); }
  void Wait() { asked_.WaitForNotification(); }
  bool asked() const { return asked_.HasBeenNotified(); }

 private:
  void Run();

  sigset_t signals_;
  absl::Notification asked_;
  std::thread thread_;
};

}  // namespace dt

#endif  // DT_SERVER_STOP_SIGNALS_H_
