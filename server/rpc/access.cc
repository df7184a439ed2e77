#include "server/rpc/access.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace dt::rpc {
namespace {

// No setting lets a hub have a longer name, and a longer one shall not keep the matching busy.
constexpr size_t kHubBytesMax = 200;

constexpr std::pair<std::string_view, Role> kRoles[] = {
    {"reader", Role::kReader},
    {"worker", Role::kWorker},
    {"contributor", Role::kContributor},
    {"admin", Role::kAdmin},
};

constexpr std::pair<std::string_view, Role> kRpcs[] = {
    {"GetInstance", Role::kReader},
    {"WaitForInstanceStart", Role::kReader},
    {"WaitForInstanceCompletion", Role::kReader},
    {"QueryInstances", Role::kReader},
    {"ListInstanceIds", Role::kReader},
    {"StreamInstanceHistory", Role::kReader},
    {"GetEntity", Role::kReader},
    {"QueryEntities", Role::kReader},
    // Of our own service Management.
    {"GetInstanceWaits", Role::kReader},
    {"ListWorkers", Role::kReader},
    {"ListTaskHubs", Role::kReader},

    {"Hello", Role::kWorker},
    {"GetWorkItems", Role::kWorker},
    {"CompleteOrchestratorTask", Role::kWorker},
    {"CompleteActivityTask", Role::kWorker},
    {"CompleteEntityTask", Role::kWorker},
    {"AbandonTaskOrchestratorWorkItem", Role::kWorker},
    {"AbandonTaskActivityWorkItem", Role::kWorker},
    {"AbandonTaskEntityWorkItem", Role::kWorker},
    {kWorkItemHistory, Role::kWorker},

    {"StartInstance", Role::kContributor},
    {"RaiseEvent", Role::kContributor},
    {"TerminateInstance", Role::kContributor},
    {"SuspendInstance", Role::kContributor},
    {"ResumeInstance", Role::kContributor},
    {"RestartInstance", Role::kContributor},
    {"RewindInstance", Role::kContributor},
    {"PurgeInstances", Role::kContributor},
    {"SignalEntity", Role::kContributor},
    {"CleanEntityStorage", Role::kContributor},
    {"SkipGracefulOrchestrationTerminations", Role::kContributor},

    {"CreateTaskHub", Role::kAdmin},
    {"DeleteTaskHub", Role::kAdmin},
};

// Looks at all principals and all their digests, so that the time tells nothing of which matched.
const Principal* FindByToken(const std::vector<Principal>& principals, const TokenDigest& token) {
  const Principal* found = nullptr;
  for (const Principal& principal : principals) {
    for (const TokenDigest& known : principal.tokens) {
      if (SameDigest(known, token)) found = &principal;
    }
  }
  return found;
}

// The principal of the first of these names that belongs to one.
const Principal* FindByCertificate(const std::vector<Principal>& principals,
                                   const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    for (const Principal& principal : principals) {
      const auto& known = principal.certificates;
      if (std::find(known.begin(), known.end(), name) != known.end()) return &principal;
    }
  }
  return nullptr;
}

}  // namespace

std::string_view RoleName(Role role) {
  for (const auto& [name, one] : kRoles) {
    if (one == role) return name;
  }
  return "unknown";
}

std::optional<Role> ParseRole(std::string_view name) {
  for (const auto& [known, role] : kRoles) {
    if (known == name) return role;
  }
  return std::nullopt;
}

bool Includes(Role held, Role needed) {
  if (held == needed || held == Role::kAdmin) return true;
  return held == Role::kContributor && needed != Role::kAdmin;
}

std::optional<Role> RoleNeeded(std::string_view rpc) {
  for (const auto& [name, role] : kRpcs) {
    if (name == rpc) return role;
  }
  return std::nullopt;
}

bool MatchesHub(std::string_view pattern, std::string_view hub) {
  // Where the last star stands and what it has taken; a mismatch lets it take one character more.
  size_t star = std::string_view::npos;
  size_t taken = 0;
  size_t at = 0;
  size_t i = 0;
  while (i < hub.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      taken = i;
    } else if (at < pattern.size() && pattern[at] == hub[i]) {
      ++at;
      ++i;
    } else if (star != std::string_view::npos) {
      at = star + 1;
      i = ++taken;
    } else {
      return false;
    }
  }
  while (at < pattern.size() && pattern[at] == '*') ++at;
  return at == pattern.size();
}

absl::StatusOr<const Principal*> Identify(const std::vector<Principal>& principals,
                                          const Caller& caller) {
  if (caller.has_authorization) {
    if (!caller.token.has_value()) {
      return absl::UnauthenticatedError(
          "the metadata `authorization` must be `Bearer TOKEN`, with a token that "
          "`durabletask-sidecar token` made");
    }
    if (const Principal* found = FindByToken(principals, *caller.token)) return found;
    return absl::UnauthenticatedError(
        "this bearer token is not known: send the one whose SHA-256 stands in the server's access "
        "file, or ask its operator for a new one");
  }
  if (caller.certificate) {
    if (const Principal* found = FindByCertificate(principals, caller.certificate_names)) {
      return found;
    }
    return absl::UnauthenticatedError(
        "no name of this client certificate is known: ask the server's operator to add one of them "
        "to the access file, or send the metadata `authorization: Bearer TOKEN`");
  }
  return absl::UnauthenticatedError(
      "the caller is unknown: send the metadata `authorization: Bearer TOKEN`, or, over TLS, show "
      "a "
      "client certificate that the server's access file names");
}

absl::Status CheckRules(const Principal& principal, std::string_view rpc, std::string_view hub) {
  // The table holds every RPC, which a test checks; were one missing, it would be the admin's.
  const Role needed = RoleNeeded(rpc).value_or(Role::kAdmin);
  for (const AccessRule& rule : principal.rules) {
    if (hub.size() > kHubBytesMax) break;
    if (Includes(rule.role, needed) && MatchesHub(rule.hub, hub)) return absl::OkStatus();
  }
  return absl::PermissionDeniedError(fmt::format(
      "'{}' may not call {} in task hub '{}', which needs the role {} there: use another task hub, "
      "or ask the server's operator for a rule in the access file",
      principal.name, rpc, hub, RoleName(needed)));
}

}  // namespace dt::rpc
