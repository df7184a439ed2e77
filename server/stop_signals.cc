#include "server/stop_signals.h"

#include <pthread.h>
#include <unistd.h>

#include "spdlog/spdlog.h"

namespace dt {
namespace {

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
  while (true) {
    int signal = 0;
    if (sigwait(&signals_, &signal) != 0) continue;
    if (signal == kEndOfThread) return;
    if (asked_.HasBeenNotified()) {
      // Leases stay until they expire or the next start finds this process gone.
      spdlog::warn("second signal: exit without waiting");
      _exit(1);
    }
    spdlog::info("signal {}: draining; a second signal exits at once", signal);
    asked_.Notify();
  }
}

}  // namespace dt
