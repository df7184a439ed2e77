#include "tests/bench/workload.h"

#include "absl/strings/str_cat.h"
#include "tests/bench/answer.h"
#include "tests/bench/replay.h"
#include "tests/bench/workloads.h"

namespace dt::bench {

absl::Span<const Workload* const> AllWorkloads() {
  static const Workload* const kAll[] = {&Chain(),     &Fanout(),     &Tree(),
                                         &Timers(),    &Events(),     &Generations(),
                                         &EntityHot(), &EntityMany(), &EntityLock()};
  return kAll;
}

const Workload* FindWorkload(absl::string_view name) {
  for (const Workload* workload : AllWorkloads()) {
    if (workload->name() == name) return workload;
  }
  return nullptr;
}

const Workload* FindOrchestration(absl::string_view orchestration) {
  for (const Workload* workload : AllWorkloads()) {
    if (workload->orchestration() == orchestration) return workload;
  }
  return nullptr;
}

std::string ExpectedOutput(const Workload& workload, const Parameters& parameters,
                           uint64_t number) {
  return EncodeValue(workload.OutputOf(parameters, number), parameters.payload_bytes);
}

std::string EventInput(const Parameters& parameters, uint64_t number, uint64_t index) {
  return EncodeInput({index}, PartValue(Mix(number), index), parameters.payload_bytes);
}

absl::Status AnswerTurn(const Replay& replay, absl::Status status, OrchestratorResponse& response) {
  response.Clear();
  response.set_instanceid(replay.instance_id());
  Answer answer(response);
  if (status.ok()) status = replay.Check();
  if (status.ok()) {
    replay.workload().Decide(replay, answer);
  } else {
    answer.Fail(status);
  }
  return status;
}

absl::Status RunTurn(const OrchestratorRequest& request, OrchestratorResponse& response) {
  Replay replay(request.instanceid());
  absl::Status status = replay.ApplyPast(request.pastevents());
  if (status.ok()) status = replay.ApplyNew(request.newevents());
  return AnswerTurn(replay, status, response);
}

absl::Status RunActivity(const ActivityRequest& request, ActivityResponse& response) {
  response.Clear();
  response.set_instanceid(request.orchestrationinstance().instanceid());
  response.set_taskid(request.taskid());
  uint64_t value = 0;
  if (request.name() == kActivityName && DecodeValue(request.input().value(), value)) {
    response.mutable_result()->set_value(EncodeValue(Mix(value), request.input().value().size()));
    return absl::OkStatus();
  }
  const absl::Status status = absl::DataLossError(
      absl::StrCat("activity ", request.taskid(), " of ", response.instanceid(), ": name '",
                   request.name(), "', input ", Shown(request.input().value())));
  response.mutable_failuredetails()->set_errortype("DtbenchError");
  response.mutable_failuredetails()->set_errormessage(std::string(status.message()));
  return status;
}

}  // namespace dt::bench
