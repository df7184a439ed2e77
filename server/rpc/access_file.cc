#include "server/rpc/access_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <set>
#include <sstream>
#include <utility>

#include "fmt/format.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include "toml++/toml.h"

namespace dt::rpc {
namespace {

class Parser {
 public:
  explicit Parser(std::string path) : path_(std::move(path)) {}

  absl::StatusOr<std::vector<Principal>> Parse(const toml::table& root) {
    absl::Status status = OnlyKeys(root, {"principals"});
    if (!status.ok()) return status;
    const toml::array* list = root["principals"].as_array();
    if (list == nullptr || list->empty()) {
      return Fault(root, "there is no [[principals]], so nobody could call anything: add one");
    }
    if (list->size() > kPrincipalsMax) {
      return Fault(*list, fmt::format("{} principals are over the limit of {}", list->size(),
                                      kPrincipalsMax));
    }
    std::vector<Principal> principals;
    for (const toml::node& node : *list) {
      absl::StatusOr<Principal> principal = ParsePrincipal(node);
      if (!principal.ok()) return principal.status();
      principals.push_back(*std::move(principal));
    }
    return principals;
  }

 private:
  absl::Status Fault(const toml::node& where, std::string_view what) const {
    return absl::InvalidArgumentError(
        fmt::format("{}, line {}: {}", path_, where.source().begin.line, what));
  }

  absl::Status OnlyKeys(const toml::table& table, std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : table) {
      bool good = false;
      for (const std::string_view one : known) good = good || key.str() == one;
      if (good) continue;
      return Fault(value, fmt::format("the key '{}' is unknown; there are {}", key.str(),
                                      fmt::join(known, ", ")));
    }
    return absl::OkStatus();
  }

  // A text that is not empty.
  absl::StatusOr<std::string> Text(const toml::table& table, std::string_view key) const {
    const toml::node* node = table.get(key);
    const auto* text = node == nullptr ? nullptr : node->as_string();
    if (text == nullptr || text->get().empty()) {
      return Fault(node == nullptr ? table : *node, fmt::format("give {} = \"...\"", key));
    }
    return text->get();
  }

  // One text, a list of texts, or nothing.
  absl::StatusOr<std::vector<std::string>> Texts(const toml::table& table,
                                                 std::string_view key) const {
    std::vector<std::string> texts;
    const toml::node* node = table.get(key);
    if (node == nullptr) return texts;
    const toml::array single = toml::array{*node};
    const toml::array& items = node->is_array() ? *node->as_array() : single;
    for (const toml::node& item : items) {
      const auto* text = item.as_string();
      if (text == nullptr || text->get().empty()) {
        return Fault(*node, fmt::format("{} must be a text or a list of texts", key));
      }
      texts.push_back(text->get());
    }
    return texts;
  }

  absl::Status ParseTokens(const toml::table& table, Principal& principal) {
    absl::StatusOr<std::vector<std::string>> digests = Texts(table, "sha256");
    if (!digests.ok()) return digests.status();
    for (const std::string& text : *digests) {
      // The value is not repeated: somebody may have written the token itself.
      const std::optional<TokenDigest> digest = ParseDigest(text);
      if (!digest.has_value()) {
        return Fault(*table.get("sha256"),
                     "sha256 must have 64 hexadecimal digits; `durabletask-sidecar token` prints "
                     "such a line, the token itself must not stand here");
      }
      if (*digest == DigestOf("") || !digests_.insert(*digest).second) {
        return Fault(*table.get("sha256"),
                     "this sha256 is that of an empty token or of a token that stands in this file "
                     "already: make another one with `durabletask-sidecar token`");
      }
      principal.tokens.push_back(*digest);
    }
    return absl::OkStatus();
  }

  absl::Status ParseCertificates(const toml::table& table, Principal& principal) {
    absl::StatusOr<std::vector<std::string>> names = Texts(table, "certificate");
    if (!names.ok()) return names.status();
    for (std::string& name : *names) {
      if (!certificates_.insert(name).second) {
        return Fault(*table.get("certificate"),
                     fmt::format("the certificate '{}' belongs to two principals", name));
      }
      principal.certificates.push_back(std::move(name));
    }
    if (!principal.tokens.empty() || !principal.certificates.empty()) return absl::OkStatus();
    return Fault(
        table, fmt::format("nothing identifies '{}': give sha256 or certificate", principal.name));
  }

  absl::Status ParseRule(const toml::node& node, Principal& principal) {
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      return Fault(node, "a rule must be {hub = \"...\", role = \"...\"}");
    }
    absl::Status status = OnlyKeys(*table, {"hub", "role"});
    if (!status.ok()) return status;
    absl::StatusOr<std::string> hub = Text(*table, "hub");
    if (!hub.ok()) return hub.status();
    const absl::StatusOr<std::string> name = Text(*table, "role");
    if (!name.ok()) return name.status();
    const std::optional<Role> role = ParseRole(*name);
    if (!role.has_value()) {
      return Fault(
          node, fmt::format("role '{}' is none of reader, worker, contributor and admin", *name));
    }
    principal.rules.push_back({*std::move(hub), *role});
    return absl::OkStatus();
  }

  absl::StatusOr<Principal> ParsePrincipal(const toml::node& node) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return Fault(node, "principals must be tables: [[principals]]");
    absl::Status status = OnlyKeys(*table, {"name", "sha256", "certificate", "rules"});
    if (!status.ok()) return status;
    absl::StatusOr<std::string> name = Text(*table, "name");
    if (!name.ok()) return name.status();
    Principal principal;
    principal.name = *std::move(name);
    if (!names_.insert(principal.name).second) {
      return Fault(node, fmt::format("the name '{}' belongs to two principals", principal.name));
    }
    status = ParseTokens(*table, principal);
    if (status.ok()) status = ParseCertificates(*table, principal);
    if (!status.ok()) return status;
    const toml::array* rules = (*table)["rules"].as_array();
    if (rules == nullptr || rules->empty()) {
      return Fault(node, fmt::format("'{}' has no rules: give rules = [{{hub = \"...\", role = "
                                     "\"...\"}}]",
                                     principal.name));
    }
    for (const toml::node& rule : *rules) {
      status = ParseRule(rule, principal);
      if (!status.ok()) return status;
    }
    return principal;
  }

  const std::string path_;
  std::set<std::string> names_;
  std::set<TokenDigest> digests_;
  std::set<std::string> certificates_;
};

}  // namespace

absl::StatusOr<std::string> ReadAccessFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) {
    return absl::InvalidArgumentError(fmt::format(
        "cannot read the access file '{}': {}; access.file must name a file that the daemon's user "
        "may read",
        path, errno == 0 ? "it is empty or no file" : std::strerror(errno)));
  }
  if (text.view().size() > kAccessFileBytesMax) {
    return absl::InvalidArgumentError(
        fmt::format("the access file '{}' has {} bytes, the limit is "
                    "{}",
                    path, text.view().size(), kAccessFileBytesMax));
  }
  return std::move(text).str();
}

absl::StatusOr<std::vector<Principal>> ParseAccessFile(std::string_view text,
                                                       const std::string& path) {
  const toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    const auto& where = parsed.error().source().begin;
    return absl::InvalidArgumentError(fmt::format("{}, line {}, column {}: {}", path, where.line,
                                                  where.column, parsed.error().description()));
  }
  return Parser(path).Parse(parsed.table());
}

}  // namespace dt::rpc
