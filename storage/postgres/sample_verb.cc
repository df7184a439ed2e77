// The verb of samples for metrics (sql/logic/samples.sql).
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {
namespace {

// What a row's value is.
enum Series { kPending = 0, kOldestAge = 1, kInstances = 2 };

class SampleWork : public SampleVerb {
 public:
  explicit SampleWork(VerbContext* context) : CallVerb(context, "_SampleWork", true) {}
  size_t operations_max() const override { return 1; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    const SampleRequest& request = *requests.front();
    envelope.Int("worker", context()->worker.load())
        .Int("hubs", request.hubs_max)
        .Int("rows_max", request.rows_max)
        .Int("count_max", request.count_max)
        .Int("live_max", request.live_max);
  }

  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    WorkSample& sample = *replies.front();
    sample.leads = result.Bool(0, result.Column("leads"));
    for (int row = 1; row < result.rows(); ++row) {
      absl::Status added = AddRow(result, row, sample);
      if (!added.ok()) return added;
    }
    return absl::OkStatus();
  }

 private:
  // Rows of a hub follow each other, but its counts of work come before those of all instances.
  static HubSample& HubOf(std::string_view name, WorkSample& sample) {
    for (HubSample& hub : sample.hubs) {
      if (hub.hub == name) return hub;
    }
    sample.hubs.emplace_back().hub = std::string(name);
    return sample.hubs.back();
  }

  static absl::Status AddRow(const Result& result, int row, WorkSample& sample) {
    HubSample& hub = HubOf(result.Text(row, result.Column("hub")), sample);
    const int64_t series = result.Int(row, result.Column("series"));
    const int64_t label = result.Int(row, result.Column("label"));
    const int64_t value = result.Int(row, result.Column("value"));
    const bool of_kind = label >= 0 && label < static_cast<int64_t>(hub.pending.size());
    if (series == kInstances) {
      hub.instances[static_cast<RuntimeStatus>(label)] = value;
    } else if (series == kPending && of_kind) {
      hub.pending[static_cast<size_t>(label)] = value;
    } else if (series == kOldestAge && of_kind) {
      hub.oldest_age[static_cast<size_t>(label)] = absl::Milliseconds(value);
    } else {
      return absl::DataLossError(
          absl::StrCat("a sample of the unknown series ", series, ", ", label));
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<SampleVerb> MakeSampleVerb(VerbContext* context) {
  return std::make_unique<SampleWork>(context);
}

}  // namespace dt::postgres
