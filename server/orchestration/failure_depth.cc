#include "server/orchestration/failure_depth.h"

#include "absl/strings/str_cat.h"

namespace dt::orchestration {
namespace {

using google::protobuf::Value;

constexpr char kPropertyRemark[] = "(left out by the server: nested too deep)";

// Cuts a value that may have so many levels of messages, itself included.
void LimitValue(Value& value, int levels) {
  constexpr int kListLevels = 2;    // the value, its list
  constexpr int kStructLevels = 3;  // the value, its struct, the entry of the map
  const bool nests = value.has_list_value() || value.has_struct_value();
  if (levels < 1 || (nests && levels <= kStructLevels)) {
    value.set_string_value(kPropertyRemark);
    return;
  }
  if (value.has_list_value()) {
    for (Value& item : *value.mutable_list_value()->mutable_values()) {
      LimitValue(item, levels - kListLevels);
    }
  } else if (value.has_struct_value()) {
    for (auto& [key, item] : *value.mutable_struct_value()->mutable_fields()) {
      LimitValue(item, levels - kStructLevels);
    }
  }
}

int InnerFailures(const TaskFailureDetails& details) {
  int count = 0;
  for (const TaskFailureDetails* at = &details; at->has_innerfailure(); at = &at->innerfailure()) {
    ++count;
  }
  return count;
}

}  // namespace

void LimitDepth(TaskFailureDetails& details) {
  TaskFailureDetails* at = &details;
  for (int level = 1;; ++level) {
    const int below = kMessageLevelsMax - level;
    // The entry of the map is a level, too.
    for (auto& [key, value] : *at->mutable_properties()) LimitValue(value, below - 1);
    if (!at->has_innerfailure()) return;
    if (level == kFailureLevelsMax) break;
    at = at->mutable_innerfailure();
  }
  absl::StrAppend(at->mutable_errormessage(), " (", InnerFailures(*at),
                  " inner failures are left out by the server: it keeps ", kFailureLevelsMax,
                  " levels)");
  at->clear_innerfailure();
}

void LimitDepth(HistoryEvent& event) {
  const auto limit = [](auto* failed) {
    if (failed->has_failuredetails()) LimitDepth(*failed->mutable_failuredetails());
  };
  if (event.has_taskfailed()) limit(event.mutable_taskfailed());
  if (event.has_executioncompleted()) limit(event.mutable_executioncompleted());
  if (event.has_entityoperationfailed()) limit(event.mutable_entityoperationfailed());
  if (event.has_suborchestrationinstancefailed()) {
    limit(event.mutable_suborchestrationinstancefailed());
  }
}

}  // namespace dt::orchestration
