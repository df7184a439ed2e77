#include "server/orchestration/random_ids.h"

#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace dt::orchestration {

std::string RandomIds::NewExecutionId() {
  const auto high = absl::Uniform<uint64_t>(generator_);
  const auto low = absl::Uniform<uint64_t>(generator_);
  return absl::StrFormat("%016x%016x", high, low);
}

bool IsRandomId(std::string_view id) {
  const bool dashes = id.size() == 36;
  if (!dashes && id.size() != 32) return false;
  for (size_t i = 0; i < id.size(); ++i) {
    const bool dash = dashes && (i == 8 || i == 13 || i == 18 || i == 23);
    if (dash ? id[i] != '-' : !absl::ascii_isxdigit(static_cast<unsigned char>(id[i]))) {
      return false;
    }
  }
  return true;
}

}  // namespace dt::orchestration
