#include "server/rpc/random_ids.h"

#include "absl/random/random.h"
#include "fmt/format.h"

namespace dt::rpc {

std::string RandomIds::NewExecutionId() {
  thread_local absl::BitGen random;
  return fmt::format("{:016x}{:016x}", absl::Uniform<uint64_t>(random),
                     absl::Uniform<uint64_t>(random));
}

}  // namespace dt::rpc
