#include "tests/bench/payload.h"

#include <charconv>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "fmt/format.h"

namespace dt::bench {
namespace {

constexpr size_t kDigits = 20;  // of the largest 64 bit number
constexpr size_t kShownMax = 100;

// Letters that no compression of PostgreSQL finds a pattern in: longer than its windows, and each
// value begins at another place, so that neighbours are not alike.
const std::string& PaddingLetters() {
  static const std::string kLetters = [] {
    constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::string letters(128 * 1024, '\0');
    for (size_t i = 0; i < letters.size(); ++i) letters[i] = kAlphabet[Mix(i) % 64];
    return letters;
  }();
  return kLetters;
}

// Calls `use` with the pieces of the padding of this value, `size` bytes in all, until it says
// false.
template <typename Use>
bool ForEachPiece(uint64_t value, size_t size, Use use) {
  if (size == 0) return true;
  const absl::string_view letters = PaddingLetters();
  for (size_t offset = value % letters.size(); size > 0; offset = 0) {
    const absl::string_view piece = letters.substr(offset, size);
    if (!use(piece)) return false;
    size -= piece.size();
  }
  return true;
}

bool IsPadding(uint64_t value, absl::string_view text) {
  return ForEachPiece(value, text.size(), [&text](absl::string_view piece) {
    if (text.substr(0, piece.size()) != piece) return false;
    text.remove_prefix(piece.size());
    return true;
  });
}

// The digits, the padding and the closing quote.
bool DecodeTail(absl::string_view text, uint64_t& value) {
  if (text.size() < kDigits + 1 || text.back() != '"') return false;
  const char* end = text.data() + kDigits;
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end &&
         IsPadding(value, text.substr(kDigits, text.size() - kDigits - 1));
}

// Ends what has been begun with a quote and perhaps numbers, which do not count for `size`.
void AppendTail(uint64_t value, size_t size, std::string& text) {
  const size_t padding = size > kDigits + 2 ? size - kDigits - 2 : 0;
  text.reserve(text.size() + kDigits + padding + 1);
  fmt::format_to(std::back_inserter(text), "{:020}", value);
  ForEachPiece(value, padding, [&text](absl::string_view piece) {
    text.append(piece.data(), piece.size());
    return true;
  });
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
    const auto length = static_cast<size_t>(result.ptr - text.data());
    // The value is no number of its own when its padding goes on with digits.
    if (result.ec != std::errc() || length == text.size() || text[length] != ':') break;
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
