// Verbs of activity tasks (sql/logic/activities.sql).
#include "absl/time/time.h"
#include "storage/postgres/payload_cuts.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

void AddLease(const InlinePlace& place, Column& column) {
  if (place.instance_lease == 0) {
    column.AddNull();
  } else {
    column.Add(place.instance_lease);
  }
}

class CompleteTasks : public CompleteTaskVerb {
 public:
  // A repeat after an unknown outcome answers "lease lost"; the message then waits in the inbox,
  // and the next ReadNewMessages finds it (verbs.h, `reread`).
  explicit CompleteTasks(VerbContext* context) : CallVerb(context, "_CompleteTasks", true) {}

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    Column task, token, key, generation, message_generation, at, type, event;
    Column task_id, instance_token;
    bool any_inline = false;
    std::vector<PayloadSet> payloads(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      const TaskCompletion* completion = requests[i];
      const NewMessage& message = completion->message;
      task.Add(completion->key);
      token.Add(completion->lease_token);
      key.Add(completion->instance_key);
      generation.Add(completion->generation);
      if (message.generation == kAnyGeneration) {
        message_generation.AddNull();
      } else {
        message_generation.Add(message.generation);
      }
      if (message.visible_at == absl::InfinitePast()) {
        at.AddNull();
      } else {
        at.Add(ToMicrosRoundedUp(message.visible_at));
      }
      type.Add(message.event_type);
      task_id.Add(completion->place.task_id);
      AddLease(completion->place, instance_token);
      any_inline |= completion->place.instance_lease != 0;
      event.AddOptional(envelope.Stored(message.event, kEventDepth, payloads[i]));
    }
    envelope.Int("worker", context()->worker.load())
        .Numbers("task", task)
        .Numbers("token", token)
        .Numbers("key", key)
        .Numbers("generation", generation)
        .Numbers("message_generation", message_generation)
        .Numbers("at", at)
        .Numbers("type", type)
        .Numbers("event", event)
        .PayloadList("payloads", payloads);
    if (!any_inline) return;
    envelope.Numbers("task_id", task_id).Numbers("instance_token", instance_token);
  }

  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    const int item = result.Column("item");
    const int outcome = result.Column("outcome");
    const int token = result.Column("token");
    const int seq = result.Column("seq");
    const int at = result.Column("at");
    for (int row = 0; row < result.rows(); ++row) {
      const absl::StatusOr<size_t> index = ItemIndex(result, row, item, requests.size());
      if (!index.ok()) return index.status();
      TaskResult& reply = *replies[*index];
      reply.outcome = static_cast<TaskOutcome>(result.Int(row, outcome));
      if (reply.outcome != TaskOutcome::kOk) continue;
      reply.delivery.key = requests[*index]->instance_key;
      reply.delivery.lease_token = result.OptionalInt(row, token).value_or(0);
      reply.delivery.seq = result.Int(row, seq);
      reply.delivery.visible_at = result.Timestamp(row, at);
    }
    return absl::OkStatus();
  }
};

class ReleaseTasks : public ReleaseTaskVerb {
 public:
  explicit ReleaseTasks(VerbContext* context) : CallVerb(context, "_AbandonTasks", true) {}

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    bool any_inline = false;
    envelope.BeginArray("items");
    for (const TaskRelease* release : requests) {
      envelope.BeginObject()
          .Int("key", release->instance_key)
          .Int("task", release->key)
          .Int("token", release->lease_token)
          .Int("delay", absl::ToInt64Microseconds(release->delay))
          .Flag("lost", release->lost);
      if (release->place.instance_lease != 0) {
        any_inline = true;
        envelope.Int("task_id", release->place.task_id)
            .Int("instance_token", release->place.instance_lease);
      }
      envelope.EndObject();
    }
    envelope.EndArray().Flag("inline", any_inline);
  }

  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    const int item = result.Column("item");
    const int outcome = result.Column("outcome");
    for (int row = 0; row < result.rows(); ++row) {
      const absl::StatusOr<size_t> index = ItemIndex(result, row, item, requests.size());
      if (!index.ok()) return index.status();
      *replies[*index] = static_cast<LeaseOutcome>(result.Int(row, outcome));
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<CompleteTaskVerb> MakeCompleteTaskVerb(VerbContext* context) {
  return std::make_unique<CompleteTasks>(context);
}
std::unique_ptr<ReleaseTaskVerb> MakeReleaseTaskVerb(VerbContext* context) {
  return std::make_unique<ReleaseTasks>(context);
}

}  // namespace dt::postgres
