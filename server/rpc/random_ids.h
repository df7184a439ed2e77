// Execution ids from the process's random generators.
#ifndef DT_SERVER_RPC_RANDOM_IDS_H_
#define DT_SERVER_RPC_RANDOM_IDS_H_

#include <string>

#include "server/orchestration/turn.h"

namespace dt::rpc {

// May be used from any thread.
class RandomIds final : public orchestration::IdSource {
 public:
  std::string NewExecutionId() override;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_RANDOM_IDS_H_
