// The health check is made by hand: the two messages of grpc.health.v1 have one
// field each, so they are written and read as bytes here instead of generating code for them.
#include "server/rpc/health_client.h"

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/rpc/status.h"

namespace dt::rpc {
namespace {

// HealthCheckResponse{status: SERVING}: field 1, varint 1. NOT_SERVING is 2.
constexpr char kServing[] = {0x08, 0x01};

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  if (!buffer.DumpToSingleSlice(&slice).ok()) return "";
  return std::string(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

std::shared_ptr<grpc::ChannelCredentials> UnverifiedTls() {
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_verify_server_certs(false);
  options.set_check_call_host(false);
  options.set_certificate_verifier(std::make_shared<grpc::experimental::NoOpCertificateVerifier>());
  return grpc::experimental::TlsCredentials(options);
}

}  // namespace

absl::Status CheckHealth(const std::string& address, bool tls, absl::Duration timeout,
                         HealthQuestion question) {
  grpc::GenericStub stub(
      grpc::CreateChannel(address, tls ? UnverifiedTls() : grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  const grpc::ByteBuffer request(nullptr, 0);  // HealthCheckRequest{service: ""}
  grpc::ByteBuffer response;
  grpc::Status status;
  absl::Notification answered;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &response,
                 [&](grpc::Status answer) {
                   status = std::move(answer);
                   answered.Notify();
                 });
  answered.WaitForNotification();
  if (!status.ok()) {
    return absl::UnavailableError(fmt::format("{} does not answer{}: {}", address,
                                              tls ? " over TLS" : "", status.error_message()));
  }
  if (question == HealthQuestion::kAlive) return absl::OkStatus();
  if (BytesOf(response) != std::string(kServing, sizeof(kServing))) {
    return absl::UnavailableError(
        fmt::format("{} answers, but is not serving (starting, draining, "
                    "or without a database that takes writes)",
                    address));
  }
  return absl::OkStatus();
}

}  // namespace dt::rpc
