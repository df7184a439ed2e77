// Decides on each call, by the rules as they stand now: the access file is looked at again and
// again, and a file that became wrong changes nothing but the log.
//
// What applies: with an access file its principals and rules; without one, but with authorities for
// client certificates, any caller with a certificate of theirs; without either, anybody.
//
// Threads: all methods may be called from any thread. One thread of its own reads the file.
#ifndef DT_SERVER_RPC_ACCESS_CONTROL_H_
#define DT_SERVER_RPC_ACCESS_CONTROL_H_

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/rpc/access.h"

namespace dt::rpc {

struct AccessOptions {
  std::string file;                                    // empty = no rules
  absl::Duration reload_interval = absl::Seconds(10);  // how often the file is looked at
};

class AccessControl {
 public:
  // `certificates`: the server verifies client certificates. kInvalidArgument when the file cannot
  // be read or is wrong.
  static absl::StatusOr<std::unique_ptr<AccessControl>> Open(AccessOptions options,
                                                             bool certificates);
  ~AccessControl();

  // Anybody may do anything: no call needs to be looked at.
  bool open() const { return options_.file.empty() && !certificates_; }
  // kUnauthenticated or kPermissionDenied, with what the caller should do. `hub` is the one the
  // call means, never empty.
  absl::Status Check(const Caller& caller, std::string_view rpc, std::string_view hub) const;
  // Grows with each change of the rules.
  int64_t generation() const { return generation_.load(std::memory_order_acquire); }

 private:
  using Principals = std::vector<Principal>;

  AccessControl(AccessOptions options, bool certificates)
      : options_(std::move(options)), certificates_(certificates) {}
  absl::StatusOr<Principals> Parse(std::string_view text) const;
  void Watch();
  void Reload();

  const AccessOptions options_;
  const bool certificates_;
  std::atomic<int64_t> generation_ = 0;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const Principals> principals_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // What was read last, or why nothing could be: touched by Open, then by the thread alone.
  std::string last_read_;
  std::thread thread_;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_ACCESS_CONTROL_H_
