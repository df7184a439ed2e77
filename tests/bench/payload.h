// Values as they travel: a 64 bit number inside a JSON string, padded to the wanted size with
// letters that do not compress.
#ifndef DT_TESTS_BENCH_PAYLOAD_H_
#define DT_TESTS_BENCH_PAYLOAD_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

namespace dt::bench {

// One step of splitmix64: every bit of the result depends on every bit of the input.
uint64_t Mix(uint64_t value);

// The value of the part `index` of something that has `value`.
inline uint64_t PartValue(uint64_t value, uint64_t index) { return Mix(value + index); }

// A JSON string of `size` bytes (at least 22) that starts with the number. The padding depends on
// it.
std::string EncodeValue(uint64_t value, size_t size);
bool DecodeValue(absl::string_view text, uint64_t& value);

// What an orchestration starts with, or an event carries: numbers that say what it is about, then a
// value, "N:M:VALUE" inside the quotes.
struct Input {
  static constexpr size_t kNumbersMax = 3;
  std::array<uint64_t, kNumbersMax> numbers{};
  size_t number_count = 0;
  uint64_t value = 0;
  size_t payload_bytes = 0;  // of the value
};

std::string EncodeInput(std::initializer_list<uint64_t> numbers, uint64_t value,
                        size_t payload_bytes);
bool DecodeInput(absl::string_view text, Input& input);

// For messages: quoted, its head when it is long.
std::string Shown(absl::string_view text);

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_PAYLOAD_H_
