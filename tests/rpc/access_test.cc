// Who may do what, without gRPC: the table of RPCs, patterns, rules, and the file that holds them.
#include "server/rpc/access.h"

#include <set>

#include "fmt/format.h"
#include "google/protobuf/descriptor.h"
#include "proto/orchestrator_service.pb.h"
#include "server/rpc/access_file.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using rpc::Caller;
using rpc::Principal;
using rpc::Role;

// "test" and "other", hashed.
constexpr char kTestHash[] = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
constexpr char kOtherHash[] = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";

Caller WithToken(std::string_view token) {
  Caller caller;
  caller.has_authorization = true;
  caller.token = rpc::DigestOf(token);
  return caller;
}

std::vector<Principal> Parse(const std::string& text) {
  absl::StatusOr<std::vector<Principal>> parsed = rpc::ParseAccessFile(text, "access.toml");
  INFO(parsed.status().ToString());
  REQUIRE(parsed.ok());
  return *std::move(parsed);
}

std::string ErrorOf(const std::string& text) {
  const auto parsed = rpc::ParseAccessFile(text, "access.toml");
  REQUIRE(absl::IsInvalidArgument(parsed.status()));
  return std::string(parsed.status().message());
}

TEST_CASE("access_table: every RPC of the service needs a role, and there are no others") {
  const google::protobuf::ServiceDescriptor* service =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
          "TaskHubSidecarService");
  REQUIRE(service != nullptr);
  const std::set<std::string> reader = {
      "GetInstance",    "WaitForInstanceStart", "WaitForInstanceCompletion",
      "QueryInstances", "ListInstanceIds",      "StreamInstanceHistory",
      "GetEntity",      "QueryEntities"};
  const std::set<std::string> admin = {"CreateTaskHub", "DeleteTaskHub"};
  for (int i = 0; i < service->method_count(); ++i) {
    const std::string& name = service->method(i)->name();
    INFO(name);
    const std::optional<Role> needed = rpc::RoleNeeded(name);
    REQUIRE(needed.has_value());
    CHECK((*needed == Role::kReader) == reader.contains(name));
    CHECK((*needed == Role::kAdmin) == admin.contains(name));
    const bool worker = name == "Hello" || name == "GetWorkItems" ||
                        name.rfind("Complete", 0) == 0 || name.rfind("Abandon", 0) == 0;
    CHECK((*needed == Role::kWorker) == worker);
  }
  const google::protobuf::ServiceDescriptor* management =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
          "durabletask.postgres.v1.Management");
  REQUIRE(management != nullptr);
  for (int i = 0; i < management->method_count(); ++i) {
    INFO(management->method(i)->name());
    CHECK(rpc::RoleNeeded(management->method(i)->name()) == Role::kReader);
    CHECK(service->FindMethodByName(management->method(i)->name()) == nullptr);
  }
  CHECK(rpc::RoleNeeded(rpc::kWorkItemHistory) == Role::kWorker);
  CHECK_FALSE(rpc::RoleNeeded("Fly").has_value());
}

TEST_CASE("access_roles: a contributor is reader and worker, an admin is everything") {
  const Role all[] = {Role::kReader, Role::kWorker, Role::kContributor, Role::kAdmin};
  for (const Role held : all) {
    CHECK(rpc::ParseRole(rpc::RoleName(held)) == held);
    for (const Role needed : all) {
      INFO(rpc::RoleName(held) << " " << rpc::RoleName(needed));
      const bool expected = held == needed || held == Role::kAdmin ||
                            (held == Role::kContributor && needed != Role::kAdmin);
      CHECK(rpc::Includes(held, needed) == expected);
    }
  }
  CHECK_FALSE(rpc::ParseRole("owner").has_value());
}

TEST_CASE("access_patterns: a star is any characters, and everything else is itself") {
  CHECK(rpc::MatchesHub("orders", "orders"));
  CHECK_FALSE(rpc::MatchesHub("orders", "Orders"));
  CHECK_FALSE(rpc::MatchesHub("orders", "orders-2"));
  CHECK_FALSE(rpc::MatchesHub("orders-2", "orders"));
  CHECK(rpc::MatchesHub("*", "anything"));
  CHECK(rpc::MatchesHub("orders-*", "orders-"));
  CHECK(rpc::MatchesHub("orders-*", "orders-eu"));
  CHECK_FALSE(rpc::MatchesHub("orders-*", "orders"));
  CHECK_FALSE(rpc::MatchesHub("orders-*", "my-orders-eu"));
  CHECK(rpc::MatchesHub("*-eu", "orders-eu-eu"));
  CHECK(rpc::MatchesHub("a*b*c", "a-b-b-c"));
  CHECK_FALSE(rpc::MatchesHub("a*b*c", "a-b-b-d"));
  CHECK_FALSE(rpc::MatchesHub("a?c", "abc"));
  CHECK(rpc::MatchesHub("a?c", "a?c"));
  CHECK_FALSE(rpc::MatchesHub("", "a"));
}

TEST_CASE("access_file: tokens, certificates, rules, and tokens that are exchanged") {
  const std::vector<Principal> principals = Parse(fmt::format(R"(
    [[principals]]
    name = "orders"
    sha256 = ["{}", "{}"]
    rules = [{{hub = "orders-*", role = "worker"}}, {{hub = "orders-test", role = "admin"}}]

    [[principals]]
    name = "billing"
    certificate = "spiffe://example.org/billing"
    rules = [{{hub = "billing", role = "reader"}}]
  )",
                                                              kTestHash, kOtherHash));
  REQUIRE(principals.size() == 2);
  for (const char* token : {"test", "other"}) {
    const auto found = rpc::Identify(principals, WithToken(token));
    REQUIRE(found.ok());
    CHECK((*found)->name == "orders");
  }
  Caller billing;
  billing.certificate = true;
  billing.certificate_names = {"unknown", "spiffe://example.org/billing"};
  REQUIRE(rpc::Identify(principals, billing).ok());
  CHECK((*rpc::Identify(principals, billing))->name == "billing");

  CHECK(rpc::CheckRules(principals[0], "Hello", "orders-eu").ok());
  CHECK(rpc::CheckRules(principals[0], "DeleteTaskHub", "orders-test").ok());
  const absl::Status denied = rpc::CheckRules(principals[0], "StartInstance", "orders-eu");
  CHECK(absl::IsPermissionDenied(denied));
  CHECK(denied.message() ==
        "'orders' may not call StartInstance in task hub 'orders-eu', which needs the role "
        "contributor there: use another task hub, or ask the server's operator for a rule in the "
        "access file");
  CHECK(absl::IsPermissionDenied(rpc::CheckRules(principals[0], "Hello", "billing")));
  CHECK(absl::IsPermissionDenied(rpc::CheckRules(principals[1], "Hello", "billing")));
  CHECK(absl::IsPermissionDenied(
      rpc::CheckRules(principals[0], "Hello", "orders-" + std::string(200, 'x'))));
}

TEST_CASE("access_readme: the file that deploy/ACCESS.md shows is a good one") {
  const absl::StatusOr<std::string> readme = rpc::ReadAccessFile(DT_SOURCE_DIR "/deploy/ACCESS.md");
  REQUIRE(readme.ok());
  const std::string fence = "```toml\n[[principals]]";
  const size_t begin = readme->find(fence);
  REQUIRE(begin != std::string::npos);
  const size_t first_line = begin + fence.find('[');
  const std::vector<Principal> principals =
      Parse(readme->substr(first_line, readme->find("```", first_line) - first_line));
  REQUIRE(principals.size() == 2);
  CHECK(rpc::CheckRules(principals[0], "StartInstance", "orders-eu").ok());
  CHECK(absl::IsPermissionDenied(rpc::CheckRules(principals[0], "StartInstance", "billing")));
  CHECK(rpc::CheckRules(principals[1], "GetWorkItems", "billing").ok());
}

TEST_CASE("access_unknown: each way to be nobody says what to do, and repeats no token") {
  const std::vector<Principal> principals =
      Parse(fmt::format("[[principals]]\nname = 'a'\nsha256 = '{}'\n"
                        "rules = [{{hub = '*', role = 'admin'}}]",
                        kTestHash));
  Caller nobody;
  CHECK(absl::IsUnauthenticated(rpc::Identify(principals, nobody).status()));
  Caller malformed;
  malformed.has_authorization = true;
  CHECK(absl::IsUnauthenticated(rpc::Identify(principals, malformed).status()));
  const absl::Status wrong = rpc::Identify(principals, WithToken("tset")).status();
  CHECK(absl::IsUnauthenticated(wrong));
  CHECK(wrong.message().find("tset") == absl::string_view::npos);
  // A certificate does not help whoever shows a wrong token.
  Caller both = WithToken("tset");
  both.certificate = true;
  both.certificate_names = {"a"};
  CHECK(absl::IsUnauthenticated(rpc::Identify(principals, both).status()));
}

TEST_CASE("access_file_errors: file, line, field and what to do") {
  const std::string head = "[[principals]]\nname = 'a'\n";
  const std::string rules = "rules = [{hub = '*', role = 'reader'}]\n";
  const std::string token = fmt::format("sha256 = '{}'\n", kTestHash);
  CHECK(ErrorOf("") ==
        "access.toml, line 1: there is no [[principals]], so nobody could call anything: add one");
  CHECK(ErrorOf("[[principals]\n").find("access.toml, line 1, column ") == 0);
  CHECK(ErrorOf(head + token + rules + "role = 'admin'\n") ==
        "access.toml, line 5: the key 'role' is unknown; there are name, sha256, certificate, "
        "rules");
  CHECK(ErrorOf(head + rules) ==
        "access.toml, line 1: nothing identifies 'a': give sha256 or certificate");
  CHECK(ErrorOf(head + token) ==
        "access.toml, line 1: 'a' has no rules: give rules = [{hub = \"...\", role = \"...\"}]");
  CHECK(ErrorOf(head + token + "rules = [{hub = '*', role = 'owner'}]\n") ==
        "access.toml, line 4: role 'owner' is none of reader, worker, contributor and admin");
  CHECK(ErrorOf(head + token + "rules = [{role = 'reader'}]\n") ==
        "access.toml, line 4: give hub = \"...\"");
  CHECK(ErrorOf("[[principals]]\n" + token + rules) == "access.toml, line 1: give name = \"...\"");
  const std::string secret = ErrorOf(head + "sha256 = 'my-secret-token'\n" + rules);
  CHECK(secret.find("access.toml, line 3: sha256 must have 64 hexadecimal digits") == 0);
  CHECK(secret.find("my-secret-token") == std::string::npos);
  CHECK(ErrorOf(head + token + rules + "[[principals]]\nname = 'b'\n" + token + rules)
            .find("access.toml, line 7: this sha256 is that of an empty token or of a token that "
                  "stands in this file already") == 0);
  CHECK(
      ErrorOf(head + token + rules + head + rules).find("the name 'a' belongs to two principals") !=
      std::string::npos);
  std::string many;
  for (size_t i = 0; i <= rpc::kPrincipalsMax; ++i) many += "[[principals]]\n";
  CHECK(ErrorOf(many).find("1001 principals are over the limit of 1000") != std::string::npos);
  CHECK(rpc::ReadAccessFile("/nowhere/access.toml").status().message() ==
        "cannot read the access file '/nowhere/access.toml': No such file or directory; "
        "access.file must name a file that the daemon's user may read");
}

TEST_CASE("bearer_token: fresh ones differ, and only the exact form of the header counts") {
  const absl::StatusOr<std::string> one = rpc::NewToken();
  const absl::StatusOr<std::string> two = rpc::NewToken();
  REQUIRE(one.ok());
  REQUIRE(two.ok());
  CHECK(*one != *two);
  CHECK(one->size() == 5 + 43);
  CHECK(rpc::TokenOfHeader("Bearer " + *one) == *one);
  CHECK(rpc::TokenOfHeader("bearer abc") == "abc");
  for (const char* bad :
       {"", "Bearer", "Bearer ", "Bearer  abc", "Bearer a b", "Basic abc", "abc"}) {
    INFO(bad);
    CHECK_FALSE(rpc::TokenOfHeader(bad).has_value());
  }
  CHECK(rpc::FormatDigest(rpc::DigestOf("test")) == kTestHash);
  CHECK(rpc::ParseDigest(kTestHash) == rpc::DigestOf("test"));
  CHECK_FALSE(rpc::ParseDigest("9f86").has_value());
  CHECK_FALSE(rpc::ParseDigest(std::string(64, 'g')).has_value());
  CHECK_FALSE(rpc::SameDigest(rpc::DigestOf("test"), rpc::DigestOf("tesu")));
}

}  // namespace
}  // namespace dt::testing
