// The verb of checkpoints (sql/logic/checkpoint.sql).
#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "storage/postgres/check.h"
#include "storage/postgres/checkpoint_lists.h"
#include "storage/postgres/payload_cuts.h"
#include "storage/postgres/sqlstate.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

// What the rows of an answer are about.
enum class Part : int16_t {
  kItem = 0,
  kOwn = 1,
  kMessage = 2,
  kParent = 3,
  kTermination = 4,
  kChild = 5,
  kTask = 6,
  kMessageAfterChildren = 7,
  kTerminationAfterChildren = 8,
  kLockRequest = 9,
  kArrival = 10,
  kEntity = 11,
};
constexpr int kParts = 12;

template <typename T>
void EncodeChange(std::string_view kind_key, std::string_view key, const Change<T>& change,
                  Envelope& envelope) {
  envelope.Int(kind_key, static_cast<int64_t>(change.kind));
  if (change.kind == Change<T>::Kind::kSet) envelope.Bytes(key, change.value);
}

constexpr int kEndsFlag = 1;
constexpr int kReleaseFlag = 2;
constexpr int kNextGenerationFlag = 4;

int FlagsOf(const Checkpoint& checkpoint) {
  return (checkpoint.ends ? kEndsFlag : 0) | (checkpoint.release ? kReleaseFlag : 0) |
         (checkpoint.next_generation.has_value() ? kNextGenerationFlag : 0);
}

void EncodeItems(const CheckpointVerb::Requests& requests, OwnPayloads& payloads,
                 Envelope& envelope) {
  Column key, token, turn, generation, flags, history, first_event, event_count;
  Column consumed_item, consumed_seq, done_item, done_task, done_token;
  int64_t item = 0;
  for (const Checkpoint* checkpoint : requests) {
    PayloadSet& own = payloads[static_cast<size_t>(item++)];
    key.Add(checkpoint->key);
    token.Add(checkpoint->lease_token);
    turn.Add(checkpoint->turn);
    generation.Add(checkpoint->generation);
    flags.Add(FlagsOf(*checkpoint));
    if (checkpoint->history.has_value()) {
      history.AddOptional(envelope.Stored(checkpoint->history->events, kChunkDepth, own));
      first_event.Add(checkpoint->history->first_event);
      event_count.Add(checkpoint->history->event_count);
    } else {
      history.AddNull();
      first_event.AddNull();
      event_count.AddNull();
    }
    for (const int64_t seq : checkpoint->consumed) {
      consumed_item.Add(item);
      consumed_seq.Add(seq);
    }
    for (const CompletedTask& task : checkpoint->completed_tasks) {
      done_item.Add(item);
      done_task.Add(task.key);
      done_token.Add(task.lease_token);
    }
  }
  envelope.Numbers("key", key)
      .Numbers("token", token)
      .Numbers("turn", turn)
      .Numbers("generation", generation)
      .Numbers("flags", flags)
      .Numbers("history", history)
      .Numbers("first_event", first_event)
      .Numbers("event_count", event_count)
      .Numbers("consumed_item", consumed_item)
      .Numbers("consumed_seq", consumed_seq);
  if (done_item.empty()) return;
  envelope.Numbers("done_item", done_item)
      .Numbers("done_task", done_task)
      .Numbers("done_token", done_token);
}

// The inline tasks that begin and end with the turns, and those that get rows.
void EncodeInlineTasks(const CheckpointVerb::Requests& requests, Envelope& envelope) {
  Column begun, completed, more_item, more_id, kept_item, kept_id, kept_task, kept_token;
  bool any_begun = false, any_completed = false;
  int64_t item = 0;
  for (const Checkpoint* checkpoint : requests) {
    ++item;
    std::vector<int32_t> ids;
    for (const NewTask& task : checkpoint->tasks) {
      if (task.is_inline) ids.push_back(task.task_id);
    }
    any_begun |= !ids.empty();
    begun.AddSet(std::move(ids));
    // Most turns complete one, which then costs no more than a number.
    const std::vector<int32_t>& ended = checkpoint->completed_inline_tasks;
    any_completed |= !ended.empty();
    completed.AddOptional(ended.empty() ? std::nullopt : std::optional<int64_t>(ended.front()));
    for (size_t i = 1; i < ended.size(); ++i) {
      more_item.Add(item);
      more_id.Add(ended[i]);
    }
    for (const KeptTask& task : checkpoint->kept_tasks) {
      kept_item.Add(item);
      kept_id.Add(task.task_id);
      kept_task.Add(task.key);
      kept_token.Add(task.lease_token);
    }
  }
  if (any_begun) envelope.Numbers("inline_new", begun);
  if (any_completed) envelope.Numbers("inline_done", completed);
  if (!more_item.empty()) {
    envelope.Numbers("inline_done_item", more_item).Numbers("inline_done_id", more_id);
  }
  if (kept_item.empty()) return;
  envelope.Numbers("kept_item", kept_item)
      .Numbers("kept_id", kept_id)
      .Numbers("kept_task", kept_task)
      .Numbers("kept_token", kept_token);
}

void EncodeTasks(const CheckpointVerb::Requests& requests, OwnPayloads& payloads,
                 Envelope& envelope) {
  Column item, number, task_id, version, request, token;
  for (size_t i = 0; i < requests.size(); ++i) {
    int64_t tasks = 0;
    for (const NewTask& task : requests[i]->tasks) {
      if (task.is_inline) continue;
      if (item.empty()) envelope.BeginArray("task_name");
      envelope.String({}, task.name);
      item.Add(static_cast<int64_t>(i) + 1);
      number.Add(tasks++);
      task_id.Add(task.task_id);
      version.AddOptional(envelope.Position(task.version));
      request.AddOptional(envelope.Stored(task.request, kRequestDepth, payloads[i]));
      if (task.lease_token == 0) {
        token.AddNull();
      } else {
        token.Add(task.lease_token);
      }
    }
  }
  if (item.empty()) return;
  envelope.EndArray()
      .Numbers("task_item", item)
      .Numbers("task_number", number)
      .Numbers("task_id", task_id)
      .Numbers("task_version", version)
      .Numbers("task_request", request)
      .Numbers("task_token", token);
}

// The execution ids of tasks whose generation ends with their turn; the others' is the instance's.
void EncodeTaskExecutions(const CheckpointVerb::Requests& requests, Envelope& envelope) {
  const auto outlives = [](const Checkpoint* checkpoint) {
    return checkpoint->next_generation.has_value() && !checkpoint->tasks.empty();
  };
  if (std::none_of(requests.begin(), requests.end(), outlives)) return;
  envelope.BeginArray("task_execution");
  for (const Checkpoint* checkpoint : requests) {
    for (const NewTask& task : checkpoint->tasks) {
      if (task.is_inline) continue;
      envelope.String({}, outlives(checkpoint) ? task.execution_id : "");
    }
  }
  envelope.EndArray();
}

void EncodeUpdate(const InstanceUpdate& update, int64_t item, PayloadSet& payloads,
                  Envelope& envelope) {
  envelope.BeginObject().Int("item", item).Int("status", static_cast<int64_t>(update.status));
  EncodeChange("custom_status_kind", "custom_status", update.custom_status, envelope);
  EncodeChange("trace_kind", "trace", update.orchestration_trace_context, envelope);
  envelope.Value("output", update.output, payloads)
      .OptionalBytes("failure", update.failure)
      .EndObject();
}

void EncodeNextGeneration(const NextGeneration& next, int64_t item, PayloadSet& payloads,
                          Envelope& envelope) {
  envelope.BeginObject()
      .Int("item", item)
      .String("execution_id", next.execution_id)
      .OptionalBytes("version", next.version)
      .Value("input", next.input, payloads)
      .OptionalBytes("saved_custom_status", next.saved_custom_status)
      .EndObject();
}

void EncodeChild(const NewChild& child, int64_t item, Envelope& envelope) {
  envelope.BeginObject().Int("item", item);
  EncodeNewInstance(child.instance, envelope);
  PayloadSet none;  // a conflict is small
  if (child.conflict.has_value()) {
    envelope.BeginObject("conflict").Message(*child.conflict, none).EndObject();
  }
  envelope.EndObject();
  DT_CHECK(none.empty(), "the failure of a child that could not start has no large value");
}

template <typename T>
size_t CountPhase(const std::vector<T>& all, bool after_children) {
  return static_cast<size_t>(std::count_if(all.begin(), all.end(), [after_children](const T& one) {
    return one.after_children == after_children;
  }));
}

// Of messages and terminations those alone that go out before or after the children are made.
void EncodeMessages(std::string_view name, bool after_children,
                    const CheckpointVerb::Requests& requests, Envelope& envelope) {
  EncodeList(
      name, requests, [&](const Checkpoint& c) { return CountPhase(c.messages, after_children); },
      [&](const Checkpoint& c, int64_t item) {
        for (const AddressedMessage& message : c.messages) {
          if (message.after_children != after_children) continue;
          PayloadSet payloads;
          envelope.BeginObject()
              .Int("item", item)
              .String("id", message.instance_id)
              .Message(message.message, payloads)
              .Payloads(payloads)
              .Flag("front", message.front);
          if (!message.execution_id.empty()) envelope.String("execution", message.execution_id);
          envelope.EndObject();
        }
      },
      envelope);
}

void EncodeTerminations(std::string_view name, bool after_children,
                        const CheckpointVerb::Requests& requests, Envelope& envelope) {
  EncodeList(
      name, requests,
      [&](const Checkpoint& c) { return CountPhase(c.terminations, after_children); },
      [&](const Checkpoint& c, int64_t item) {
        for (const Termination& termination : c.terminations) {
          if (termination.after_children != after_children) continue;
          envelope.BeginObject().Int("item", item);
          EncodeTermination(termination, envelope);
          envelope.EndObject();
        }
      },
      envelope);
}

// What the turns write to other instances.
void EncodeOutgoing(const CheckpointVerb::Requests& requests, Envelope& envelope) {
  EncodeMessages("messages", /*after_children=*/false, requests, envelope);
  EncodeList(
      "parents", requests,
      [](const Checkpoint& c) { return static_cast<size_t>(c.parent_message.has_value()); },
      [&](const Checkpoint& c, int64_t item) {
        PayloadSet payloads;
        envelope.BeginObject()
            .Int("item", item)
            .Int("key", c.parent_key)
            .Int("parent_generation", c.parent_generation)
            .Message(*c.parent_message, payloads)
            .Payloads(payloads)
            .EndObject();
      },
      envelope);
  EncodeTerminations("terminations", /*after_children=*/false, requests, envelope);
  EncodeList(
      "subtrees", requests,
      [](const Checkpoint& c) { return static_cast<size_t>(c.subtree_termination.has_value()); },
      [&](const Checkpoint& c, int64_t item) {
        PayloadSet payloads;
        envelope.BeginObject()
            .Int("item", item)
            .Int("key", c.key)
            .Int("parent_generation", c.generation)
            .OptionalBytes("reason", c.subtree_termination->reason)
            .Message(c.subtree_termination->message, payloads)
            .Payloads(payloads)
            .EndObject();
      },
      envelope);
  EncodeList(
      "children", requests, [](const Checkpoint& c) { return c.children.size(); },
      [&](const Checkpoint& c, int64_t item) {
        for (const NewChild& child : c.children) EncodeChild(child, item, envelope);
      },
      envelope);
  EncodeMessages("child_messages", /*after_children=*/true, requests, envelope);
  EncodeTerminations("child_terminations", /*after_children=*/true, requests, envelope);
}

// What the turns write for their own instances.
void EncodeOwn(const CheckpointVerb::Requests& requests, OwnPayloads& payloads,
               Envelope& envelope) {
  const auto of = [&payloads](int64_t item) -> PayloadSet& {
    return payloads[static_cast<size_t>(item - 1)];
  };
  EncodeList(
      "updates", requests,
      [](const Checkpoint& c) { return static_cast<size_t>(c.update.has_value()); },
      [&](const Checkpoint& c, int64_t item) { EncodeUpdate(*c.update, item, of(item), envelope); },
      envelope);
  EncodeList(
      "generations", requests,
      [](const Checkpoint& c) { return static_cast<size_t>(c.next_generation.has_value()); },
      [&](const Checkpoint& c, int64_t item) {
        EncodeNextGeneration(*c.next_generation, item, of(item), envelope);
      },
      envelope);
  EncodeList(
      "own", requests, [](const Checkpoint& c) { return c.own_messages.size(); },
      [&](const Checkpoint& c, int64_t item) {
        for (const NewMessage& message : c.own_messages) {
          envelope.BeginObject().Int("item", item).Message(message, of(item)).EndObject();
        }
      },
      envelope);
}

// The rows of an answer, by part, in the order of the call's lists.
class AnswerRows {
 public:
  explicit AnswerRows(const Result& result)
      : result_(result),
        columns_(result),
        part_(result.Column("part")),
        number_(result.Column("number")) {}

  // Sorts the rows by part and number; rows without number (notices) are of no interest here.
  absl::Status Read() {
    for (int row = 0; row < result_.rows(); ++row) {
      const int64_t part = result_.Int(row, part_);
      if (part < 0 || part >= kParts) {
        return absl::InternalError(absl::StrCat("unknown part ", part, " in an answer"));
      }
      std::vector<int>& rows = rows_[static_cast<size_t>(part)];
      if (part == static_cast<int64_t>(Part::kItem)) {
        rows.push_back(row);
        continue;
      }
      if (result_.IsNull(row, number_)) continue;
      const auto number = static_cast<size_t>(result_.Int(row, number_));
      if (rows.size() < number) rows.resize(number, -1);
      rows[number - 1] = row;
    }
    return absl::OkStatus();
  }

  // The next delivery of a part; kInternal if the answer has too few.
  absl::StatusOr<Delivery> Next(Part part) {
    std::vector<int>& rows = rows_[static_cast<size_t>(part)];
    size_t& next = next_[static_cast<size_t>(part)];
    if (next >= rows.size() || rows[next] < 0) {
      return absl::InternalError(
          absl::StrCat("the answer lacks row ", next + 1, " of part ", static_cast<int>(part)));
    }
    return columns_.Read(result_, rows[next++]);
  }

 private:
  const Result& result_;
  const DeliveryColumns columns_;
  const int part_;
  const int number_;
  std::vector<int> rows_[kParts];
  size_t next_[kParts] = {};
};

class CommitCheckpoints : public CheckpointVerb {
 public:
  explicit CommitCheckpoints(VerbContext* context)
      : CallVerb(context, "_CheckpointOrchestration", true) {
    AddLoneForm(MakeLoneTurn(context));
    AddLoneForm(MakeLoneEnd(context));
  }
  bool one_per_key() const override { return true; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    EncodeCheckpoints(requests, envelope);
  }

  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    AnswerRows rows(result);
    if (const absl::Status status = rows.Read(); !status.ok()) return status;
    for (size_t i = 0; i < requests.size(); ++i) {
      const absl::StatusOr<Delivery> item = rows.Next(Part::kItem);
      if (!item.ok()) return item.status();
      CheckpointResult& reply = *replies[i];
      reply.outcome = static_cast<CheckpointOutcome>(item->outcome);
      reply.committed_at = item->visible_at;
      if (reply.outcome != CheckpointOutcome::kCommitted) continue;
      const absl::Status status = DecodeLists(*requests[i], rows, reply);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status DecodeLists(const Checkpoint& checkpoint, AnswerRows& rows,
                                  CheckpointResult& reply) {
    absl::Status status;
    // Reads `count` rows of a part, each by `take`; stops at the first that is missing.
    const auto read = [&](Part part, size_t count, auto take) {
      for (size_t i = 0; i < count && status.ok(); ++i) {
        const absl::StatusOr<Delivery> row = rows.Next(part);
        status = row.status();
        if (row.ok()) take(*row);
      }
    };
    read(Part::kOwn, checkpoint.own_messages.size(),
         [&](const Delivery& row) { reply.own_seqs.push_back(row.seq); });
    for (const AddressedMessage& message : checkpoint.messages) {
      read(message.after_children ? Part::kMessageAfterChildren : Part::kMessage, 1,
           [&](const Delivery& row) { reply.messages.push_back(row); });
    }
    read(Part::kParent, checkpoint.parent_message.has_value() ? 1 : 0,
         [&](const Delivery& row) { reply.parent = row; });
    for (const Termination& termination : checkpoint.terminations) {
      read(termination.after_children ? Part::kTerminationAfterChildren : Part::kTermination, 1,
           [&](const Delivery& row) { reply.terminations.push_back(row); });
    }
    read(Part::kChild, checkpoint.children.size(), [&](const Delivery& row) {
      ChildResult child;
      child.outcome = static_cast<CreateOutcome>(row.outcome);
      child.key = row.key;
      (child.outcome == CreateOutcome::kExists ? child.conflict_seq : child.started_seq) = row.seq;
      reply.children.push_back(child);
    });
    for (const NewTask& task : checkpoint.tasks) {
      if (task.is_inline) {
        reply.task_keys.push_back(0);
      } else {
        read(Part::kTask, 1, [&](const Delivery& row) { reply.task_keys.push_back(row.key); });
      }
    }
    for (const LockRequest& request : checkpoint.lock_requests) {
      read(Part::kLockRequest, request.entity_ids.size(),
           [&](const Delivery& row) { reply.lock_requests.push_back(row); });
    }
    if (!checkpoint.entity.has_value()) return status;
    read(Part::kArrival, checkpoint.entity->arrival.has_value() ? 1 : 0, [&](const Delivery& row) {
      reply.arrival = static_cast<ArrivalOutcome>(row.outcome);
      if (reply.arrival == ArrivalOutcome::kGranted) reply.grant = row;
    });
    read(Part::kEntity, 1,
         [&](const Delivery& row) { reply.removed = row.outcome != DeliveryOutcome::kOk; });
    return status;
  }
};

}  // namespace

void EncodeCheckpoints(const CheckpointVerb::Requests& checkpoints, Envelope& envelope) {
  OwnPayloads payloads(checkpoints.size());
  EncodeItems(checkpoints, payloads, envelope);
  EncodeInlineTasks(checkpoints, envelope);
  EncodeTasks(checkpoints, payloads, envelope);
  EncodeTaskExecutions(checkpoints, envelope);
  EncodeOwn(checkpoints, payloads, envelope);
  EncodeEntities(checkpoints, payloads, envelope);
  envelope.PayloadList("payloads", payloads);
  EncodeEntityIds(checkpoints, envelope);
  EncodeOutgoing(checkpoints, envelope);
  EncodeLocks(checkpoints, envelope);
}

size_t BytesOf(const Checkpoint& checkpoint) {
  size_t bytes = 256 + 24 * checkpoint.consumed.size() + 32 * checkpoint.completed_tasks.size();
  if (checkpoint.history.has_value() && checkpoint.history->events != nullptr) {
    bytes += checkpoint.history->events->size();
  }
  for (const NewMessage& message : checkpoint.own_messages) bytes += BytesOf(message);
  for (const AddressedMessage& message : checkpoint.messages) bytes += BytesOf(message.message);
  for (const NewChild& child : checkpoint.children) bytes += BytesOf(child.instance);
  for (const Termination& termination : checkpoint.terminations) {
    bytes += BytesOf(termination.message);
  }
  if (checkpoint.subtree_termination.has_value()) {
    bytes += BytesOf(checkpoint.subtree_termination->message);
  }
  if (checkpoint.parent_message.has_value()) bytes += BytesOf(*checkpoint.parent_message);
  for (const NewTask& task : checkpoint.tasks) {
    bytes += 128 + task.name.size() + (task.request == nullptr ? 0 : task.request->size());
  }
  if (checkpoint.update.has_value() && checkpoint.update->output.has_value()) {
    bytes += checkpoint.update->output->size();
  }
  if (checkpoint.next_generation.has_value() && checkpoint.next_generation->input.has_value()) {
    bytes += checkpoint.next_generation->input->size();
  }
  return bytes;
}

size_t RowsOf(const Checkpoint& checkpoint) {
  return checkpoint.tasks.size() + checkpoint.children.size() + checkpoint.own_messages.size() +
         checkpoint.messages.size() + checkpoint.terminations.size() + checkpoint.consumed.size();
}

void CheckpointCall::Fail(absl::Status status) {
  if (Sqlstate(status) == "P0D01") {
    CheckpointResult lost;
    lost.outcome = CheckpointOutcome::kLeaseLost;
    Finish(std::move(lost));
    return;
  }
  Call::Fail(std::move(status));
}

std::unique_ptr<CheckpointVerb> MakeCheckpointVerb(VerbContext* context) {
  return std::make_unique<CommitCheckpoints>(context);
}

}  // namespace dt::postgres
