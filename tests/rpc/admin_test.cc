// The admin listener over real connections: what it answers, to whom, and that callers who behave
// badly keep nobody out (deploy/OPERATIONS.md, sections 4 and 7).
#include <sys/socket.h>

#include <deque>

#include "absl/time/clock.h"
#include "server/admin/listener.h"
#include "server/admin/probes.h"
#include "tests/rpc/access_fixture.h"
#include "tests/rpc/admin_client.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

// A listener with the probes, and with /metrics for whoever asks for a page that is large.
class AdminFixture {
 public:
  explicit AdminFixture(admin::ListenerOptions options = {}, rpc::AccessOptions access = {}) {
    const bool certificates = !options.tls.client_ca_file.empty();
    access_ = *rpc::AccessControl::Open(std::move(access), certificates);
    routes_.Add("/metrics", admin::Audience::kMetrics, [](const admin::Request&) {
      return admin::Response{200, std::string(8 << 20, 'm')};
    });
    routes_.Add("/page", admin::Audience::kReaders, [](const admin::Request& request) {
      return admin::Response{200, request.query.find("q")->second, "text/html"};
    });
    options.addresses = {"127.0.0.1:0"};
    listener_ = *admin::Listener::Start(options, &routes_, access_.get());
  }

  admin::Probes& probes() { return probes_; }
  const std::string& address() const { return listener_->addresses().front(); }
  int Status(const std::string& path, const std::string& headers = "") const {
    return Get(address(), path, headers).status;
  }

 private:
  std::unique_ptr<rpc::AccessControl> access_;
  admin::Routes routes_;
  admin::Probes probes_{&routes_};
  std::unique_ptr<admin::Listener> listener_;
};

std::string Bearer(const std::string& name) {
  return "Authorization: Bearer " + TokenOf(name) + "\r\n";
}

TEST_CASE("admin_probes: alive at once, ready when told so, and why not in words") {
  AdminFixture fixture;
  CHECK(Get(fixture.address(), "/livez").body == "alive\n");
  for (const char* path : {"/readyz", "/healthz"}) {
    const HttpAnswer starting = Get(fixture.address(), path);
    CHECK(starting.status == 503);
    CHECK(starting.body ==
          "not ready: the daemon is starting: it waits for PostgreSQL and its schema\n");
  }
  fixture.probes().SetReady(absl::OkStatus());
  CHECK(Get(fixture.address(), "/readyz").body == "ready\n");
  fixture.probes().SetReady(absl::UnavailableError("PostgreSQL is read-only"));
  CHECK(Get(fixture.address(), "/readyz").body == "not ready: PostgreSQL is read-only\n");
  CHECK(fixture.Status("/livez") == 200);
  fixture.probes().SetDraining();
  fixture.probes().SetReady(absl::OkStatus());
  CHECK(Get(fixture.address(), "/readyz").body == "not ready: the daemon is draining: it ends\n");
  CHECK(fixture.Status("/livez") == 200);
}

TEST_CASE("admin_http: paths, queries and methods") {
  AdminFixture fixture;
  const HttpAnswer page = Get(fixture.address(), "/page?q=a%20b&x");
  CHECK(page.status == 200);
  CHECK(page.body == "a b");
  CHECK(page.headers.find("Content-Type: text/html\r\n") != std::string::npos);
  CHECK(page.headers.find("Connection: close\r\n") != std::string::npos);
  CHECK(Get(fixture.address(), "/livezz").body ==
        "no such page; there are: /healthz /livez /metrics /page /readyz\n");
  const auto answer = [&](const std::string& request) {
    const RawConnection connection(fixture.address());
    CHECK(connection.Send(request));
    return ParseAnswer(connection.ReadToEnd());
  };
  const HttpAnswer head = answer("HEAD /livez HTTP/1.1\r\n\r\n");
  CHECK(head.status == 200);
  CHECK(head.body.empty());
  CHECK(answer("POST /livez HTTP/1.1\r\nContent-Length: 0\r\n\r\n").status == 405);
  CHECK(answer("DELETE /livez HTTP/1.1\r\n\r\n").status == 405);
  CHECK(answer("this is no HTTP\r\n\r\n").status == 400);
  // More than a request may have ends it.
  CHECK(answer("GET /livez HTTP/1.1\r\n" + std::string(64 << 10, 'x')).status != 200);
}

TEST_CASE("admin_access: probes are open, metrics are for readers of all hubs") {
  const ScratchDir directory;
  const rpc::AccessOptions access = WithAccess(
      directory, {{"alice", "*", "reader"}, {"bob", "shop-*", "admin"}, {"carol", "*", "worker"}});
  AdminFixture fixture({}, access);
  CHECK(fixture.Status("/livez") == 200);
  CHECK(fixture.Status("/readyz") == 503);
  const HttpAnswer nobody = Get(fixture.address(), "/metrics");
  CHECK(nobody.status == 401);
  CHECK(nobody.headers.find("WWW-Authenticate: Bearer\r\n") != std::string::npos);
  CHECK(fixture.Status("/metrics", Bearer("mallory")) == 401);
  CHECK(fixture.Status("/metrics", Bearer("alice")) == 200);
  CHECK(fixture.Status("/metrics", Bearer("bob")) == 403);
  CHECK(fixture.Status("/metrics", Bearer("carol")) == 403);

  admin::ListenerOptions options;
  options.http.open_probes = false;
  options.http.open_metrics = true;
  AdminFixture other(options, access);
  CHECK(other.Status("/livez") == 401);
  CHECK(other.Status("/livez", Bearer("alice")) == 200);
  CHECK(other.Status("/metrics") == 200);
  CHECK(other.Status("/page?q=1") == 401);
}

TEST_CASE("admin_tls: the certificate of the daemon, and clients by theirs") {
  const ScratchDir directory;
  const Authority authority("authority");
  const Authority stranger("stranger");
  const Identity server = authority.Issue("server", "IP:127.0.0.1");
  admin::ListenerOptions options;
  options.tls.certificate_file = directory.Write("tls.crt", server.certificate);
  options.tls.key_file = directory.Write("tls.key", server.key);
  options.tls.client_ca_file = directory.Write("ca.crt", authority.certificate());
  options.tls.reload_interval = absl::ZeroDuration();
  rpc::AccessOptions access = WithAccess(directory, {});
  Rewrite(directory,
          "[[principals]]\nname = 'carol'\ncertificate = 'carol.example'\n"
          "rules = [{hub = '*', role = 'reader'}]\n");
  AdminFixture fixture(options, access);
  const auto status = [&](const Identity& own) {
    return GetOverTls(fixture.address(), "/page?q=1", authority.certificate(), own).status;
  };
  CHECK(GetOverTls(fixture.address(), "/livez", authority.certificate()).status == 200);
  CHECK(GetOverTls(fixture.address(), "/livez", stranger.certificate()).status == 0);
  CHECK(Get(fixture.address(), "/livez").status == 0);
  CHECK(status({}) == 401);
  CHECK(status(authority.Issue("x", "DNS:carol.example")) == 200);
  CHECK(status(authority.Issue("carol.example", "")) == 200);
  CHECK(status(authority.Issue("dave", "DNS:dave")) == 401);
  CHECK(status(stranger.Issue("carol.example", "")) == 0);
  // A certificate that is exchanged is used without a restart.
  const Identity next = stranger.Issue("server", "IP:127.0.0.1");
  directory.Write("tls.key", next.key);
  directory.Write("tls.crt", next.certificate);
  CHECK(GetOverTls(fixture.address(), "/livez", stranger.certificate()).status == 200);
  // One that is not good is not.
  directory.Write("tls.crt", "nothing");
  CHECK(GetOverTls(fixture.address(), "/livez", stranger.certificate()).status == 200);
}

TEST_CASE("admin_slow: callers who send, or read, nothing keep nobody out") {
  admin::ListenerOptions options;
  options.connections_max = 3;
  options.connections_per_second_max = 10000;
  AdminFixture fixture(options);
  std::deque<RawConnection> held;
  for (int i = 0; i < 20; ++i) {
    held.emplace_back(fixture.address());  // half open
    held.emplace_back(fixture.address()).Send("GET /livez HT");
    held.emplace_back(fixture.address()).Send("GET /metrics HTTP/1.1\r\n\r\n");  // never read
    held.emplace_back(fixture.address()).Send("\x16\x03\x01 garbage");
    const absl::Time begin = absl::Now();
    CHECK(fixture.Status("/livez") == 200);
    CHECK(absl::Now() - begin < options.connection_time_max / 2);
  }
}

TEST_CASE("admin_deadline: a connection ends after its time, however it is spent") {
  admin::ListenerOptions options;
  options.connection_time_max = absl::Milliseconds(200);
  AdminFixture fixture(options);
  const absl::Time begin = absl::Now();
  const RawConnection silent(fixture.address());
  const RawConnection dripping(fixture.address());
  while (dripping.Send("x")) {
    REQUIRE(absl::Now() - begin < kPatience);
    absl::SleepFor(absl::Milliseconds(5));
  }
  CHECK(silent.ReadToEnd().empty());
  CHECK(absl::Now() - begin >= options.connection_time_max);
  CHECK(fixture.Status("/livez") == 200);
}

TEST_CASE("admin_start: an address that is taken is an error that says so") {
  AdminFixture fixture;
  admin::Routes routes;
  const auto access = *rpc::AccessControl::Open({}, /*certificates=*/false);
  admin::ListenerOptions options;
  options.addresses = {fixture.address()};
  const auto second = admin::Listener::Start(options, &routes, access.get());
  CHECK(absl::IsFailedPrecondition(second.status()));
}

}  // namespace
}  // namespace dt::testing
