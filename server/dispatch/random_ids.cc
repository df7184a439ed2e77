#include "server/dispatch/random_ids.h"

#include "fmt/format.h"

namespace dt::dispatch {

std::string RandomIds::NewExecutionId() {
  return fmt::format("{:016x}{:016x}", absl::Uniform<uint64_t>(random_),
                     absl::Uniform<uint64_t>(random_));
}

}  // namespace dt::dispatch
