// What a call tells beside its message (proto/README.md, section 12). All keys are optional.
#ifndef DT_SERVER_RPC_CALL_METADATA_H_
#define DT_SERVER_RPC_CALL_METADATA_H_

#include <string>
#include <string_view>

#include "grpcpp/server_context.h"
#include "server/dispatch/dispatch_thread.h"

namespace dt::rpc {

// The value of `key` (lower case), or an empty view. Valid while the call lives.
std::string_view MetadataValue(const grpc::CallbackServerContext& context, const char* key);

// Which gRPC library the peer uses, for the few rules that need it (RULES.md 1.6, 2.6, 5.25).
dispatch::ClientLibrary LibraryOfUserAgent(std::string_view user_agent);

// `text` for a log line, as long as callers like: cut at `bytes_max`. The log escapes it
// (logging.h).
std::string ForLog(std::string_view text, size_t bytes_max = 200);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_CALL_METADATA_H_
