#include "server/orchestration/random_ids.h"

#include <cstdint>

#include "absl/strings/str_format.h"

namespace dt::orchestration {

std::string RandomIds::NewExecutionId() {
  const auto high = absl::Uniform<uint64_t>(generator_);
  const auto low = absl::Uniform<uint64_t>(generator_);
  return absl::StrFormat("%016x%016x", high, low);
}

}  // namespace dt::orchestration
