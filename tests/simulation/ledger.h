// Which work items the workers of a world were sent, and what became of each: no instance and no
// activity is at two workers at a time, and an activity whose end was acknowledged never comes
// again. What its daemon, its stream or its lease took along may come again.
#ifndef DT_TESTS_SIMULATION_LEDGER_H_
#define DT_TESTS_SIMULATION_LEDGER_H_

#include <deque>
#include <map>
#include <optional>
#include <string>

#include "proto/orchestrator_service.pb.h"
#include "server/dispatch/events.h"

namespace dt::testing {

dispatch::WorkType TypeOf(const WorkItem& item);

class Ledger {
 public:
  // `starts_fail`: creations may fail, or their answers be lost. Then a first turn that was sent
  // before comes again.
  explicit Ledger(bool starts_fail) : starts_fail_(starts_fail) {}

  // Where an item went.
  struct Place {
    size_t daemon = 0;
    dispatch::StreamId stream = 0;
  };
  // One dispatch; it lives as long as the ledger.
  struct Entry {
    std::string what;
    std::string instance_id;  // of the orchestration or the entity
    Place place;
    dispatch::WorkType type = dispatch::WorkType::kTurn;
    bool first = false;                  // turn of its orchestration's generation
    bool answered = false;               // by its worker
    std::optional<absl::Status> answer;  // what the worker was answered
    // The daemon has lost it, gave it back, or need not know of it: it may come again.
    bool over = false;
    bool ended() const { return !over && answer.has_value() && answer->ok(); }
  };

  // A worker has got the item. `doubtful`: the daemon may have lost the lease already, and others
  // may have run it.
  Entry* Sent(const WorkItem& item, Place place, bool doubtful);
  // Its stream has been closed: what was not answered may come again.
  void StreamClosed(Place place);
  // The daemon was killed, or may have lost its leases: whatever it had not acknowledged.
  void LeasesLost(size_t daemon);

  // Whether its worker has it, as far as the daemon knows.
  bool IsAtWorker(const Entry& entry) const;

  void Complain(std::string what);
  // The first thing that was wrong, or "".
  const std::string& wrong() const { return wrong_; }
  // How many items of a kind were sent, those that came again too.
  int sent(dispatch::WorkType type) const { return sent_[dispatch::Index(type)]; }

 private:
  // Whether the same may be sent again although its worker has been answered nothing.
  bool MayComeTwice(const Entry& last) const;

  const bool starts_fail_;
  std::deque<Entry> entries_;
  std::map<std::string, Entry*> last_;  // by what they are
  int sent_[dispatch::kWorkTypes] = {};
  std::string wrong_;
};

}  // namespace dt::testing

#endif  // DT_TESTS_SIMULATION_LEDGER_H_
