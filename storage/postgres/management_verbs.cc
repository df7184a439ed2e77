// Verbs that read for operators (sql/logic/management.sql).
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

class ReadWaits : public ReadWaitsVerb {
 public:
  explicit ReadWaits(VerbContext* context) : CallVerb(context, "_InstanceWaits", true) {}
  // Each looks through a history.
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.BeginArray("items")
        .BeginObject()
        .String("id", *requests.front())
        .EndObject()
        .EndArray();
  }
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    for (int row = 0; row < result.rows(); ++row) {
      InstanceWait wait;
      wait.kind = std::string(result.Text(row, result.Column("kind")));
      wait.state = std::string(result.Text(row, result.Column("state")));
      wait.name = result.OptionalText(row, result.Column("name"));
      wait.id = result.OptionalText(row, result.Column("id"));
      wait.since = result.OptionalTimestamp(row, result.Column("since"));
      wait.until = result.OptionalTimestamp(row, result.Column("until"));
      wait.worker = result.OptionalInt(row, result.Column("worker"));
      wait.host = result.OptionalText(row, result.Column("host"));
      wait.detail = result.OptionalText(row, result.Column("detail"));
      wait.sentence = std::string(result.Text(row, result.Column("sentence")));
      replies.front()->push_back(std::move(wait));
    }
    return absl::OkStatus();
  }
};

class ReadHubWorkers : public HubWorkersVerb {
 public:
  explicit ReadHubWorkers(VerbContext* context) : CallVerb(context, "_HubWorkers", true) {}
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests&, Envelope&) const override {}
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    const int names = result.Column("names");
    for (int row = 0; row < result.rows(); ++row) {
      HubWorker worker;
      worker.worker = result.Int(row, result.Column("worker"));
      worker.host = std::string(result.Text(row, result.Column("host")));
      worker.version = std::string(result.Text(row, result.Column("version")));
      worker.since = result.Timestamp(row, result.Column("since"));
      worker.last_seen = result.OptionalTimestamp(row, result.Column("last_seen"));
      worker.state = std::string(result.Text(row, result.Column("state")));
      worker.work = std::string(result.Text(row, result.Column("work")));
      worker.streams = result.Int(row, result.Column("streams"));
      worker.credits = result.Int(row, result.Column("credits"));
      if (!result.IsNull(row, names)) {
        worker.lower_names.emplace();
        for (const std::string_view name : result.TextArray(row, names)) {
          worker.lower_names->emplace_back(name);
        }
      }
      worker.residents = result.Int(row, result.Column("residents"));
      worker.in_flight = result.Int(row, result.Column("in_flight"));
      worker.leases = result.Int(row, result.Column("leases"));
      worker.finished_per_second =
          static_cast<double>(result.Int(row, result.Column("per_mille"))) / 1000;
      replies.front()->push_back(std::move(worker));
    }
    return absl::OkStatus();
  }
};

class ReadHubs : public ListHubsVerb {
 public:
  explicit ReadHubs(VerbContext* context) : CallVerb(context, "_ListHubs", true) {}
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.Int("names", *requests.front());
  }
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    for (int row = 0; row < result.rows(); ++row) {
      replies.front()->emplace_back(result.Text(row, 0));
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<ReadWaitsVerb> MakeReadWaitsVerb(VerbContext* context) {
  return std::make_unique<ReadWaits>(context);
}
std::unique_ptr<HubWorkersVerb> MakeHubWorkersVerb(VerbContext* context) {
  return std::make_unique<ReadHubWorkers>(context);
}
std::unique_ptr<ListHubsVerb> MakeListHubsVerb(VerbContext* context) {
  return std::make_unique<ReadHubs>(context);
}

}  // namespace dt::postgres
