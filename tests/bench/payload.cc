#include "tests/bench/payload.h"

#include <charconv>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "fmt/format.h"

namespace dt::bench {
namespace {

constexpr size_t kDigits = 20;  // of the largest 64 bit number
constexpr char kPadding = 'x';
constexpr size_t kShownMax = 100;

// Compares each byte with the next one: memcmp is as fast as memory, and payloads have megabytes.
bool IsPadding(absl::string_view text) {
  if (text.empty()) return true;
  return text.front() == kPadding &&
         std::memcmp(text.data(), text.data() + 1, text.size() - 1) == 0;
}

// The digits, the padding and the closing quote.
bool DecodeTail(absl::string_view text, uint64_t& value) {
  if (text.size() < kDigits + 1 || text.back() != '"') return false;
  const char* end = text.data() + kDigits;
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end &&
         IsPadding(text.substr(kDigits, text.size() - kDigits - 1));
}

// Ends what has been begun with a quote and perhaps numbers, which do not count for `size`.
void AppendTail(uint64_t value, size_t size, std::string& text) {
  const size_t padding = size > kDigits + 2 ? size - kDigits - 2 : 0;
  text.reserve(text.size() + kDigits + padding + 1);
  fmt::format_to(std::back_inserter(text), "{:020}", value);
  text.append(padding, kPadding);
  text.push_back('"');
}

}  // namespace

uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

std::string EncodeValue(uint64_t value, size_t size) {
  std::string text = "\"";
  AppendTail(value, size, text);
  return text;
}

bool DecodeValue(absl::string_view text, uint64_t& value) {
  return !text.empty() && text.front() == '"' && DecodeTail(text.substr(1), value);
}

std::string EncodeInput(std::initializer_list<uint64_t> numbers, uint64_t value,
                        size_t payload_bytes) {
  std::string text = "\"";
  for (const uint64_t number : numbers) absl::StrAppend(&text, number, ":");
  AppendTail(value, payload_bytes, text);
  return text;
}

bool DecodeInput(absl::string_view text, Input& input) {
  if (text.empty() || text.front() != '"') return false;
  text.remove_prefix(1);
  input.number_count = 0;
  while (input.number_count < Input::kNumbersMax) {
    uint64_t number = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
    const size_t length = static_cast<size_t>(result.ptr - text.data());
    if (result.ec != std::errc() || length == text.size()) return false;
    if (text[length] != ':') break;
    input.numbers[input.number_count++] = number;
    text.remove_prefix(length + 1);
  }
  input.payload_bytes = text.size() + 1;
  return input.number_count > 0 && DecodeTail(text, input.value);
}

std::string Shown(absl::string_view text) {
  if (text.size() <= kShownMax) return absl::StrCat("'", text, "'");
  return absl::StrCat("'", text.substr(0, kShownMax), "'... (", text.size(), " bytes)");
}

}  // namespace dt::bench
