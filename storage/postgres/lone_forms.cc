// The forms of checkpoints and creations that come alone (sql/statements, sql/logic/alone.sql).
#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "storage/postgres/check.h"
#include "storage/postgres/embedded_sql.h"
#include "storage/postgres/lone_form.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

// The statement of a file of sql/statements, in this schema. In place of its head it has its name,
// for whoever looks at what PostgreSQL is doing.
Statement FileStatement(const VerbContext& context, const std::string& name) {
  const std::string path = absl::StrCat("statements/", name, ".sql");
  for (const EmbeddedFile& file : EmbeddedSql()) {
    if (file.path != path) continue;
    const std::string schema = Connection::QuoteIdentifier(context.schema);
    const std::string body(file.text.substr(file.text.find("\nwith ")));
    return {name,
            absl::StrCat("/* ", name, " */", absl::StrReplaceAll(body, {{":\"schema\"", schema}}))};
  }
  DT_CHECK(false, "a file of sql/ is missing in the program");
  return {};
}

std::optional<std::string> Copy(const SharedBytes& bytes) {
  return bytes == nullptr ? std::nullopt : std::optional<std::string>(*bytes);
}

// Checkpoints of a turn that writes nothing for others.
class LoneCheckpoint : public LoneForm<Checkpoint, CheckpointResult> {
 public:
  LoneCheckpoint(Statement its_statement, VerbContext* context)
      : LoneForm(std::move(its_statement)), inline_bytes_max_(context->payload_inline_bytes_max) {}

  void Decode(const Result& result, const Checkpoint& checkpoint,
              CheckpointResult* reply) const override {
    reply->committed_at = result.Timestamp(0, result.Column("at"));
    reply->task_keys.assign(checkpoint.tasks.size(), 0);  // all are inline
  }

 protected:
  // Neither a message, task with a row, child, lock or next generation, nor a value that is stored
  // apart: large ones are cut out of the history that holds them.
  bool IsPlain(const Checkpoint& checkpoint) const {
    const bool for_itself = checkpoint.own_messages.empty() && checkpoint.completed_tasks.empty() &&
                            checkpoint.kept_tasks.empty() && !checkpoint.next_generation &&
                            !checkpoint.entity && !checkpoint.releases_locks;
    const bool for_others = checkpoint.messages.empty() && !checkpoint.parent_message &&
                            checkpoint.terminations.empty() && !checkpoint.subtree_termination &&
                            checkpoint.children.empty() && checkpoint.lock_requests.empty();
    return for_itself && for_others && !checkpoint.release && IsSmall(checkpoint);
  }

  // $1 to $8 of both.
  static void EncodeTurn(HubId hub, const Checkpoint& checkpoint, Params* params) {
    const HistoryChunk none;
    const HistoryChunk& history = checkpoint.history.has_value() ? *checkpoint.history : none;
    params->Int4(static_cast<int32_t>(hub))
        .Int8(checkpoint.key)
        .Int8(checkpoint.lease_token)
        .Int8(checkpoint.turn)
        .Int8Array(checkpoint.consumed)
        .Int4(history.first_event)
        .Int4(history.event_count)
        .OptionalBytea(Copy(history.events));
  }

 private:
  bool IsSmall(const Checkpoint& checkpoint) const {
    const bool small_history = !checkpoint.history || checkpoint.history->events == nullptr ||
                               checkpoint.history->events->size() <= inline_bytes_max_;
    const bool small_output = !checkpoint.update || !checkpoint.update->output ||
                              checkpoint.update->output->size() <= inline_bytes_max_;
    return small_history && small_output;
  }

  const size_t inline_bytes_max_;
};

class LoneTurn : public LoneCheckpoint {
 public:
  explicit LoneTurn(VerbContext* context)
      : LoneCheckpoint(FileStatement(*context, "checkpoint_turn"), context) {}

  bool Fits(const Checkpoint& checkpoint) const override {
    return IsPlain(checkpoint) && !checkpoint.ends && !checkpoint.update &&
           checkpoint.completed_inline_tasks.size() <= 1 &&
           std::all_of(checkpoint.tasks.begin(), checkpoint.tasks.end(),
                       [](const NewTask& task) { return task.is_inline; });
  }

  void Encode(HubId hub, const Checkpoint& checkpoint, Params* params) const override {
    std::vector<int32_t> begun;
    for (const NewTask& task : checkpoint.tasks) begun.push_back(task.task_id);
    std::optional<int32_t> ended;
    if (!checkpoint.completed_inline_tasks.empty()) {
      ended = checkpoint.completed_inline_tasks.front();
    }
    EncodeTurn(hub, checkpoint, params);
    params->OptionalInt4(ended).OptionalText(SetText(std::move(begun)));
  }
};

class LoneEnd : public LoneCheckpoint {
 public:
  explicit LoneEnd(VerbContext* context)
      : LoneCheckpoint(FileStatement(*context, "checkpoint_end"), context) {}

  bool Fits(const Checkpoint& checkpoint) const override {
    return IsPlain(checkpoint) && checkpoint.ends && checkpoint.update && checkpoint.tasks.empty();
  }

  void Encode(HubId hub, const Checkpoint& checkpoint, Params* params) const override {
    const InstanceUpdate& update = *checkpoint.update;
    EncodeTurn(hub, checkpoint, params);
    params->Int4(static_cast<int32_t>(update.status));
    EncodeChange(update.custom_status, params);
    EncodeChange(update.orchestration_trace_context, params);
    params->OptionalBytea(update.output).OptionalBytea(update.failure);
  }

 private:
  static void EncodeChange(const Change<std::string>& change, Params* params) {
    params->Int4(static_cast<int32_t>(change.kind)).Bytea(change.value);
  }
};

class LoneCreation : public LoneForm<NewInstance, CreateResult> {
 public:
  explicit LoneCreation(VerbContext* context)
      : LoneForm(FileStatement(*context, "create_instance")),
        inline_bytes_max_(context->payload_inline_bytes_max) {}

  // The first message holds the input, and whatever else could be stored apart.
  bool Fits(const NewInstance& instance) const override {
    return !instance.parent && instance.started.event != nullptr &&
           instance.started.event->size() <= inline_bytes_max_;
  }

  void Encode(HubId hub, const NewInstance& instance, Params* params) const override {
    params->Int4(static_cast<int32_t>(hub))
        .Text(instance.instance_id)
        .Text(instance.execution_id)
        .Text(instance.name)
        .OptionalBytea(instance.version)
        .OptionalBytea(instance.input)
        .OptionalJsonb(TagText(instance.tags))
        .OptionalTimestamp(Storable(instance.scheduled_start))
        .OptionalBytea(instance.trace_context)
        .OptionalInt8(instance.lease_token == 0 ? std::nullopt
                                                : std::optional<int64_t>(instance.lease_token))
        .OptionalTimestamp(Storable(instance.started.visible_at))
        .Int4(instance.started.event_type)
        .Bytea(*instance.started.event);
  }

  void Decode(const Result& result, const NewInstance&, CreateResult* reply) const override {
    reply->key = result.Int(0, result.Column("key"));
    reply->started_seq = result.Int(0, result.Column("seq"));
    reply->created_at = result.Timestamp(0, result.Column("at"));
  }

 private:
  static std::optional<std::string> TagText(const Tags& tags) {
    if (tags.empty()) return std::nullopt;
    Envelope envelope(SIZE_MAX);
    envelope.TagObject({}, tags);
    return envelope.text();
  }
  // As the envelope has times (codec.h).
  static std::optional<absl::Time> Storable(const std::optional<absl::Time>& time) {
    if (!time.has_value() || *time == absl::InfinitePast()) return std::nullopt;
    return absl::FromUnixMicros(ToMicrosRoundedUp(*time));
  }

  const size_t inline_bytes_max_;
};

}  // namespace

std::unique_ptr<const LoneForm<Checkpoint, CheckpointResult>> MakeLoneTurn(VerbContext* context) {
  return std::make_unique<LoneTurn>(context);
}

std::unique_ptr<const LoneForm<Checkpoint, CheckpointResult>> MakeLoneEnd(VerbContext* context) {
  return std::make_unique<LoneEnd>(context);
}

std::unique_ptr<const LoneForm<NewInstance, CreateResult>> MakeLoneCreation(VerbContext* context) {
  return std::make_unique<LoneCreation>(context);
}

}  // namespace dt::postgres
