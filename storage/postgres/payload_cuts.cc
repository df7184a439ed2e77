#include "storage/postgres/payload_cuts.h"

#include <openssl/evp.h>

#include <cstdint>

#include "absl/strings/escaping.h"
#include "storage/postgres/check.h"

namespace dt::postgres {
namespace {

constexpr size_t kIdBytes = 16;
// One that is larger cannot be stored whatever its form.
constexpr size_t kMessageBytesMax = size_t{1} << 30;

// Reads fields one by one. Next() is false at the end and at what is no field.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}

  // `value` is empty unless the field is one of bytes.
  bool Next(std::string_view& value) {
    uint64_t key = 0;
    value = {};
    if (!Varint(key)) return false;
    uint64_t length = 0;
    switch (key & 7) {
      case 0:
        return Varint(length);
      case 1:
        return Skip(8);
      case 2: {
        if (!Varint(length) || length > bytes_.size() - at_) return false;
        value = bytes_.substr(at_, static_cast<size_t>(length));
        return Skip(value.size());
      }
      case 5:
        return Skip(4);
      default:
        return false;
    }
  }

 private:
  bool Varint(uint64_t& number) {
    number = 0;
    for (int shift = 0; shift < 64 && at_ < bytes_.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes_[at_++]);
      number |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) return true;
    }
    return false;
  }
  bool Skip(size_t count) {
    if (count > bytes_.size() - at_) return false;
    at_ += count;
    return true;
  }

  const std::string_view bytes_;
  size_t at_ = 0;
};

// Adds the large values at `depth` in order. Looks into large fields only.
void FindLarge(std::string_view message, int depth, size_t inline_bytes_max,
               std::vector<std::string_view>& found) {
  Fields fields(message);
  std::string_view value;
  while (fields.Next(value)) {
    if (value.size() <= inline_bytes_max) continue;
    if (depth == 1) {
      found.push_back(value);
    } else {
      FindLarge(value, depth - 1, inline_bytes_max, found);
    }
  }
}

void AppendInt4(size_t value, std::string& out) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((value >> shift) & 0xFF));
  }
}

std::string Digest(std::string_view data) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  DT_CHECK(EVP_Digest(data.data(), data.size(), digest, &size, EVP_sha256(), nullptr) == 1,
           "libcrypto has SHA-256");
  return std::string(reinterpret_cast<const char*>(digest), kIdBytes);
}

}  // namespace

std::string PayloadId(std::string_view data) { return absl::BytesToHexString(Digest(data)); }

std::optional<CutMessage> CutPayloads(std::string_view message, int depth,
                                      size_t inline_bytes_max) {
  if (message.size() <= inline_bytes_max || message.size() > kMessageBytesMax) return std::nullopt;
  std::vector<std::string_view> values;
  FindLarge(message, depth, inline_bytes_max, values);
  if (values.empty()) return std::nullopt;

  CutMessage result;
  result.bytes.push_back('\0');
  AppendInt4(message.size(), result.bytes);
  AppendInt4(values.size(), result.bytes);
  std::string rest;
  const char* from = message.data();
  for (const std::string_view value : values) {
    rest.append(from, value.data());
    from = value.data() + value.size();
    const std::string digest = Digest(value);
    AppendInt4(rest.size(), result.bytes);
    result.bytes.append(digest);
    result.cuts.push_back({absl::BytesToHexString(digest), value});
  }
  rest.append(from, message.data() + message.size());
  result.bytes.append(rest);
  return result;
}

}  // namespace dt::postgres
