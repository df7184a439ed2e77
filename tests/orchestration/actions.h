// The actions of a worker, short enough to read in a list.
#ifndef DT_TESTS_ORCHESTRATION_ACTIONS_H_
#define DT_TESTS_ORCHESTRATION_ACTIONS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/timestamp.pb.h"
#include "proto/orchestrator_service.pb.h"

namespace dt::orchestration {

using Input = std::optional<std::string>;

// Seconds since 1970, as everywhere in these tests.
google::protobuf::Timestamp Seconds(int64_t seconds, int32_t nanos = 0);

OrchestratorAction Task(int32_t id, const std::string& name, const Input& input = std::nullopt);
OrchestratorAction Timer(int32_t id, const google::protobuf::Timestamp& fire_at);
OrchestratorAction Timer(int32_t id, int64_t fire_at_seconds);
OrchestratorAction Child(int32_t id, const std::string& instance_id, const std::string& name,
                         const Input& input = std::nullopt);
OrchestratorAction Send(int32_t id, const std::string& target, const std::string& name,
                        const Input& input = std::nullopt);
OrchestratorAction TerminateOther(int32_t id, const std::string& target, const Input& reason,
                                  bool recurse);
OrchestratorAction Complete(int32_t id, OrchestrationStatus status,
                            const Input& result = std::nullopt);
OrchestratorAction Completed(const Input& result = std::nullopt);
OrchestratorAction Failed(const std::string& error_type, const std::string& message);
// With events that are carried over, as name and input.
OrchestratorAction ContinueAsNew(
    const Input& input, const std::vector<std::pair<std::string, std::string>>& carry = {});

}  // namespace dt::orchestration

#endif  // DT_TESTS_ORCHESTRATION_ACTIONS_H_
