// Bearer tokens: how they are made, read out of a call, and recognized. The daemon knows the
// SHA-256 of a token and never the token itself, so that whoever reads its files can call nothing.
#ifndef DT_SERVER_RPC_BEARER_TOKEN_H_
#define DT_SERVER_RPC_BEARER_TOKEN_H_

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace dt::rpc {

using TokenDigest = std::array<unsigned char, 32>;  // SHA-256

// A fresh token of 256 random bits, in characters that need no quoting anywhere.
absl::StatusOr<std::string> NewToken();

TokenDigest DigestOf(std::string_view token);
// Takes the same time wherever the two differ.
bool SameDigest(const TokenDigest& a, const TokenDigest& b);

// 64 hexadecimal digits, as sha256sum writes them; nullopt for anything else.
std::optional<TokenDigest> ParseDigest(std::string_view text);
std::string FormatDigest(const TokenDigest& digest);

// TOKEN of the metadata value `Bearer TOKEN`; nullopt for any other form and for an empty token.
std::optional<std::string_view> TokenOfHeader(std::string_view authorization);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_BEARER_TOKEN_H_
