#include "server/rpc/call_metadata.h"

namespace dt::rpc {

std::string_view MetadataValue(const grpc::CallbackServerContext& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(key);
  if (found == metadata.end()) return {};
  return std::string_view(found->second.data(), found->second.size());
}

dispatch::ClientLibrary LibraryOfUserAgent(std::string_view user_agent) {
  if (user_agent.find("grpc-go") != std::string_view::npos) return dispatch::ClientLibrary::kGo;
  if (user_agent.find("grpc-java") != std::string_view::npos) return dispatch::ClientLibrary::kJava;
  if (user_agent.find("grpc-dotnet") != std::string_view::npos) {
    return dispatch::ClientLibrary::kDotnet;
  }
  return dispatch::ClientLibrary::kOther;
}

std::string ForLog(std::string_view text, size_t bytes_max) {
  return std::string(text.substr(0, bytes_max));
}

}  // namespace dt::rpc
