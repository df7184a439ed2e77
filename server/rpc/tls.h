// TLS of the listen addresses: certificate, key and the authorities of client certificates, from
// files that are looked at again while the server runs.
#ifndef DT_SERVER_RPC_TLS_H_
#define DT_SERVER_RPC_TLS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/security/server_credentials.h"

namespace dt::rpc {

struct TlsOptions {
  std::string certificate_file;  // PEM, the server's certificate first; empty = no TLS
  std::string key_file;          // PEM, not encrypted
  // PEM. Client certificates are asked for, and those that are shown must be signed by one of
  // these. None is demanded by the handshake, so that health checks need none: what a call needs is
  // decided by AccessControl.
  std::string client_ca_file;
  absl::Duration reload_interval = absl::Seconds(10);

  bool enabled() const { return !certificate_file.empty(); }
};

// kInvalidArgument with the file and what to do: unless all files that are needed are given, can be
// read, and belong together.
absl::Status CheckTls(const TlsOptions& options);

// Credentials for listening; plain text without TLS. Files are read anew when they change.
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsOptions& options);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_TLS_H_
