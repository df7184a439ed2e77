// Verbs of hubs, of the sweep and of the look for work that nobody accepts (sql/logic/settings.sql,
// hub_deletions.sql, workers.sql, waiting.sql): one call each.
#include <iterator>

#include "absl/strings/str_cat.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

Statement StatementOf(const VerbContext& context, const std::string& name,
                      const std::string& before, const std::string& after) {
  return {name, absl::StrCat(before, Connection::QuoteIdentifier(context.schema), ".", after)};
}

class ResolveHub : public ResolveHubVerb {
 public:
  explicit ResolveHub(VerbContext* context)
      : CallVerb(context, StatementOf(*context, "_ResolveHub", "select ", "_ResolveHub($1, $2)")) {}
  size_t operations_max() const override { return 1; }
  void Encode(Operations operations, Params* params) const override {
    const HubRequest& request = CallOf(operations.front()).request;
    params->Text(request.name).Bool(request.create);
  }

 protected:
  void EncodeCalls(const Requests&, Envelope&) const override {}
  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    if (result.IsNull(0, 0)) {
      replies.front() = absl::NotFoundError(
          absl::StrCat("no task hub \"", requests.front()->name, "\": create it first"));
    } else {
      *replies.front() = static_cast<HubId>(result.Int(0, 0));
    }
    return absl::OkStatus();
  }
};

class DeleteHub : public DeleteHubVerb {
 public:
  explicit DeleteHub(VerbContext* context)
      : CallVerb(context, StatementOf(*context, "_DeleteHub", "select ", "_DeleteHub($1)")) {}
  size_t operations_max() const override { return 1; }
  void Encode(Operations operations, Params* params) const override {
    params->Text(CallOf(operations.front()).request);
  }

 protected:
  void EncodeCalls(const Requests&, Envelope&) const override {}
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    *replies.front() = result.Bool(0, 0);
    return absl::OkStatus();
  }
};

class LookForDeletedHubs : public LookForDeletedHubsVerb {
 public:
  explicit LookForDeletedHubs(VerbContext* context)
      : CallVerb(context,
                 {"HubDeletions",
                  absl::StrCat("select exists (select from ",
                               Connection::QuoteIdentifier(context->schema), ".HubDeletions)")}) {}
  size_t operations_max() const override { return 1; }
  void Encode(Operations, Params*) const override {}

 protected:
  void EncodeCalls(const Requests&, Envelope&) const override {}
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    *replies.front() = result.Bool(0, 0);
    return absl::OkStatus();
  }
};

class CleanHubs : public CleanHubsVerb {
 public:
  explicit CleanHubs(VerbContext* context) : CallVerb(context, "_CleanHubs", true) {}
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.Int("worker", context()->worker.load())
        .Int("rows", requests.front()->max_instances)
        .Int("pause", absl::ToInt64Microseconds(requests.front()->pause));
  }
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    HubCleanupResult& reply = *replies.front();
    reply.more = result.Bool(0, result.Column("more"));
    const std::optional<std::string> hub = result.OptionalText(0, result.Column("hub"));
    if (!hub.has_value()) return absl::OkStatus();
    reply.hub = *hub;
    reply.removed = result.Int(0, result.Column("removed"));
    reply.total = result.Int(0, result.Column("total"));
    reply.ended = result.Bool(0, result.Column("ended"));
    reply.age = absl::Microseconds(result.Int(0, result.Column("age")));
    return absl::OkStatus();
  }
};

class ListWorkers : public ListWorkersVerb {
 public:
  explicit ListWorkers(VerbContext* context)
      : CallVerb(context, {"Workers", StatementText(context->schema)}) {}
  size_t operations_max() const override { return 1; }
  void Encode(Operations operations, Params* params) const override {
    params->OptionalTimestamp(CallOf(operations.front()).request);
  }

 protected:
  void EncodeCalls(const Requests&, Envelope&) const override {}
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    for (int row = 0; row < result.rows(); ++row) {
      replies.front()->push_back({result.Int(row, 0), std::string(result.Text(row, 1)),
                                  result.Bool(row, 2), result.Bool(row, 3), result.Bool(row, 4),
                                  result.Timestamp(row, 5), result.OptionalText(row, 6)});
    }
    return absl::OkStatus();
  }

 private:
  static std::string StatementText(const std::string& schema) {
    const std::string quoted = Connection::QuoteIdentifier(schema);
    return absl::StrCat(
        "select worker_id, process, lease_until = '-infinity', ", quoted,
        "._SweepIsDue(lease_until, swept_at, ", quoted, "._Now()), ", quoted,
        "._SessionIsGone(session_pid, session_start), served_at, "
        // A renewal may commit some time after it has read the clock.
        "case when $1::timestamptz is null or served_at >= $1::timestamptz - interval '1 minute' "
        "then served end from ",
        quoted, ".Workers");
  }
};

class Sweep : public SweepVerb {
 public:
  explicit Sweep(VerbContext* context)
      : CallVerb(context, StatementOf(*context, "_SweepExpired", "select ", "_SweepExpired($1)")) {}
  size_t operations_max() const override { return 1; }
  void Encode(Operations operations, Params* params) const override {
    params->Int8Array(CallOf(operations.front()).request);
  }

 protected:
  void EncodeCalls(const Requests&, Envelope&) const override {}
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    *replies.front() = result.Int(0, 0);
    return absl::OkStatus();
  }
};

class FindUnaccepted : public UnacceptedVerb {
 public:
  explicit FindUnaccepted(VerbContext* context) : CallVerb(context, "_UnacceptedWork", true) {}
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    const UnacceptedSearch& search = *requests.front();
    if (search.turns.has_value()) EncodeFilters("turns", *search.turns, envelope);
    if (search.tasks.has_value()) EncodeFilters("tasks", *search.tasks, envelope);
    if (search.entities.has_value()) EncodeFilters("entities", *search.entities, envelope);
    envelope.Int("age_ms", absl::ToInt64Milliseconds(search.age_min))
        .Int("groups", search.groups_max)
        .Int("count", search.count_max)
        .Int("names", search.names_max);
  }
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    UnacceptedWork& found = *replies.front();
    std::vector<WaitingWork>* const lists[] = {&found.turns, &found.tasks, &found.entities};
    const int kind_column = result.Column("kind");
    for (int row = 0; row < result.rows(); ++row) {
      WaitingWork work;
      work.name = std::string(result.Text(row, result.Column("name")));
      work.version = std::string(result.Bytes(row, result.Column("version")));
      work.count = result.Int(row, result.Column("count"));
      work.since = result.Timestamp(row, result.Column("since"));
      work.instance_id = std::string(result.Text(row, result.Column("instance_id")));
      const int64_t kind = result.Int(row, kind_column);
      if (kind < 0 || kind >= static_cast<int64_t>(std::size(lists))) {
        return absl::DataLossError(absl::StrCat("unaccepted work of the unknown kind ", kind));
      }
      lists[kind]->push_back(std::move(work));
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<UnacceptedVerb> MakeUnacceptedVerb(VerbContext* context) {
  return std::make_unique<FindUnaccepted>(context);
}
std::unique_ptr<ResolveHubVerb> MakeResolveHubVerb(VerbContext* context) {
  return std::make_unique<ResolveHub>(context);
}
std::unique_ptr<DeleteHubVerb> MakeDeleteHubVerb(VerbContext* context) {
  return std::make_unique<DeleteHub>(context);
}
std::unique_ptr<LookForDeletedHubsVerb> MakeLookForDeletedHubsVerb(VerbContext* context) {
  return std::make_unique<LookForDeletedHubs>(context);
}
std::unique_ptr<CleanHubsVerb> MakeCleanHubsVerb(VerbContext* context) {
  return std::make_unique<CleanHubs>(context);
}
std::unique_ptr<ListWorkersVerb> MakeListWorkersVerb(VerbContext* context) {
  return std::make_unique<ListWorkers>(context);
}
std::unique_ptr<SweepVerb> MakeSweepVerb(VerbContext* context) {
  return std::make_unique<Sweep>(context);
}

}  // namespace dt::postgres
