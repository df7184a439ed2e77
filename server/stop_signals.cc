#include "server/stop_signals.h"

#include <pthread.h>
#include <unistd.h>

#include "spdlog/spdlog.h"
#include "storage/steady_clock.h"

namespace dt {
namespace {

constexpr absl::Duration kSameWish = absl::Milliseconds(500);
constexpr int kEndOfThread = SIGUSR1;  // sent by the destructor to its own thread only

}  // namespace

StopSignals::StopSignals() {
  std::signal(SIGPIPE, SIG_IGN);
  sigemptyset(&signals_);
  for (const int signal : {SIGTERM, SIGINT, kEndOfThread}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  thread_ = std::thread([this] { Run(); });
}

StopSignals::~StopSignals() {
  pthread_kill(thread_.native_handle(), kEndOfThread);
  thread_.join();
}

void StopSignals::Run() {
  absl::Time asked_at;
  while (true) {
    int signal = 0;
    if (sigwait(&signals_, &signal) != 0) continue;
    if (signal == kEndOfThread) return;
    if (asked_.HasBeenNotified()) {
      if (SteadyNow() - asked_at < kSameWish) continue;
      // Leases stay until they expire or the next start finds this process gone.
      spdlog::warn("second signal: exit without waiting");
      _exit(1);
    }
    spdlog::info("signal {}: draining; a second signal exits at once", signal);
    asked_at = SteadyNow();
    asked_.Notify();
  }
}

}  // namespace dt
