// Silence is a fault: says in the log which work of a hub waits although workers are connected, and
// why it does. Either the filters of no stream accept it, which only the database knows, or each
// stream that accepts it gives it back (2.7), as workers do whose versioning refuses it.
//
// A hub is looked at every `unaccepted_look_interval`, and logged at most once in
// `unaccepted_log_interval`. A hub whose streams accept everything costs no query. Streams of other
// daemons are not known here, which the line says.
//
// Threads: used by the dispatcher's steps only, so by one thread at a time.
#ifndef DT_SERVER_DISPATCH_UNACCEPTED_H_
#define DT_SERVER_DISPATCH_UNACCEPTED_H_

#include <string>
#include <tuple>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "server/dispatch/events.h"
#include "server/dispatch/streams.h"

namespace dt::dispatch {

class UnacceptedWatch {
 public:
  explicit UnacceptedWatch(const DispatchLimits& limits) : limits_(limits) {}

  // A stream was opened: there is something to watch.
  void Begin(absl::Time now);
  // Each stream that accepts this item has given it back.
  void GaveBack(const Route& route, int64_t key, const std::string& instance_id);
  // Asks the store about the hubs whose time has come.
  void OnTime(absl::Time now, const StreamTable& table, std::vector<Effect>& effects);
  // The answer: logs what waits. `hub` is null when all that is known of it has gone.
  void OnFound(const UnacceptedFound& found, const Hub* hub, absl::Time now);
  absl::Time NextDeadline() const { return next_look_; }

 private:
  using Named = std::tuple<WorkType, std::string, std::string>;  // type, name, version
  struct GivenBack {
    absl::btree_set<int64_t> keys;  // at most kGivenBackMax
    std::string instance_id;        // of one of them
  };
  struct Watched {
    bool asking = false;
    absl::Time next_log = absl::InfinitePast();
    absl::btree_map<Named, GivenBack> given_back;  // since the last line
  };

  const DispatchLimits& limits_;
  absl::Time next_look_ = absl::InfiniteFuture();
  absl::btree_map<HubId, Watched> hubs_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_UNACCEPTED_H_
