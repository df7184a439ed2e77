// Verbs that claim, and that read the inboxes of what is claimed.
#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "fmt/format.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

constexpr int kInboxMessagesMax = 1000;
constexpr int64_t kInboxBytesMax = 3 << 20;

// The same as long as the entity exists; sql's __EntityExecutionId.
std::string EntityExecutionId(InstanceKey key) { return fmt::format("{:032x}", key); }

SharedBytes SharedOf(const Result& result, int row, int column) {
  return std::make_shared<const std::string>(
      result.IsNull(row, column) ? std::string_view() : result.Bytes(row, column));
}

Generation GenerationOf(const Result& result, int row, int column) {
  return static_cast<Generation>(result.OptionalInt(row, column).value_or(kAnyGeneration));
}

void EncodeGroup(const ClaimGroup& group, Envelope& envelope) {
  envelope.BeginObject().Int("max", group.max_items);
  if (group.filters.has_value()) EncodeFilters("filters", *group.filters, envelope);
  if (!group.excluded.empty()) {
    Column excluded;
    for (int64_t key : group.excluded) excluded.Add(key);
    envelope.Numbers("excluded", excluded);
  }
  envelope.EndObject();
}

// Until the answer tells what came of a group, and also when a repeated call only found what the
// first one took, it counts as served in full: who asked asks again at once.
std::vector<ClaimedGroup> ServedInFull(const ClaimRequest& request) {
  std::vector<ClaimedGroup> groups;
  for (const ClaimGroup& group : request.groups) groups.push_back({group.max_items, {}, false});
  return groups;
}

// A row about a group: its number, how much it took and when there is more.
absl::Status ReadGroup(const Result& result, int row, const char* number, const char* items,
                       std::vector<ClaimedGroup>& groups) {
  const absl::StatusOr<size_t> index = ItemIndex(result, row, result.Column(number), groups.size());
  if (!index.ok()) return index.status();
  groups[*index].items = static_cast<int>(result.Int(row, result.Column(items)));
  groups[*index].next_due = result.OptionalTimestamp(row, result.Column("due"));
  groups[*index].cut = result.Bool(row, result.Column("more"));
  return absl::OkStatus();
}

// Claims of both kinds: a call has one claim, because each has its own token and filters.
template <typename Reply>
class ClaimVerb : public CallVerb<ClaimRequest, Reply> {
 public:
  using Base = CallVerb<ClaimRequest, Reply>;
  using Base::Base;
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const typename Base::Requests& requests, Envelope& envelope) const override {
    const ClaimRequest& request = *requests.front();
    envelope.Int("token", request.lease_token)
        .Int("kind", static_cast<int64_t>(request.kind))
        .Int("max_messages", std::max(request.max_messages, 1))
        .Int("max_bytes", request.max_message_bytes)
        .Int("total_bytes", request.max_total_bytes);
    envelope.Flag("repeat", request.repeat);
    envelope.BeginArray("groups");
    for (const ClaimGroup& group : request.groups) EncodeGroup(group, envelope);
    envelope.EndArray();
  }
};

class ClaimInstances : public ClaimVerb<ClaimResult> {
 public:
  explicit ClaimInstances(VerbContext* context)
      : ClaimVerb(context, "_LockNextOrchestration", true) {}

 protected:
  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    ClaimResult& reply = *replies.front();
    reply.groups = ServedInFull(*requests.front());
    const int part = result.Column("part");
    const int key = result.Column("key");
    absl::flat_hash_map<InstanceKey, size_t> positions;
    for (int row = 0; row < result.rows(); ++row) {
      const int64_t kind = result.Int(row, part);
      if (kind == 3) {
        absl::Status read = ReadGroup(result, row, "number", "count", reply.groups);
        if (!read.ok()) return read;
      } else if (kind == 0) {
        positions[result.Int(row, key)] = reply.claims.size();
        reply.claims.push_back(ReadClaim(result, row, *requests.front()));
      } else {
        const auto found = positions.find(result.Int(row, key));
        if (found == positions.end()) return absl::InternalError("a row of no claimed instance");
        Claim& claim = reply.claims[found->second];
        if (kind == 1) {
          claim.messages.push_back(ReadMessage(result, row));
        } else if (kind == 4) {
          claim.entity = ReadEntity(result, row);
        } else {
          claim.history.push_back(ReadChunk(result, row));
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  static Claim ReadClaim(const Result& result, int row, const ClaimRequest& request) {
    Claim claim;
    claim.key = result.Int(row, result.Column("key"));
    claim.hub = request.hub;
    claim.kind = static_cast<InstanceKind>(result.Int(row, result.Column("type")));
    claim.lease_token = request.lease_token;
    claim.instance_id = result.Text(row, result.Column("instance_id"));
    claim.execution_id = claim.kind == InstanceKind::kEntity
                             ? EntityExecutionId(claim.key)
                             : result.OptionalText(row, result.Column("execution_id")).value_or("");
    claim.generation = GenerationOf(result, row, result.Column("generation"));
    claim.turn = result.Int(row, result.Column("number"));
    claim.name = result.Text(row, result.Column("name"));
    claim.version = result.OptionalBytes(row, result.Column("version"));
    claim.status = static_cast<RuntimeStatus>(result.Int(row, result.Column("status")));
    claim.custom_status = result.OptionalBytes(row, result.Column("custom_status"));
    claim.saved_custom_status = result.OptionalBytes(row, result.Column("saved_custom_status"));
    claim.orchestration_trace_context = result.OptionalBytes(row, result.Column("trace_context"));
    claim.parent = ReadParent(result, row);
    claim.lost_leases = static_cast<int32_t>(result.Int(row, result.Column("lost_leases")));
    claim.more_messages = result.Bool(row, result.Column("more"));
    claim.next_due = result.OptionalTimestamp(row, result.Column("due"));
    return claim;
  }

  static EntityRow ReadEntity(const Result& result, int row) {
    EntityRow entity;
    entity.state = result.OptionalBytes(row, result.Column("data"));
    if (result.IsNull(row, result.Column("number"))) return entity;
    entity.lock.emplace();
    entity.lock->owner_id = result.OptionalText(row, result.Column("name")).value_or("");
    entity.lock->owner_execution_id =
        result.OptionalText(row, result.Column("execution_id")).value_or("");
    entity.lock->critical_section = result.Text(row, result.Column("instance_id"));
    return entity;
  }

  static Message ReadMessage(const Result& result, int row) {
    Message message;
    message.seq = result.Int(row, result.Column("number"));
    message.generation = GenerationOf(result, row, result.Column("generation"));
    message.visible_at = result.Timestamp(row, result.Column("due"));
    message.event_type = static_cast<int16_t>(result.Int(row, result.Column("type")));
    message.event = SharedOf(result, row, result.Column("data"));
    return message;
  }

  static HistoryChunk ReadChunk(const Result& result, int row) {
    HistoryChunk chunk;
    chunk.turn = result.Int(row, result.Column("number"));
    chunk.first_event = static_cast<int32_t>(result.Int(row, result.Column("type")));
    chunk.event_count = static_cast<int32_t>(result.Int(row, result.Column("count")));
    chunk.events = SharedOf(result, row, result.Column("data"));
    return chunk;
  }
};

class ClaimTasks : public ClaimVerb<TaskClaimResult> {
 public:
  explicit ClaimTasks(VerbContext* context) : ClaimVerb(context, "_LockNextTask", true) {}

 protected:
  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    TaskClaimResult& reply = *replies.front();
    reply.groups = ServedInFull(*requests.front());
    const int key = result.Column("key");
    for (int row = 0; row < result.rows(); ++row) {
      if (result.IsNull(row, key)) {
        absl::Status read = ReadGroup(result, row, "task_id", "generation", reply.groups);
        if (!read.ok()) return read;
        continue;
      }
      ActivityTask task;
      task.key = result.Int(row, key);
      task.instance_key = result.Int(row, result.Column("instance_key"));
      task.generation = GenerationOf(result, row, result.Column("generation"));
      task.hub = requests.front()->hub;
      task.instance_id = result.OptionalText(row, result.Column("instance_id")).value_or("");
      task.execution_id = result.OptionalText(row, result.Column("execution_id")).value_or("");
      task.task_id = static_cast<int32_t>(result.Int(row, result.Column("task_id")));
      task.name = result.Text(row, result.Column("name"));
      task.version = result.OptionalBytes(row, result.Column("version"));
      task.lease_token = requests.front()->lease_token;
      task.lost_leases = static_cast<int32_t>(result.Int(row, result.Column("lost_leases")));
      task.request = SharedOf(result, row, result.Column("request"));
      reply.tasks.push_back(std::move(task));
    }
    return absl::OkStatus();
  }
};

// The rows of _ReadNewMessages and _ReadInbox, grouped by instance.
std::vector<InboxRead> ReadInboxes(const Result& result) {
  const int key = result.Column("key");
  const int token = result.Column("token");
  const int seq = result.Column("seq");
  const int generation = result.Column("generation");
  const int type = result.Column("event_type");
  const int visible_at = result.Column("visible_at");
  const int event = result.Column("event");
  const int more = result.Column("more");
  std::vector<InboxRead> reads;
  for (int row = 0; row < result.rows(); ++row) {
    if (reads.empty() || reads.back().key != result.Int(row, key)) {
      InboxRead read;
      read.key = result.Int(row, key);
      read.lease_token = result.Int(row, token);
      reads.push_back(std::move(read));
    }
    if (result.Bool(row, more)) {
      reads.back().more_messages = true;
      continue;
    }
    Message message;
    message.seq = result.Int(row, seq);
    message.generation = GenerationOf(result, row, generation);
    message.visible_at = result.Timestamp(row, visible_at);
    message.event_type = static_cast<int16_t>(result.Int(row, type));
    message.event = SharedOf(result, row, event);
    reads.back().messages.push_back(std::move(message));
  }
  return reads;
}

class ReadNewMessages : public ReadNewMessagesVerb {
 public:
  explicit ReadNewMessages(VerbContext* context) : CallVerb(context, "_ReadNewMessages", true) {}
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.Int("worker", *requests.front())
        .Flag("all", context()->reread.exchange(false))
        .Int("max_messages", kInboxMessagesMax)
        .Int("max_bytes", kInboxBytesMax);
  }
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    *replies.front() = ReadInboxes(result);
    return absl::OkStatus();
  }
};

class ReadInboxOfOne : public ReadInboxVerb {
 public:
  explicit ReadInboxOfOne(VerbContext* context) : CallVerb(context, "_ReadInbox", true) {}

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.Int("max_messages", kInboxMessagesMax).Int("max_bytes", kInboxBytesMax);
    envelope.BeginArray("items");
    for (const InboxRequest* request : requests) {
      envelope.BeginObject().Int("key", request->key).Int("token", request->token).EndObject();
    }
    envelope.EndArray();
  }
  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    for (size_t i = 0; i < requests.size(); ++i) {
      replies[i]->key = requests[i]->key;
      replies[i]->lease_token = requests[i]->token;
    }
    for (InboxRead& read : ReadInboxes(result)) {
      for (absl::StatusOr<InboxRead>& reply : replies) {
        if (reply->key == read.key && reply->lease_token == read.lease_token) *reply = read;
      }
    }
    return absl::OkStatus();
  }
};

}  // namespace

void EncodeFilters(std::string_view key, const std::vector<NameFilter>& filters,
                   Envelope& envelope) {
  envelope.BeginArray(key);
  for (const NameFilter& filter : filters) {
    envelope.BeginObject().String("name", filter.lower_name).BeginArray("versions");
    for (const std::string& version : filter.versions) envelope.String({}, version);
    envelope.EndArray().EndObject();
  }
  envelope.EndArray();
}

std::unique_ptr<ClaimInstancesVerb> MakeClaimInstancesVerb(VerbContext* context) {
  return std::make_unique<ClaimInstances>(context);
}
std::unique_ptr<ClaimTasksVerb> MakeClaimTasksVerb(VerbContext* context) {
  return std::make_unique<ClaimTasks>(context);
}
std::unique_ptr<ReadNewMessagesVerb> MakeReadNewMessagesVerb(VerbContext* context) {
  return std::make_unique<ReadNewMessages>(context);
}
std::unique_ptr<ReadInboxVerb> MakeReadInboxVerb(VerbContext* context) {
  return std::make_unique<ReadInboxOfOne>(context);
}

}  // namespace dt::postgres
