// What operators ask about, beside what SDKs do: why an instance does not go on, which workers
// there are, which task hubs. Reads only, on connections and with time-outs of their own; a store
// that keeps nothing of the kind has none of it.
//
// Threads and errors are those of Store.
#ifndef DT_STORAGE_MANAGEMENT_READS_H_
#define DT_STORAGE_MANAGEMENT_READS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "storage/store.h"

namespace dt {

// One thing that an instance waits for: a row of the SQL function GetInstanceWaits (sql/README.md).
struct InstanceWait {
  std::string kind;
  std::string state;
  std::optional<std::string> name;
  std::optional<std::string> id;
  std::optional<absl::Time> since;
  std::optional<absl::Time> until;
  std::optional<int64_t> worker;
  std::optional<std::string> host;
  std::optional<std::string> detail;
  std::string sentence;
};

// A daemon and one kind of work that its workers take: a row of the SQL view vWorkers.
struct HubWorker {
  WorkerId worker = 0;
  std::string host;
  std::string version;
  absl::Time since;
  std::optional<absl::Time> last_seen;
  std::string state;
  std::string work;
  int64_t streams = 0;
  int64_t credits = 0;
  std::optional<std::vector<std::string>> lower_names;  // nullopt = all
  int64_t residents = 0;
  int64_t in_flight = 0;
  int64_t leases = 0;
  double finished_per_second = 0;
};

class ManagementReads {
 public:
  virtual ~ManagementReads() = default;

  // At least one row, also for an instance that has ended; none if it is not there.
  virtual void ReadWaits(HubId hub, std::string instance_id,
                         Callback<std::vector<InstanceWait>> done) = 0;
  virtual void ListHubWorkers(HubId hub, Callback<std::vector<HubWorker>> done) = 0;
  // Names, in their order; at most `names_max`.
  virtual void ListHubs(int names_max, Callback<std::vector<std::string>> done) = 0;
};

}  // namespace dt

#endif  // DT_STORAGE_MANAGEMENT_READS_H_
