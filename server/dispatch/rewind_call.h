// One rewind, of a client or of the orchestration's own worker: looks at the instance and, level by
// level, at the children that it awaits or started too early, plans what becomes of each, and
// writes it all in one transaction. When something has changed meanwhile it looks again.
#ifndef DT_SERVER_DISPATCH_REWIND_CALL_H_
#define DT_SERVER_DISPATCH_REWIND_CALL_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/random_ids.h"
#include "server/orchestration/rewind.h"
#include "storage/store.h"

namespace dt::dispatch {

// Threads: runs on the thread of the caller and on those of the store, one at a time.
class RewindCall : public std::enable_shared_from_this<RewindCall> {
 public:
  // Instances that one call may rewind: they are one transaction.
  static constexpr size_t kInstancesMax = 1000;

  // `store` must outlive the call. `done` gets OK, or what the client is told.
  // Its first step is Begin. With a `turn`, what FinishTurn made of the answer of a worker that
  // rewinds its own orchestration, the instance is live and leased by the caller; then Aborted
  // means that it is not any more.
  RewindCall(Store* store, HubId hub, RewindInstanceRequest request, std::optional<Checkpoint> turn,
             DoneCallback done, CallerGone caller_gone = nullptr);

  void Begin();

 private:
  // A child that plan number `plan` names.
  struct Awaited {
    size_t plan;
    orchestration::AwaitedChild child;
  };

  void OnRoot(absl::StatusOr<std::vector<RewindSource>> sources);
  void OnChildren(absl::StatusOr<std::vector<RewindSource>> sources);
  absl::Status Plan(const std::string& instance_id, RewindSource source);
  absl::Status Keep(absl::StatusOr<orchestration::RewindPlan> plan);
  // Reads the children that are awaited, or writes when there are none left.
  void Next();
  void Apply();
  void OnApplied(absl::StatusOr<RewindOutcome> outcome);

  Store* const store_;
  const HubId hub_;
  const RewindInstanceRequest request_;
  const std::optional<Checkpoint> turn_;
  DoneCallback done_;
  const CallerGone caller_gone_;
  orchestration::RandomIds ids_;
  int attempts_ = 0;
  std::vector<orchestration::RewindPlan> plans_;  // parents before their children
  std::vector<Awaited> awaited_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_REWIND_CALL_H_
