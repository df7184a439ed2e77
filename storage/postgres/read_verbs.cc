// Verbs that read for clients (sql/logic/queries.sql).
#include "absl/strings/str_cat.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

// The columns that _QuerySingle and _QueryManyOrchestrations share.
absl::StatusOr<InstanceRow> ReadRow(const Result& result, int row) {
  InstanceRow instance;
  instance.key = result.Int(row, result.Column("key"));
  instance.execution_id = result.OptionalText(row, result.Column("execution_id")).value_or("");
  instance.generation = static_cast<Generation>(result.Int(row, result.Column("generation")));
  instance.name = result.Text(row, result.Column("name"));
  instance.version = result.OptionalBytes(row, result.Column("version"));
  instance.status = static_cast<RuntimeStatus>(result.Int(row, result.Column("status")));
  instance.created_at = result.Timestamp(row, result.Column("created_time"));
  instance.last_updated_at = result.Timestamp(row, result.Column("last_updated_time"));
  instance.completed_at = result.OptionalTimestamp(row, result.Column("completed_time"));
  instance.scheduled_start = result.OptionalTimestamp(row, result.Column("scheduled_start"));
  instance.parent_instance_id = result.OptionalText(row, result.Column("parent_instance_id"));
  if (const auto tags = result.OptionalText(row, result.Column("tags"))) {
    absl::StatusOr<Tags> parsed = ParseTags(*tags);
    if (!parsed.ok()) return parsed.status();
    instance.tags = *std::move(parsed);
  }
  instance.input = result.OptionalBytes(row, result.Column("input"));
  instance.output = result.OptionalBytes(row, result.Column("output"));
  instance.custom_status = result.OptionalBytes(row, result.Column("custom_status"));
  instance.failure = result.OptionalBytes(row, result.Column("failure"));
  return instance;
}

// Of the payloads that one call reads, beyond those of its first instance.
constexpr int64_t kReadBytesMax = 16 << 20;

// An instance that the call had no room for is answered kAborted, and is to be asked for again.
class ReadInstances : public ReadInstanceVerb {
 public:
  explicit ReadInstances(VerbContext* context) : CallVerb(context, "_QuerySingle", true) {}

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.Int("total_bytes", kReadBytesMax).BeginArray("items");
    for (const InstanceRequest* request : requests) {
      envelope.BeginObject()
          .String("id", request->instance_id)
          .Flag("payloads", request->payloads)
          .EndObject();
    }
    envelope.EndArray();
  }

  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    const int item = result.Column("item");
    const int left_out = result.Column("left_out");
    for (int row = 0; row < result.rows(); ++row) {
      const absl::StatusOr<size_t> index = ItemIndex(result, row, item, requests.size());
      if (!index.ok()) return index.status();
      if (result.Bool(row, left_out)) {
        replies[*index] = absl::AbortedError("the call had too much to read already");
        continue;
      }
      absl::StatusOr<InstanceRow> instance = ReadRow(result, row);
      if (!instance.ok()) {
        replies[*index] = instance.status();
        continue;
      }
      instance->instance_id = requests[*index]->instance_id;
      *replies[*index] = *std::move(instance);
    }
    return absl::OkStatus();
  }
};

class ReadStates : public ReadStatusVerb {
 public:
  explicit ReadStates(VerbContext* context) : CallVerb(context, "_WaitStates", true) {}

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.BeginArray("items");
    for (const std::string* id : requests) {
      envelope.BeginObject().String("id", *id).EndObject();
    }
    envelope.EndArray();
  }
  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    const int item = result.Column("item");
    const int status = result.Column("status");
    for (int row = 0; row < result.rows(); ++row) {
      const absl::StatusOr<size_t> index = ItemIndex(result, row, item, requests.size());
      if (!index.ok()) return index.status();
      replies[*index] = InstanceStatus{true, static_cast<RuntimeStatus>(result.Int(row, status))};
    }
    return absl::OkStatus();
  }
};

class SearchInstancesVerb : public SearchVerb {
 public:
  explicit SearchInstancesVerb(VerbContext* context)
      : CallVerb(context, "_QueryManyOrchestrations", true) {}
  // A page is a call of its own: it may be large and slow.
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    const InstanceSearch& search = *requests.front();
    EncodeSearch(search, envelope);
    envelope.Int("rows", search.max_rows)
        .Int("bytes", search.max_bytes)
        .Flag("payloads", search.payloads);
  }

  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    InstancePage page;
    for (int row = 0; row < result.rows(); ++row) {
      absl::StatusOr<InstanceRow> instance = ReadRow(result, row);
      if (!instance.ok()) return instance.status();
      instance->instance_id = result.Text(row, result.Column("instance_id"));
      page.rows.push_back(*std::move(instance));
      page.more = result.Bool(row, result.Column("more"));
    }
    replies.front() = std::move(page);
    return absl::OkStatus();
  }
};

class ReadHistories : public ReadHistoryVerb {
 public:
  explicit ReadHistories(VerbContext* context) : CallVerb(context, "_ReadHistory", true) {}
  // Each may be as large as its page; a few together keep an answer bounded.
  size_t operations_max() const override { return 8; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.BeginArray("items");
    for (const HistoryRequest* request : requests) {
      envelope.BeginObject().String("id", request->instance_id);
      if (request->execution_id.has_value()) {
        envelope.String("execution_id", *request->execution_id);
      }
      envelope.Int("after_turn", request->after_turn)
          .Int("max_bytes", request->max_bytes > 0 ? request->max_bytes : 1)
          .EndObject();
    }
    envelope.EndArray();
  }

  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    const int item = result.Column("item");
    const int turn = result.Column("turn");
    const int execution_id = result.Column("execution_id");
    std::vector<bool> found(requests.size());
    for (int row = 0; row < result.rows(); ++row) {
      const absl::StatusOr<size_t> index = ItemIndex(result, row, item, requests.size());
      if (!index.ok()) return index.status();
      found[*index] = true;
      replies[*index]->execution_id = result.OptionalText(row, execution_id).value_or("");
      if (result.IsNull(row, turn)) continue;
      HistoryChunk chunk;
      chunk.turn = result.Int(row, turn);
      chunk.first_event = static_cast<int32_t>(result.Int(row, result.Column("first_event")));
      chunk.event_count = static_cast<int32_t>(result.Int(row, result.Column("event_count")));
      chunk.events =
          std::make_shared<const std::string>(result.Bytes(row, result.Column("events")));
      replies[*index]->chunks.push_back(std::move(chunk));
    }
    for (size_t i = 0; i < found.size(); ++i) {
      if (!found[i]) {
        replies[i] = absl::NotFoundError(
            absl::StrCat("no orchestration \"", requests[i]->instance_id,
                         requests[i]->execution_id.has_value() ? "\" with this execution id" : "\"",
                         " in this task hub"));
      }
    }
    return absl::OkStatus();
  }
};

}  // namespace

void EncodeSearch(const InstanceSearch& search, Envelope& envelope) {
  envelope.Flag("completed", search.by_completion)
      .Int("statuses", search.statuses)
      .OptionalTime("from", search.from)
      .OptionalTime("to", search.to);
  if (!search.id_prefix.empty()) envelope.String("prefix", search.id_prefix);
  if (search.after.has_value()) {
    envelope.Time("after_time", search.after->time).String("after_id", search.after->instance_id);
  }
}

std::unique_ptr<ReadInstanceVerb> MakeReadInstanceVerb(VerbContext* context) {
  return std::make_unique<ReadInstances>(context);
}
std::unique_ptr<ReadStatusVerb> MakeReadStatusVerb(VerbContext* context) {
  return std::make_unique<ReadStates>(context);
}
std::unique_ptr<SearchVerb> MakeSearchVerb(VerbContext* context) {
  return std::make_unique<SearchInstancesVerb>(context);
}
std::unique_ptr<ReadHistoryVerb> MakeReadHistoryVerb(VerbContext* context) {
  return std::make_unique<ReadHistories>(context);
}

}  // namespace dt::postgres
