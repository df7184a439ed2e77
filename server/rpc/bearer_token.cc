#include "server/rpc/bearer_token.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "openssl/crypto.h"
#include "openssl/rand.h"
#include "openssl/sha.h"

namespace dt::rpc {
namespace {

// Says in a log or a repository what it is, so that scanners for leaked secrets find it.
constexpr std::string_view kPrefix = "dtpg_";
constexpr size_t kRandomBytes = 32;
constexpr std::string_view kScheme = "Bearer ";  // in any case (RFC 7235)

bool IsHexDigit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// The characters of a token (RFC 6750).
bool IsTokenCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("-._~+/=").find(c) != std::string_view::npos;
}

}  // namespace

absl::StatusOr<std::string> NewToken() {
  std::string bytes(kRandomBytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), kRandomBytes) != 1) {
    return absl::InternalError("the system gives no random bytes for a token");
  }
  return std::string(kPrefix) + absl::WebSafeBase64Escape(bytes);
}

TokenDigest DigestOf(std::string_view token) {
  TokenDigest digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  return digest;
}

bool SameDigest(const TokenDigest& a, const TokenDigest& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::optional<TokenDigest> ParseDigest(std::string_view text) {
  TokenDigest digest;
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (const char c : text) {
    if (!IsHexDigit(c)) return std::nullopt;
  }
  const std::string bytes = absl::HexStringToBytes(absl::string_view(text.data(), text.size()));
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

std::string FormatDigest(const TokenDigest& digest) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

std::optional<std::string_view> TokenOfHeader(std::string_view authorization) {
  const std::string_view scheme = authorization.substr(0, kScheme.size());
  if (!absl::EqualsIgnoreCase(absl::string_view(scheme.data(), scheme.size()),
                              absl::string_view(kScheme.data(), kScheme.size()))) {
    return std::nullopt;
  }
  const std::string_view token = authorization.substr(kScheme.size());
  if (token.empty()) return std::nullopt;
  for (const char c : token) {
    if (!IsTokenCharacter(c)) return std::nullopt;
  }
  return token;
}

}  // namespace dt::rpc
