#include "server/orchestration/wire.h"

namespace dt::orchestration {

bool WireReader::Fail() {
  failed_ = true;
  return false;
}

bool WireReader::ReadVarint(uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) return Fail();
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return Fail();
}

bool WireReader::Next(WireField& field) {
  if (failed_ || rest_.empty()) return false;
  const std::string_view start = rest_;
  uint64_t tag = 0;
  if (!ReadVarint(tag)) return false;
  field.number = static_cast<int>(tag >> 3);
  field.type = static_cast<WireType>(tag & 7);
  if (field.number <= 0) return Fail();
  field.value = 0;
  field.bytes = {};
  uint64_t length = 0;
  switch (field.type) {
    case WireType::kVarint:
      if (!ReadVarint(field.value)) return false;
      break;
    case WireType::kFixed64:
      length = 8;
      break;
    case WireType::kFixed32:
      length = 4;
      break;
    case WireType::kBytes:
      if (!ReadVarint(length)) return false;
      break;
    default:
      return Fail();
  }
  if (length > rest_.size()) return Fail();
  if (field.type == WireType::kBytes) field.bytes = rest_.substr(0, length);
  rest_.remove_prefix(length);
  field.whole = start.substr(0, start.size() - rest_.size());
  return true;
}

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++size;
  }
  return size;
}

size_t BytesFieldSize(size_t length) { return 1 + VarintSize(length) + length; }

void AppendVarint(uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void AppendVarintField(int number, uint64_t value, std::string& out) {
  AppendVarint(static_cast<uint64_t>(number) << 3 | static_cast<uint64_t>(WireType::kVarint), out);
  AppendVarint(value, out);
}

void AppendBytesHeader(int number, size_t length, std::string& out) {
  AppendVarint(static_cast<uint64_t>(number) << 3 | static_cast<uint64_t>(WireType::kBytes), out);
  AppendVarint(length, out);
}

void AppendBytesField(int number, std::string_view bytes, std::string& out) {
  AppendBytesHeader(number, bytes.size(), out);
  out.append(bytes);
}

}  // namespace dt::orchestration
