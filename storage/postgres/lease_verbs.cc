// Verbs that give instances up: discard, release (sql/logic/orchestrations.sql).
#include <algorithm>

#include "absl/time/time.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

absl::Status DecodeOutcomes(const Result& result,
                            std::vector<absl::StatusOr<LeaseOutcome>>& replies) {
  const int item = result.Column("item");
  const int outcome = result.Column("outcome");
  for (int row = 0; row < result.rows(); ++row) {
    const absl::StatusOr<size_t> index = ItemIndex(result, row, item, replies.size());
    if (!index.ok()) return index.status();
    *replies[*index] = static_cast<LeaseOutcome>(result.Int(row, outcome));
  }
  return absl::OkStatus();
}

class DiscardMessages : public DiscardVerb {
 public:
  explicit DiscardMessages(VerbContext* context)
      : CallVerb(context, "_DiscardEventsAndUnlockInstance", true) {}

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.BeginArray("items");
    for (const DiscardRequest* request : requests) {
      envelope.BeginObject()
          .Int("key", request->key)
          .Int("token", request->lease_token)
          .IntList("seqs", request->seqs)
          .Flag("release", request->release)
          .EndObject();
    }
    envelope.EndArray();
  }
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    return DecodeOutcomes(result, replies);
  }
};

class ReleaseInstances : public ReleaseInstanceVerb {
 public:
  explicit ReleaseInstances(VerbContext* context)
      : CallVerb(context, "_AbandonOrchestrations", true) {}

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.BeginArray("items");
    for (const InstanceRelease* request : requests) {
      envelope.BeginObject()
          .Int("key", request->key)
          .Int("token", request->lease_token)
          .Int("delay", absl::ToInt64Microseconds(request->delay))
          .Flag("held", request->delay == absl::InfiniteDuration())
          .Flag("lost", request->lost)
          .EndObject();
    }
    envelope.EndArray();
    const auto keeps = [](const InstanceRelease* request) { return !request->kept_tasks.empty(); };
    if (std::none_of(requests.begin(), requests.end(), keeps)) return;
    envelope.BeginArray("kept");
    int64_t item = 0;
    for (const InstanceRelease* request : requests) {
      ++item;
      for (const KeptTask& task : request->kept_tasks) {
        envelope.BeginObject()
            .Int("item", item)
            .Int("id", task.task_id)
            .Int("task", task.key)
            .Int("token", task.lease_token)
            .EndObject();
      }
    }
    envelope.EndArray();
  }
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    return DecodeOutcomes(result, replies);
  }
};

}  // namespace

std::unique_ptr<DiscardVerb> MakeDiscardVerb(VerbContext* context) {
  return std::make_unique<DiscardMessages>(context);
}
std::unique_ptr<ReleaseInstanceVerb> MakeReleaseInstanceVerb(VerbContext* context) {
  return std::make_unique<ReleaseInstances>(context);
}

}  // namespace dt::postgres
