#include "server/cli/session.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/time/clock.h"
#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "server/rpc/status.h"

namespace dt::cli {
namespace {

absl::Status ReadFile(const std::string& path, std::string& text) {
  if (path.empty()) return absl::OkStatus();
  std::ifstream file(path, std::ios::binary);
  std::ostringstream read;
  if (file) read << file.rdbuf();
  if (!file) return absl::InvalidArgumentError(fmt::format("cannot read the file '{}'", path));
  text = read.str();
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsOf(
    const SessionOptions& options) {
  const bool files = !options.ca_file.empty() || !options.certificate_file.empty();
  if (options.certificate_file.empty() != options.key_file.empty()) {
    return absl::InvalidArgumentError(
        "a client certificate needs both --tls-certificate-file and --tls-key-file");
  }
  if (!options.tls && !files) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  for (const auto& [path, text] : {std::pair(&options.ca_file, &ssl.pem_root_certs),
                                   std::pair(&options.certificate_file, &ssl.pem_cert_chain),
                                   std::pair(&options.key_file, &ssl.pem_private_key)}) {
    const absl::Status read = ReadFile(*path, *text);
    if (!read.ok()) return read;
  }
  return grpc::SslCredentials(ssl);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Open(SessionOptions options) {
  const absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials =
      CredentialsOf(options);
  if (!credentials.ok()) return credentials.status();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  auto channel = grpc::CreateCustomChannel(options.address, *credentials, arguments);
  return std::unique_ptr<Session>(new Session(std::move(options), std::move(channel)));
}

Session::Session(SessionOptions options, std::shared_ptr<grpc::Channel> channel)
    : options_(std::move(options)),
      sidecar_(TaskHubSidecarService::NewStub(channel)),
      management_(durabletask::postgres::v1::Management::NewStub(channel)) {}

std::string Session::HubText() const {
  return options_.task_hub.empty() ? "the default task hub"
                                   : fmt::format("task hub '{}'", options_.task_hub);
}

std::unique_ptr<grpc::ClientContext> Session::NewContext(absl::Duration timeout) {
  auto context = std::make_unique<grpc::ClientContext>();
  if (timeout == absl::ZeroDuration()) timeout = options_.timeout;
  context->set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  if (!options_.task_hub.empty()) context->AddMetadata("taskhub", options_.task_hub);
  if (!options_.token.empty()) context->AddMetadata("authorization", "Bearer " + options_.token);
  return context;
}

absl::Status Session::Explain(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  const absl::Status plain = rpc::FromGrpc(status);
  std::string message = status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      message += fmt::format(
          " ({}; is a daemon there, with {}? --address or DTPG_ADDRESS names another one)",
          options_.address,
          options_.tls || !options_.ca_file.empty() ? "this TLS" : "plain text, no TLS");
      break;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      message += fmt::format(" ({} did not answer within {}; --timeout waits for longer)",
                             options_.address, absl::FormatDuration(options_.timeout));
      break;
    case grpc::StatusCode::UNAUTHENTICATED:
      message += " (DTPG_TOKEN or --token-file gives the token)";
      break;
    case grpc::StatusCode::UNIMPLEMENTED:
      message += fmt::format(" (the server at {} does not know this call; is it an older one?)",
                             options_.address);
      break;
    default:
      break;
  }
  return absl::Status(plain.code(), message);
}

}  // namespace dt::cli
