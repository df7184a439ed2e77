// The verb that purges (sql/logic/purge.sql).
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

}  // namespace

std::unique_ptr<PurgeVerb> MakePurgeVerb(VerbContext* context) {
  return std::make_unique<Purge>(context);
}

}  // namespace dt::postgres
