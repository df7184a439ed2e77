// The verbs that purge (sql/logic/purge.sql, retention.sql).
#include "absl/strings/str_cat.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

class Purge : public PurgeVerb {
 public:
  explicit Purge(VerbContext* context) : CallVerb(context, "_PurgeInstances", true) {}
  // Each call is a transaction of its own size.
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    const PurgeRequest& request = *requests.front();
    if (request.instance_ids.empty()) {
      EncodeSearch(request.filter, envelope);
    } else {
      envelope.BeginArray("ids");
      for (const std::string& id : request.instance_ids) envelope.String({}, id);
      envelope.EndArray();
    }
    envelope.Flag("recursive", request.recursive).Int("rows", request.max_instances);
  }

  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    for (int row = 0; row < result.rows(); ++row) {
      replies.front() = PurgeResult{result.Int(row, result.Column("deleted")),
                                    result.Bool(row, result.Column("more"))};
    }
    return absl::OkStatus();
  }
};

class Retention : public RetentionVerb {
 public:
  explicit Retention(VerbContext* context) : CallVerb(context, "_ApplyRetention", true) {}
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    const RetentionRequest& request = *requests.front();
    envelope.Int("worker", context()->worker.load()).BeginObject("keep");
    for (const auto& [status, keep] : request.keep) {
      envelope.Int(absl::StrCat(static_cast<int>(status)), absl::ToInt64Microseconds(keep));
    }
    envelope.EndObject();
    envelope.Int("rows", request.max_instances)
        .Int("pause", absl::ToInt64Microseconds(request.pause))
        .Int("grace", absl::ToInt64Microseconds(request.grace));
  }

  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    RetentionResult& reply = *replies.front();
    const int hub = result.Column("hub");
    for (int row = 0; row < result.rows(); ++row) {
      if (!result.IsNull(row, hub)) {
        reply.purges.push_back(
            {std::string(result.Text(row, hub)),
             static_cast<RuntimeStatus>(result.Int(row, result.Column("status"))),
             result.Int(row, result.Column("purged"))});
        continue;
      }
      reply.leads = result.Bool(row, result.Column("leads"));
      reply.more = result.Bool(row, result.Column("more"));
      if (!reply.leads) {
        reply.leader = result.OptionalText(row, result.Column("leader")).value_or("");
      }
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<RetentionVerb> MakeRetentionVerb(VerbContext* context) {
  return std::make_unique<Retention>(context);
}

std::unique_ptr<PurgeVerb> MakePurgeVerb(VerbContext* context) {
  return std::make_unique<Purge>(context);
}

}  // namespace dt::postgres
