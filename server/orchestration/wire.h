// Reading and writing the protobuf wire format by hand, for the two places where the generated code
// would copy what only passes through: looking at stored events, and splicing history into a
// request. Pure functions over bytes; the readers refuse what is malformed and never read past the
// end.
#ifndef DT_SERVER_ORCHESTRATION_WIRE_H_
#define DT_SERVER_ORCHESTRATION_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dt::orchestration {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct WireField {
  int number = 0;
  WireType type = WireType::kVarint;
  uint64_t value = 0;      // for kVarint
  std::string_view bytes;  // for kBytes, without the length
  std::string_view whole;  // the field with its tag
};

// Walks over the fields of one message. The views point into the bytes given.
class WireReader {
 public:
  explicit WireReader(std::string_view message) : rest_(message) {}

  // False at the end of the message, and at bytes that are no message.
  bool Next(WireField& field);
  // True when everything was read without a fault.
  bool AtEnd() const { return rest_.empty() && !failed_; }

 private:
  bool Fail();
  bool ReadVarint(uint64_t& value);

  std::string_view rest_;
  bool failed_ = false;
};

// Bytes that the varint of `value` takes.
size_t VarintSize(uint64_t value);
// Bytes of a field that holds `length` bytes: tag, length and contents. For field numbers below 16.
size_t BytesFieldSize(size_t length);

void AppendVarint(uint64_t value, std::string& out);
void AppendVarintField(int number, uint64_t value, std::string& out);
// The tag and the length alone: the caller adds `length` bytes.
void AppendBytesHeader(int number, size_t length, std::string& out);
void AppendBytesField(int number, std::string_view bytes, std::string& out);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_WIRE_H_
