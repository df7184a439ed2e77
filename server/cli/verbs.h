// The verbs for people, in one table: parsing, help and the completion of shells are made from it.
#ifndef DT_SERVER_CLI_VERBS_H_
#define DT_SERVER_CLI_VERBS_H_

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "google/protobuf/timestamp.pb.h"
#include "proto/orchestrator_service.pb.h"
#include "server/cli/session.h"

namespace dt::cli {

// Exit codes, beyond 0, of all verbs. deploy/COMMAND_LINE.md lists them.
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitNotAllowed = 4;
inline constexpr int kExitWrongState = 5;   // as it is now: it exists already, or has not ended
inline constexpr int kExitUnavailable = 6;  // no answer, or not in time
inline constexpr int kExitEndedBadly = 7;   // `watch`: the instance has not ended as Completed

struct Flag {
  std::string_view name;   // without the dashes
  std::string_view value;  // what its value is called; empty: it has none
  std::string_view help;
};

// What was given to a verb.
struct Request {
  std::vector<std::string> arguments;
  std::map<std::string, std::vector<std::string>, std::less<>> flags;
  bool json = false;
  bool yes = false;

  bool Has(std::string_view flag) const { return flags.find(flag) != flags.end(); }
  // The last value; empty if it was not given.
  std::string Get(std::string_view flag) const;
};

// The exit code of what was done, or why nothing was.
using Runner = absl::StatusOr<int> (*)(Session& session, const Request& request);

struct Verb {
  std::string_view group;
  std::string_view name;
  // What stands behind the verb: "ID"; "[ID]" may be left out; "ID..." are one or more.
  std::vector<std::string_view> arguments;
  std::string_view help;
  std::vector<Flag> flags;
  bool asks = false;  // before it does anything, unless --yes
  Runner run = nullptr;
};

const std::vector<Verb>& Verbs();
// The flags that every verb has.
const std::vector<Flag>& CommonFlags();

std::vector<Verb> InstanceVerbs();
std::vector<Verb> WatchVerbs();
std::vector<Verb> HubVerbs();
std::vector<Verb> EntityVerbs();

// Asks on a terminal whether to do `what`; without one --yes must say so. kFailedPrecondition: no.
absl::Status Confirm(const Request& request, const std::string& what);

// How far long work has come, on stderr if that is a terminal; goes with this object.
class Progress {
 public:
  ~Progress() { Show(""); }
  void Show(const std::string& text);

 private:
  bool shown_ = false;
};

// "2026-12-01T03:00:00Z", or a duration such as "90s", "2h" or "30d", which is added to now or,
// with `past`, taken from it. Names the flag in errors.
absl::StatusOr<google::protobuf::Timestamp> ParseTime(std::string_view flag,
                                                      const std::string& text, bool past);
// A whole number from 1 to `max`.
absl::StatusOr<int> ParseCount(std::string_view flag, const std::string& text, int max);
// Statuses with commas between, in any case.
absl::StatusOr<std::vector<OrchestrationStatus>> ParseStatuses(const std::string& text);
// "Running".
std::string StatusText(OrchestrationStatus status);

}  // namespace dt::cli

#endif  // DT_SERVER_CLI_VERBS_H_
