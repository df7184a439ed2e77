// Who may do what: the roles, what each RPC needs, and the principals with their rules. Pure: no
// file, clock or log; what is decided here depends on the arguments alone.
#ifndef DT_SERVER_RPC_ACCESS_H_
#define DT_SERVER_RPC_ACCESS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/rpc/bearer_token.h"

namespace dt::rpc {

enum class Role : int8_t { kReader, kWorker, kContributor, kAdmin };

std::string_view RoleName(Role role);
std::optional<Role> ParseRole(std::string_view name);
// Whether `held` covers `needed`: a contributor is also reader and worker, an admin is everything.
bool Includes(Role held, Role needed);

// A worker's StreamInstanceHistory (forWorkItemProcessing), which needs another role than a
// client's.
inline constexpr std::string_view kWorkItemHistory = "StreamInstanceHistory(forWorkItemProcessing)";

// The role that an RPC of TaskHubSidecarService or Management needs, which share no name; nullopt
// for names that are none.
std::optional<Role> RoleNeeded(std::string_view rpc);

// A hub's name, or a pattern in which each `*` stands for any characters, also none.
bool MatchesHub(std::string_view pattern, std::string_view hub);

struct AccessRule {
  std::string hub;  // name or pattern
  Role role = Role::kReader;
};

struct Principal {
  std::string name;                       // for messages and the log
  std::vector<TokenDigest> tokens;        // of the bearer tokens that it may show
  std::vector<std::string> certificates;  // common or alternative names of its certificates
  std::vector<AccessRule> rules;          // what no rule allows is denied
};

// What a call shows of its caller. A token decides alone when there is one.
struct Caller {
  bool has_authorization = false;    // metadata `authorization`, well-formed or not
  std::optional<TokenDigest> token;  // of a well-formed one
  bool certificate = false;          // a client certificate that one of our authorities signed
  std::vector<std::string> certificate_names;
};

// kUnauthenticated when no principal is meant, with what the caller should do; never null.
absl::StatusOr<const Principal*> Identify(const std::vector<Principal>& principals,
                                          const Caller& caller);
// kPermissionDenied unless a rule of the principal covers this RPC in this hub. The message is the
// same whether the hub exists or not.
absl::Status CheckRules(const Principal& principal, std::string_view rpc, std::string_view hub);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_ACCESS_H_
