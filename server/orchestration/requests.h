// Client requests as records: checks with named limits, and the messages they become. Pure.
#ifndef DT_SERVER_ORCHESTRATION_REQUESTS_H_
#define DT_SERVER_ORCHESTRATION_REQUESTS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/turn.h"
#include "storage/management_records.h"

namespace dt::orchestration {

// Every limit of a client request, with its unit in its name. server/config fills it.
struct RequestLimits {
  size_t instance_id_chars_max = 512;  // UTF-8 characters (D16)
  size_t name_bytes_max = 1024;        // orchestration, activity and event names
  size_t version_bytes_max = 256;
  int64_t payload_bytes_max = 64 << 20;
  size_t tags_bytes_max = 64 << 10;  // keys and values together
};

// How a StartInstance is answered whose id an instance has already and keeps, by the status of that
// one; ALREADY_EXISTS for statuses in neither set.
struct ReuseAnswers {
  StatusSet ignored = 0;   // answers OK: the older Go action IGNORE (5.10)
  StatusSet excluded = 0;  // answers InvalidArgument: live, and TERMINATED is not listed (5.9)
};

// What an instance that has the id already means for a StartInstance, by its status (5.7-5.10): one
// in `instance.replaceable` is replaced, any other is left alone.
struct StartPlan {
  NewInstance instance;
  ReuseAnswers answers;
};

// The answer of a StartInstance whose id an instance of this status keeps. Go reads the text of
// ALREADY_EXISTS, the other SDKs the code (5.8).
absl::Status AnswerExisting(const ReuseAnswers& answers, RuntimeStatus existing,
                            const std::string& instance_id);

// Checks a CreateInstanceRequest and builds the instance with its ExecutionStarted (5.4-5.11).
// InvalidArgument or ResourceExhausted with field, size and limit in the message.
absl::StatusOr<StartPlan> BuildStart(const CreateInstanceRequest& request, HubId hub,
                                     absl::Time now, IdSource& ids, const RequestLimits& limits);

struct ClientMessagePlan {
  std::string instance_id;
  NewMessage message;
};

// 5.19-5.22. The answer for a missing or ended target is the caller's.
absl::StatusOr<ClientMessagePlan> BuildRaiseEvent(const RaiseEventRequest& request, absl::Time now,
                                                  const RequestLimits& limits);
absl::StatusOr<ClientMessagePlan> BuildSuspend(const SuspendRequest& request, absl::Time now,
                                               const RequestLimits& limits);
absl::StatusOr<ClientMessagePlan> BuildResume(const ResumeRequest& request, absl::Time now,
                                              const RequestLimits& limits);
absl::StatusOr<Termination> BuildTerminate(const TerminateRequest& request, absl::Time now,
                                           const RequestLimits& limits);

// A new run of an instance (5.28): same name, version, tags and input, no parent. NotFound without
// a row; FailedPrecondition when a live one shall be restarted under its own id.
absl::StatusOr<NewInstance> BuildRestart(const RestartInstanceRequest& request,
                                         const std::optional<InstanceRow>& row, HubId hub,
                                         absl::Time now, IdSource& ids);

// The fields of a RewindInstanceRequest.
absl::Status CheckRewind(const RewindInstanceRequest& request, const RequestLimits& limits);

// 5.35.
absl::StatusOr<ImmediateTermination> BuildImmediateTermination(
    const SkipGracefulOrchestrationTerminationsRequest& request, HubId hub,
    const RequestLimits& limits);

// The ids of an InstanceBatch, which may be this many (5.26, 5.35).
inline constexpr int kBatchIdsMax = 500;
absl::Status AddIds(const InstanceBatch& batch, const RequestLimits& limits,
                    std::vector<std::string>& ids);

// Checks the id of a read (GetInstance, Wait*, StreamInstanceHistory).
absl::Status CheckInstanceId(const std::string& instance_id, const RequestLimits& limits);

// The protocol's view of an instance row (5.12-5.14).
OrchestrationState RenderState(const InstanceRow& row, bool payloads);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_REQUESTS_H_
