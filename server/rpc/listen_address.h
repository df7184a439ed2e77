// Listen addresses: what may be one, and why one cannot be had.
#ifndef DT_SERVER_RPC_LISTEN_ADDRESS_H_
#define DT_SERVER_RPC_LISTEN_ADDRESS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace dt::rpc {

// kInvalidArgument unless `address` is host:port or unix:path; kFailedPrecondition when it is a
// unix socket that somebody serves: gRPC would unlink it and take its place.
absl::Status CheckListenAddress(const std::string& address);

bool IsUnixSocket(const std::string& address);
// Whether only this machine can connect: a unix socket, localhost, 127.x.x.x or ::1. A host name is
// not looked up.
bool IsLocal(const std::string& address);

// The error for addresses of which at least one could not be listened on: kFailedPrecondition with
// the address and the system's reason.
absl::Status WhyNotListening(const std::vector<std::string>& addresses);

// `address` with the real port where port 0 was asked for.
std::string WithPort(const std::string& address, int port);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_LISTEN_ADDRESS_H_
