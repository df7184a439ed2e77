// Connections: how many, how fast, and where they are listened for.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "fmt/format.h"
#include "server/rpc/connection_acceptor.h"
#include "server/rpc/health_client.h"
#include "server/rpc/listen_address.h"
#include "tests/rpc/access_fixture.h"
#include "tests/rpc/raw_call.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

TEST_CASE("connection_rate: as many at once as in a second, then one after the other") {
  rpc::RateLimit rate(4);
  absl::Time now = absl::UnixEpoch();
  for (int i = 0; i < 4; ++i) CHECK(rate.Take(now) == absl::ZeroDuration());
  for (int i = 0; i < 3; ++i) {
    CHECK(rate.Take(now) == absl::Milliseconds(250));
    now += absl::Milliseconds(125);
    CHECK(rate.Take(now) == absl::Milliseconds(125));
    now += absl::Milliseconds(125);
    CHECK(rate.Take(now) == absl::ZeroDuration());
  }
  now += absl::Hours(1);  // no more is saved up than for a second
  for (int i = 0; i < 4; ++i) CHECK(rate.Take(now) == absl::ZeroDuration());
  CHECK(rate.Take(now) > absl::ZeroDuration());
  now -= absl::Hours(1);  // the clock is set back
  CHECK(rate.Take(now) <= absl::Milliseconds(250));
  CHECK(rate.Take(now + absl::Milliseconds(250)) == absl::ZeroDuration());
}

int OpenFiles() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/fd"), &closedir);
  REQUIRE(directory != nullptr);
  int count = 0;
  while (readdir(directory.get()) != nullptr) ++count;
  return count;
}

TEST_CASE("connection_files: beyond the open files new ones are refused, and come again later") {
  constexpr int kCalls = 60;
  const LogCapture log;
  TestServerOptions options;
  options.server.connections.files_max =
      OpenFiles() + kCalls;  // two files for each, in one process
  TestServer server(std::move(options));
  FakeWorker worker(server.stub());
  server.Start("before", "i");
  REQUIRE(worker.Next().has_value());

  std::vector<std::unique_ptr<RawCall>> calls;
  for (int i = 0; i < kCalls; ++i) {
    calls.push_back(std::make_unique<RawCall>(
        server.address(), "/TaskHubSidecarService/StartInstance", Metadata{}, 1000));
  }
  REQUIRE(calls.back()->EndsWithin(kPatience));
  CHECK_FALSE(calls.back()->status().has_value());  // its connection was closed
  Eventually([&log] { return log.Has("a connection is refused: too many open files"); });
  server.Start("during", "j");
  CHECK(worker.Next().has_value());

  calls.clear();
  Eventually(
      [&server] { return rpc::CheckHealth(server.address(), /*tls=*/false, kPatience).ok(); });
}

TEST_CASE("listen_all: all interfaces are those of IPv4 and IPv6, at one port") {
  for (const char* const address : {"0.0.0.0:0", "[::]:0"}) {
    INFO(address);
    rpc::AdmittedService service("None");
    rpc::ServerOptions options;
    options.addresses = {address};
    const auto server = rpc::Server::Start(options, &service);
    REQUIRE(server.ok());
    (*server)->SetServing(true);
    const std::string& listened = (*server)->addresses().front();
    const std::string port = listened.substr(listened.rfind(':') + 1);
    for (const char* const host : {"127.0.0.1", "[::1]"}) {
      INFO(host);
      CHECK(rpc::CheckHealth(fmt::format("{}:{}", host, port), /*tls=*/false, kPatience).ok());
    }
  }
}

TEST_CASE("listen_unix_again: the socket of a server that died is replaced, no other file is") {
  const std::string path = fmt::format("/tmp/dt-rpc-test-{}.again", getpid());
  const auto open = [&path] { return rpc::ListenSockets::Open("unix:" + path, {}); };
  {
    auto first = open();
    REQUIRE(first.ok());
    REQUIRE(link(path.c_str(), (path + ".kept").c_str()) == 0);
  }
  CHECK(access(path.c_str(), F_OK) != 0);  // a server that ends takes it away
  REQUIRE(rename((path + ".kept").c_str(), path.c_str()) == 0);
  CHECK(open().ok());
  const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  REQUIRE(file >= 0);
  close(file);
  CHECK(absl::IsFailedPrecondition(open().status()));
  CHECK(unlink(path.c_str()) == 0);
}

}  // namespace
}  // namespace dt::testing
