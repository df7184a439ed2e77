// Decides on each call, by the rules as they stand now: the access file is looked at again and
// again, and a file that became wrong changes nothing but the log.
//
// A call that takes long holds a Permit and asks it before each of its steps; one that waits is
// told when the rules change (RevocableCall).
//
// What applies: with an access file its principals and rules; without one, but with authorities for
// client certificates, any caller with a certificate of theirs; without either, anybody.
//
// Threads: all methods may be called from any thread. One thread of its own reads the file.
#ifndef DT_SERVER_RPC_ACCESS_CONTROL_H_
#define DT_SERVER_RPC_ACCESS_CONTROL_H_

#include <cstdint>
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

// A call that waits, for longer than rules may last.
class RevocableCall {
 public:
  virtual ~RevocableCall() = default;
  // The rules do not allow it any more. Called at most once for each change of the rules, on the
  // thread that reads them; must not block.
  virtual void Revoke(absl::Status refusal) = 0;
};

class AccessRules;

// What a long call may go on by. May outlive the AccessControl that gave it.
//
// Threads: Check by one thread at a time; the destructor on any.
class Permit {
 public:
  ~Permit();
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;

  // As AccessControl::Check, by the rules as they stand now. Answers at once, and at the cost of
  // one load while they do not change.
  absl::Status Check();

 private:
  friend class AccessControl;
  struct Asked {
    Caller caller;
    std::string rpc;
    std::string hub;
  };
  Permit(std::shared_ptr<AccessRules> rules, Asked asked, std::weak_ptr<RevocableCall> call);

  friend class AccessRules;
  const std::shared_ptr<AccessRules> rules_;
  const std::shared_ptr<const Asked> asked_;
  const int64_t id_;
  int64_t generation_ = -1;  // of the rules that allowed it
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
  // The name of the caller's principal, or of its certificate where there are no rules; empty if it
  // has none.
  std::string NameOf(const Caller& caller) const;
  // For a call that Check has let in and that takes long. `call` (may be empty) is told when a
  // change of the rules forbids it. Null where the rules cannot change.
  std::unique_ptr<Permit> Follow(Caller caller, std::string_view rpc, std::string_view hub,
                                 std::weak_ptr<RevocableCall> call) const;

 private:
  using Principals = std::vector<Principal>;

  AccessControl(AccessOptions options, bool certificates);
  absl::StatusOr<Principals> Parse(std::string_view text) const;
  void Watch();
  void Reload();

  const AccessOptions options_;
  const bool certificates_;
  const std::shared_ptr<AccessRules> rules_;  // of the file
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // What was read last, or why nothing could be: touched by Open, then by the thread alone.
  std::string last_read_;
  std::thread thread_;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_ACCESS_CONTROL_H_
