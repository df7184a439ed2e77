// TLS and client certificates, over real connections (deploy/OPERATIONS.md, section 7).
#include "server/rpc/tls.h"

#include "fmt/format.h"
#include "server/rpc/health_client.h"
#include "tests/rpc/access_fixture.h"
#include "tests/rpc/certificates.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using grpc::StatusCode;

constexpr char kServerNames[] = "DNS:localhost,IP:127.0.0.1";

// Files of a server's identity; written again, they replace it.
rpc::TlsOptions WriteTls(const ScratchDir& directory, const Identity& identity) {
  rpc::TlsOptions tls;
  tls.certificate_file = directory.Write("tls.crt", identity.certificate);
  tls.key_file = directory.Write("tls.key", identity.key);
  tls.reload_interval = absl::Seconds(1);
  return tls;
}

std::unique_ptr<Stub> TlsStub(const TestServer& server, const std::string& trusted,
                              const Identity& own = {}) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = trusted;
  options.pem_cert_chain = own.certificate;
  options.pem_private_key = own.key;
  return TaskHubSidecarService::NewStub(server.NewChannel(grpc::SslCredentials(options)));
}

TEST_CASE("tls: served to who trusts the certificate, and to nobody in plain text") {
  const ScratchDir directory;
  const Authority authority("authority");
  const Authority stranger("stranger");
  TestServerOptions options;
  options.server.tls = WriteTls(directory, authority.Issue("server", kServerNames));
  TestServer server(std::move(options));
  CHECK(Hello(*TlsStub(server, authority.certificate()), {}).ok());
  CHECK(Hello(*TlsStub(server, stranger.certificate()), {}).error_code() ==
        StatusCode::UNAVAILABLE);
  CHECK(Hello(server.stub(), {}).error_code() == StatusCode::UNAVAILABLE);  // plain text
  CHECK(rpc::CheckHealth(server.address(), /*tls=*/true, kPatience).ok());
  CHECK(absl::IsUnavailable(rpc::CheckHealth(server.address(), /*tls=*/false, kPatience)));
}

TEST_CASE("tls_reload: a new certificate is used without a restart, open connections go on") {
  const ScratchDir directory;
  const Authority before("before");
  const Authority after("after");
  TestServerOptions options;
  options.server.tls = WriteTls(directory, before.Issue("server", kServerNames));
  TestServer server(std::move(options));
  const std::unique_ptr<Stub> open = TlsStub(server, before.certificate());
  REQUIRE(Hello(*open, {}).ok());
  CHECK_FALSE(Hello(*TlsStub(server, after.certificate()), {}).ok());
  WriteTls(directory, after.Issue("server", kServerNames));
  Eventually([&] { return Hello(*TlsStub(server, after.certificate()), {}).ok(); });
  CHECK_FALSE(Hello(*TlsStub(server, before.certificate()), {}).ok());
  CHECK(Hello(*open, {}).ok());
}

TEST_CASE("tls_unix: a unix socket beside it stays plain") {
  const ScratchDir directory;
  const Authority authority("authority");
  rpc::ServerOptions options;
  options.addresses = {"unix:" + directory.Path("socket"), "127.0.0.1:0"};
  options.tls = WriteTls(directory, authority.Issue("server", kServerNames));
  rpc::AdmittedService service("None");
  const auto server = rpc::Server::Start(options, &service);
  REQUIRE(server.ok());
  (*server)->SetServing(true);
  CHECK(rpc::CheckHealth((*server)->addresses()[0], /*tls=*/false, kPatience).ok());
  CHECK(rpc::CheckHealth((*server)->addresses()[1], /*tls=*/true, kPatience).ok());
}

TEST_CASE("mtls: without an access file, a certificate of the authorities opens everything") {
  const ScratchDir directory;
  const Authority authority("authority");
  const Authority stranger("stranger");
  TestServerOptions options;
  options.server.tls = WriteTls(directory, authority.Issue("server", kServerNames));
  options.server.tls.client_ca_file = directory.Write("ca.crt", authority.certificate());
  TestServer server(std::move(options));
  const std::string& trusted = authority.certificate();
  CHECK(Hello(*TlsStub(server, trusted, authority.Issue("anybody", "")), {}).ok());
  CHECK(Hello(*TlsStub(server, trusted), {}).error_code() == StatusCode::UNAUTHENTICATED);
  // A token is no way around, as nobody has said which tokens there are.
  CHECK(Hello(*TlsStub(server, trusted), As("alice", "default")).error_code() ==
        StatusCode::UNAUTHENTICATED);
  // The handshake ends it.
  CHECK(Hello(*TlsStub(server, trusted, stranger.Issue("anybody", "")), {}).error_code() ==
        StatusCode::UNAVAILABLE);
  CHECK(rpc::CheckHealth(server.address(), /*tls=*/true, kPatience).ok());
}

TEST_CASE("mtls_rules: principals by common and alternative name, next to others by token") {
  const ScratchDir directory;
  const Authority authority("authority");
  TestServerOptions options;
  options.server.tls = WriteTls(directory, authority.Issue("server", kServerNames));
  options.server.tls.client_ca_file = directory.Write("ca.crt", authority.certificate());
  options.service.hubs.create_unknown = true;
  options.access = WithAccess(directory, {});
  Rewrite(directory, AccessText({{"alice", "a", "worker"}}) +
                         "[[principals]]\nname = 'bob'\ncertificate = 'bob'\n"
                         "rules = [{hub = 'b', role = 'worker'}]\n"
                         "[[principals]]\nname = 'carol'\n"
                         "certificate = ['spiffe://x/carol', 'carol.example']\n"
                         "rules = [{hub = 'c', role = 'worker'}]\n");
  TestServer server(std::move(options));
  // An admin's call would create them; nobody here is one.
  for (const char* hub : {"a", "b", "c"}) {
    REQUIRE(server.database().ResolveHub(hub, /*create=*/true).ok());
  }
  const std::string& trusted = authority.certificate();
  const auto in_hub = [](const std::string& hub) { return Metadata{{"taskhub", hub}}; };

  const auto bob = TlsStub(server, trusted, authority.Issue("bob", ""));
  CHECK(Hello(*bob, in_hub("b")).ok());
  CHECK(Hello(*bob, in_hub("a")).error_code() == StatusCode::PERMISSION_DENIED);
  for (const char* names : {"URI:spiffe://x/carol", "DNS:other,DNS:carol.example"}) {
    INFO(names);
    const auto carol = TlsStub(server, trusted, authority.Issue("someone", names));
    CHECK(Hello(*carol, in_hub("c")).ok());
    CHECK(Hello(*carol, in_hub("b")).error_code() == StatusCode::PERMISSION_DENIED);
  }
  CHECK(Hello(*TlsStub(server, trusted, authority.Issue("dave", "DNS:dave")), in_hub("b"))
            .error_code() == StatusCode::UNAUTHENTICATED);
  const auto without = TlsStub(server, trusted);
  CHECK(Hello(*without, in_hub("b")).error_code() == StatusCode::UNAUTHENTICATED);
  CHECK(Hello(*without, As("alice", "a")).ok());
  // A token decides alone, also beside a certificate.
  CHECK(Hello(*bob, As("alice", "a")).ok());
  CHECK(Hello(*bob, As("alice", "b")).error_code() == StatusCode::PERMISSION_DENIED);
  CHECK(Hello(*bob, As("mallory", "b")).error_code() == StatusCode::UNAUTHENTICATED);
}

TEST_CASE("tls_files: what is missing, unreadable or does not fit is named with what to do") {
  const ScratchDir directory;
  const Authority authority("authority");
  const rpc::TlsOptions good = WriteTls(directory, authority.Issue("server", kServerNames));
  const auto error = [](const rpc::TlsOptions& options) {
    const absl::Status status = rpc::CheckTls(options);
    CHECK(absl::IsInvalidArgument(status));
    return std::string(status.message());
  };
  CHECK(rpc::CheckTls(good).ok());
  CHECK(rpc::CheckTls({}).ok());
  rpc::TlsOptions bad = good;
  bad.key_file.clear();
  CHECK(error(bad) ==
        "listen.tls-certificate-file is set, but not listen.tls-key-file: give the certificate's "
        "key");
  bad = good;
  bad.certificate_file.clear();
  CHECK(error(bad) ==
        "listen.tls-certificate-file is not set, but listen.tls-key-file is: give both the "
        "certificate and its key");
  bad = good;
  bad.certificate_file = "/nowhere/tls.crt";
  CHECK(error(bad) ==
        "listen.tls-certificate-file '/nowhere/tls.crt': No such file or directory; give a PEM "
        "file that the daemon's user may read");
  bad = good;
  bad.certificate_file = good.key_file;
  CHECK(error(bad) == fmt::format("listen.tls-certificate-file '{}': holds no certificate in PEM "
                                  "form",
                                  good.key_file));
  bad = good;
  bad.key_file = directory.Write("other.key", authority.Issue("other", "").key);
  CHECK(error(bad) ==
        fmt::format("listen.tls-key-file '{}': is not the key of the first certificate in '{}': "
                    "give the pair that was made together",
                    bad.key_file, good.certificate_file));
  bad = good;
  bad.client_ca_file = directory.Write("empty.crt", "");
  CHECK(error(bad) == fmt::format("listen.tls-client-ca-file '{}': holds no certificate in PEM "
                                  "form",
                                  bad.client_ca_file));
  rpc::AdmittedService service("None");
  rpc::ServerOptions server;
  server.addresses = {"127.0.0.1:0"};
  server.tls = bad;
  CHECK(absl::IsInvalidArgument(rpc::Server::Start(server, &service).status()));
}

TEST_CASE("exposure: only local addresses go without TLS and authentication, unless told so") {
  const ScratchDir directory;
  const Authority authority("authority");
  const rpc::TlsOptions tls = WriteTls(directory, authority.Issue("server", kServerNames));
  const auto check = [](const char* address, const rpc::TlsOptions& files, bool authenticated,
                        bool insecure) {
    rpc::ServerOptions options;
    options.addresses = {"127.0.0.1:1", address};
    options.tls = files;
    options.insecure = insecure;
    return rpc::CheckExposure(options, authenticated);
  };
  for (const char* local :
       {"127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "localhost:1", "unix:/tmp/x"}) {
    INFO(local);
    CHECK(check(local, {}, false, false).ok());
  }
  for (const char* other : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "*:1", "db.example:1",
                            "localhost.example:1", "127.0.0.1.example:1"}) {
    INFO(other);
    CHECK(absl::IsInvalidArgument(check(other, {}, false, false)));
    CHECK(absl::IsInvalidArgument(check(other, {}, true, false)));
    CHECK(absl::IsInvalidArgument(check(other, tls, false, false)));
    CHECK(check(other, tls, true, false).ok());
    CHECK(check(other, {}, false, true).ok());
  }
  CHECK(check("0.0.0.0:1", {}, true, false).message() ==
        "others can reach the listen address 0.0.0.0:1, which lacks TLS: set "
        "listen.tls-certificate-file and access.file, or listen on 127.0.0.1, or give --insecure "
        "if something in front of it takes care");
}

}  // namespace
}  // namespace dt::testing
