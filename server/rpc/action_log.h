// Who did what: a line of the log for each management action of a caller, such as ending, purging
// or restarting instances and making or deleting hubs.
//
// Threads: all methods may be called from any thread.
#ifndef DT_SERVER_RPC_ACTION_LOG_H_
#define DT_SERVER_RPC_ACTION_LOG_H_

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "server/rpc/repeat_limiter.h"

namespace dt::rpc {

// What is known of an action before it is done. Copied, since the call may be over when it is done.
struct Action {
  std::string_view rpc;  // static
  std::string hub;
  std::string by;  // the name of the principal, where callers have names, and the address
};

class ActionLog {
 public:
  // `done` says of what and how many.
  void Add(const Action& action, std::string_view done);

 private:
  // An action may be a program's daily bread, as ending instances is: of each kind and hub so many
  // in an interval have lines, and the others are counted.
  RepeatLimiter lines_{absl::Seconds(10), /*lines_max=*/50};
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_ACTION_LOG_H_
