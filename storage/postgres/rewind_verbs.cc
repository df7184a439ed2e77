// The verbs of rewinds (sql/logic/rewind.sql), and the termination that asks nobody.
#include <memory>
#include <utility>

#include "storage/postgres/payload_cuts.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

class ReadRewindSources : public ReadRewindSourcesVerb {
 public:
  explicit ReadRewindSources(VerbContext* context)
      : CallVerb(context, "_ReadRewindSources", true) {}
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.BeginArray("ids");
    for (const std::string& id : *requests.front()) envelope.String({}, id);
    envelope.EndArray();
  }

  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    const std::vector<std::string>& ids = *requests.front();
    std::vector<RewindSource>& sources = *replies.front();
    sources.resize(ids.size());
    for (int row = 0; row < result.rows(); ++row) {
      const absl::StatusOr<size_t> index =
          ItemIndex(result, row, result.Column("item"), ids.size());
      if (!index.ok()) return index.status();
      if (result.Int(row, result.Column("part")) != 0) {
        sources[*index].claim.history.push_back(ReadChunk(result, row));
        continue;
      }
      sources[*index] = ReadSource(result, row);
      sources[*index].claim.instance_id = ids[*index];
    }
    return absl::OkStatus();
  }

 private:
  static RewindSource ReadSource(const Result& result, int row) {
    RewindSource source;
    source.exists = true;
    Claim& claim = source.claim;
    claim.key = result.Int(row, result.Column("key"));
    claim.execution_id = result.OptionalText(row, result.Column("execution_id")).value_or("");
    claim.generation = static_cast<Generation>(result.Int(row, result.Column("generation")));
    claim.turn = result.OptionalInt(row, result.Column("number")).value_or(0);
    claim.name = result.Text(row, result.Column("name"));
    claim.version = result.OptionalBytes(row, result.Column("version"));
    claim.status = static_cast<RuntimeStatus>(result.Int(row, result.Column("status")));
    claim.custom_status = result.OptionalBytes(row, result.Column("custom_status"));
    claim.saved_custom_status = result.OptionalBytes(row, result.Column("saved_custom_status"));
    claim.orchestration_trace_context = result.OptionalBytes(row, result.Column("trace_context"));
    claim.parent = ReadParent(result, row);
    source.output = result.OptionalBytes(row, result.Column("output"));
    source.failure = result.OptionalBytes(row, result.Column("failure"));
    for (const int64_t id : result.IntArray(row, result.Column("tasks"))) {
      source.task_ids.push_back(static_cast<int32_t>(id));
    }
    return source;
  }

  static HistoryChunk ReadChunk(const Result& result, int row) {
    HistoryChunk chunk;
    chunk.turn = result.Int(row, result.Column("number"));
    chunk.first_event = static_cast<int32_t>(result.Int(row, result.Column("first_event")));
    chunk.event_count = static_cast<int32_t>(result.Int(row, result.Column("event_count")));
    chunk.events = std::make_shared<const std::string>(result.Bytes(row, result.Column("events")));
    return chunk;
  }
};

class RewindAll : public RewindVerb {
 public:
  explicit RewindAll(VerbContext* context) : CallVerb(context, "_RewindInstances", true) {}
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    const std::vector<Rewind>& rewinds = requests.front()->rewinds;
    CheckpointVerb::Requests checkpoints;
    for (const Rewind& rewind : rewinds) checkpoints.push_back(&rewind.checkpoint);
    EncodeCheckpoints(checkpoints, envelope);
    EncodeFound(rewinds, envelope);
    std::vector<PayloadSet> payloads(rewinds.size());
    envelope.BeginArray("chunks");
    for (size_t i = 0; i < rewinds.size(); ++i) {
      for (const HistoryChunk& chunk : rewinds[i].history) {
        envelope.BeginObject()
            .Int("item", static_cast<int64_t>(i) + 1)
            .Int("turn", chunk.turn)
            .Int("first_event", chunk.first_event)
            .Int("event_count", chunk.event_count)
            .OptionalInt("events", envelope.Stored(chunk.events, kChunkDepth, payloads[i]))
            .EndObject();
      }
    }
    envelope.EndArray().PayloadList("chunk_payloads", payloads);
  }

  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    if (result.rows() != 1) return absl::InternalError("a rewind answers with one row");
    replies.front() = static_cast<RewindOutcome>(result.Int(0, result.Column("outcome")));
    return absl::OkStatus();
  }

 private:
  static void EncodeFound(const std::vector<Rewind>& rewinds, Envelope& envelope) {
    envelope.BeginArray("rewinds");
    for (const Rewind& rewind : rewinds) {
      envelope.BeginObject()
          .Int("key", rewind.checkpoint.key)
          .String("found_execution_id", rewind.found_execution_id)
          .IntList("found_tasks", {rewind.found_task_ids.begin(), rewind.found_task_ids.end()})
          .String("execution_id", rewind.execution_id)
          .IntList("dropped_tasks",
                   {rewind.dropped_task_ids.begin(), rewind.dropped_task_ids.end()})
          .Flag("live", rewind.live)
          .EndObject();
    }
    envelope.EndArray().BeginArray("found_children");
    for (const Rewind& rewind : rewinds) {
      for (const RewindChild& child : rewind.found_children) {
        envelope.BeginObject()
            .Int("key", child.key)
            .Int("status", static_cast<int64_t>(child.status))
            .EndObject();
      }
    }
    envelope.EndArray();
  }
};

class EndNow : public TerminateNowVerb {
 public:
  explicit EndNow(VerbContext* context) : CallVerb(context, "_TerminateNow", true) {}
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.BeginArray("ids");
    for (const std::string& id : requests.front()->instance_ids) envelope.String({}, id);
    envelope.EndArray().OptionalBytes("reason", requests.front()->reason);
  }

  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    for (int row = 0; row < result.rows(); ++row) {
      replies.front()->emplace_back(result.Text(row, result.Column("id")));
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<ReadRewindSourcesVerb> MakeReadRewindSourcesVerb(VerbContext* context) {
  return std::make_unique<ReadRewindSources>(context);
}
std::unique_ptr<RewindVerb> MakeRewindVerb(VerbContext* context) {
  return std::make_unique<RewindAll>(context);
}
std::unique_ptr<TerminateNowVerb> MakeTerminateNowVerb(VerbContext* context) {
  return std::make_unique<EndNow>(context);
}

}  // namespace dt::postgres
