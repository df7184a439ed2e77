// Verbs that read and clean entities for clients (sql/logic/entity_queries.sql).
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

// The columns that _GetEntity and _QueryEntities share.
EntityInfo ReadInfo(const Result& result, int row) {
  EntityInfo info;
  info.last_modified = result.Timestamp(row, result.Column("last_modified_time"));
  info.backlog = static_cast<int>(result.Int(row, result.Column("backlog")));
  info.locked_by = result.OptionalText(row, result.Column("locked_by"));
  info.state = result.OptionalBytes(row, result.Column("state"));
  return info;
}

class ReadEntities : public ReadEntityVerb {
 public:
  explicit ReadEntities(VerbContext* context) : CallVerb(context, "_GetEntity", true) {}
  // Each state may be large; a few together keep an answer bounded.
  size_t operations_max() const override { return 8; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.BeginArray("items");
    for (const EntityReadRequest* request : requests) {
      envelope.BeginObject()
          .String("id", request->instance_id)
          .Flag("state", request->state)
          .EndObject();
    }
    envelope.EndArray();
  }

  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    const int item = result.Column("item");
    for (int row = 0; row < result.rows(); ++row) {
      const absl::StatusOr<size_t> index = ItemIndex(result, row, item, requests.size());
      if (!index.ok()) return index.status();
      EntityInfo info = ReadInfo(result, row);
      info.instance_id = requests[*index]->instance_id;
      *replies[*index] = std::move(info);
    }
    return absl::OkStatus();
  }
};

class SearchEntities : public SearchEntitiesVerb {
 public:
  explicit SearchEntities(VerbContext* context) : CallVerb(context, "_QueryEntities", true) {}
  // A page is a call of its own: it may be large and slow.
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    const EntitySearch& search = *requests.front();
    envelope.String("prefix", search.id_prefix)
        .String("after", search.after_id)
        .OptionalTime("from", search.from)
        .OptionalTime("to", search.to)
        .Flag("states", search.states)
        .Flag("transient", search.transient)
        .Int("rows", search.max_rows)
        .Int("bytes", search.max_bytes)
        .Int("looked_at", search.max_looked_at);
  }

  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    EntityPage page;
    const int id = result.Column("instance_id");
    const int more = result.Column("more");
    for (int row = 0; row < result.rows(); ++row) {
      if (result.Bool(row, more)) {
        page.next = result.Text(row, id);
        continue;
      }
      page.rows.push_back(ReadInfo(result, row));
      page.rows.back().instance_id = result.Text(row, id);
    }
    replies.front() = std::move(page);
    return absl::OkStatus();
  }
};

class CleanEntities : public CleanEntitiesVerb {
 public:
  explicit CleanEntities(VerbContext* context) : CallVerb(context, "_CleanEntityStorage", true) {}
  // Each call is a transaction of its own size.
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    const EntityCleanup& request = *requests.front();
    envelope.String("after", request.after_id)
        .Flag("remove_empty", request.remove_empty)
        .Flag("release_orphaned", request.release_orphaned)
        .Int("rows", request.max_looked_at);
  }

  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    for (int row = 0; row < result.rows(); ++row) {
      replies.front() = EntityCleanupResult{result.Int(row, result.Column("removed")),
                                            result.Int(row, result.Column("released")),
                                            result.OptionalText(row, result.Column("next_after"))};
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<ReadEntityVerb> MakeReadEntityVerb(VerbContext* context) {
  return std::make_unique<ReadEntities>(context);
}
std::unique_ptr<SearchEntitiesVerb> MakeSearchEntitiesVerb(VerbContext* context) {
  return std::make_unique<SearchEntities>(context);
}
std::unique_ptr<CleanEntitiesVerb> MakeCleanEntitiesVerb(VerbContext* context) {
  return std::make_unique<CleanEntities>(context);
}

}  // namespace dt::postgres
