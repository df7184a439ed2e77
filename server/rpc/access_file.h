// The access file: principals and their rules as TOML, parsed strictly. An unknown key is an error,
// because a misspelled one would change who may do what.
//
//   [[principals]]
//   name = "orders"
//   sha256 = "5cd0f1e8..."              # of its token; a list while tokens are exchanged
//   rules = [{hub = "orders-*", role = "contributor"}]
//
//   [[principals]]
//   name = "billing"
//   certificate = "spiffe://example.org/billing"   # common or alternative name; or a list
//   rules = [{hub = "billing", role = "worker"}, {hub = "orders-*", role = "reader"}]
#ifndef DT_SERVER_RPC_ACCESS_FILE_H_
#define DT_SERVER_RPC_ACCESS_FILE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/rpc/access.h"

namespace dt::rpc {

// Every principal is compared with every call's token.
inline constexpr size_t kPrincipalsMax = 1000;
inline constexpr size_t kAccessFileBytesMax = 1 << 20;

// The text of the file; kInvalidArgument with its name and the system's reason.
absl::StatusOr<std::string> ReadAccessFile(const std::string& path);

// kInvalidArgument with file, line, field and what to do. At least one principal; each has a name,
// tokens or certificates, and rules; no two share a name, a token or a certificate.
absl::StatusOr<std::vector<Principal>> ParseAccessFile(std::string_view text,
                                                       const std::string& path);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_ACCESS_FILE_H_
