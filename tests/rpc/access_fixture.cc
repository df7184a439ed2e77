#include "tests/rpc/access_fixture.h"

#include "absl/time/clock.h"
#include "fmt/format.h"
#include "server/rpc/bearer_token.h"
#include "tests/support/catch.h"

namespace dt::testing {

std::string TokenOf(const std::string& name) { return "token-of-" + name; }

std::string AccessText(const std::vector<Grant>& grants) {
  std::string text;
  for (const Grant& grant : grants) {
    text += fmt::format(
        "[[principals]]\nname = '{}'\nsha256 = '{}'\nrules = [{{hub = '{}', role = '{}'}}]\n",
        grant.name, rpc::FormatDigest(rpc::DigestOf(TokenOf(grant.name))), grant.hub, grant.role);
  }
  return text;
}

Metadata As(const std::string& name, const std::string& hub) {
  return {{"authorization", "Bearer " + TokenOf(name)}, {"taskhub", hub}};
}

rpc::AccessOptions WithAccess(const ScratchDir& directory, const std::vector<Grant>& grants) {
  rpc::AccessOptions options;
  options.file = directory.Write("access.toml", AccessText(grants));
  options.reload_interval = absl::Milliseconds(5);
  return options;
}

void Rewrite(const ScratchDir& directory, const std::string& text) {
  directory.Write("access.toml", text);
}

void Eventually(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!condition()) {
    REQUIRE(absl::Now() < deadline);
    absl::SleepFor(absl::Milliseconds(2));
  }
}

grpc::Status Hello(Stub& stub, const Metadata& metadata) {
  google::protobuf::Empty answer;
  return stub.Hello(NewContext(metadata).get(), {}, &answer);
}

}  // namespace dt::testing
