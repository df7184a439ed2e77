#include "tests/simulation/ledger.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dt::testing {
namespace {

std::string NameOf(const WorkItem& item) {
  if (item.has_entityrequestv2()) return "batch of " + item.entityrequestv2().instanceid();
  if (item.has_orchestratorrequest()) {
    const OrchestratorRequest& request = item.orchestratorrequest();
    return absl::StrCat("turn of ", request.instanceid(), ", execution ",
                        request.executionid().value());
  }
  const ActivityRequest& request = item.activityrequest();
  const OrchestrationInstance& parent = request.orchestrationinstance();
  return absl::StrCat("activity ", request.taskid(), " of ", parent.instanceid(), ", execution ",
                      parent.executionid().value());
}

const std::string& InstanceOf(const WorkItem& item) {
  if (item.has_entityrequestv2()) return item.entityrequestv2().instanceid();
  if (item.has_orchestratorrequest()) return item.orchestratorrequest().instanceid();
  return item.activityrequest().orchestrationinstance().instanceid();
}

std::string Show(const Ledger::Place& place) {
  return absl::StrCat("stream ", place.stream, " of daemon ", place.daemon);
}

}  // namespace

dispatch::WorkType TypeOf(const WorkItem& item) {
  if (item.has_entityrequestv2()) return dispatch::WorkType::kEntity;
  return item.has_activityrequest() ? dispatch::WorkType::kActivity : dispatch::WorkType::kTurn;
}

bool Ledger::MayComeTwice(const Entry& last) const {
  if (last.type == dispatch::WorkType::kTurn) return !last.answered && !IsAtWorker(last);
  // An entity of which nothing is left goes with its batch, and may be made anew before the worker
  // is answered.
  return last.type == dispatch::WorkType::kEntity && last.answered;
}

Ledger::Entry* Ledger::Sent(const WorkItem& item, Place place, bool doubtful) {
  Entry& entry = entries_.emplace_back();
  entry.what = NameOf(item);
  entry.instance_id = InstanceOf(item);
  entry.place = place;
  entry.type = TypeOf(item);
  entry.first = item.has_orchestratorrequest() && item.orchestratorrequest().pastevents().empty();
  entry.over = doubtful;
  ++sent_[dispatch::Index(entry.type)];
  if (doubtful) return &entry;
  Entry*& last = last_[entry.what];
  if (last != nullptr && !last->over) {
    if (!last->answer.has_value() && !MayComeTwice(*last)) {
      Complain(absl::StrCat("the ", entry.what, " is at ", Show(place), " and still at ",
                            Show(last->place)));
    } else if (last->ended() && entry.type == dispatch::WorkType::kActivity) {
      Complain(absl::StrCat("the ", entry.what, " had ended at ", Show(last->place),
                            ", and came again to ", Show(place)));
    }
  }
  last = &entry;
  return &entry;
}

void Ledger::StreamClosed(Place place) {
  for (Entry& entry : entries_) {
    if (entry.place.daemon == place.daemon && entry.place.stream == place.stream) {
      entry.over |= !entry.answered;
    }
  }
}

void Ledger::LeasesLost(size_t daemon) {
  for (Entry& entry : entries_) {
    if (entry.place.daemon == daemon) entry.over |= !entry.answer.has_value();
  }
}

bool Ledger::IsAtWorker(const Entry& entry) const {
  if (entry.over || entry.answered) return false;
  if (entry.type != dispatch::WorkType::kTurn) return true;
  if (entry.first && starts_fail_) return false;
  // A turn that was given a result of an activity goes back when that cannot be stored, and its
  // worker is not told.
  return std::none_of(entries_.begin(), entries_.end(), [&entry](const Entry& other) {
    return other.type == dispatch::WorkType::kActivity && other.instance_id == entry.instance_id &&
           other.place.daemon == entry.place.daemon && other.answer.has_value() &&
           !other.answer->ok();
  });
}

void Ledger::Complain(std::string what) {
  if (wrong_.empty()) wrong_ = std::move(what);
}

}  // namespace dt::testing
