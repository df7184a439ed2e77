#include "tests/bench/entity.h"

#include <charconv>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "fmt/format.h"
#include "tests/bench/payload.h"

namespace dt::bench {
namespace {

// Hex digits of a GUID, and how many of them say what it is about.
constexpr size_t kGuidLength = 36;
constexpr size_t kActionDigits = 12;
constexpr size_t kStateBytes = 22;

uint64_t HashOf(absl::string_view text) {
  uint64_t hash = 0;
  for (const char letter : text) hash = Mix(hash ^ static_cast<uint8_t>(letter));
  return hash;
}

std::string GuidOf(uint64_t hash, uint64_t action) {
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", hash >> 32, (hash >> 16) & 0xffff,
                     hash & 0xffff, Mix(hash) >> 48, action);
}

absl::Status Broken(const EntityRequest& request, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("batch of ", request.instanceid(), ": ", what));
}

// What an operation is asked with: the input of a signal or of a call.
absl::Status ReadOperation(const EntityRequest& request, const HistoryEvent& event,
                           absl::string_view& input) {
  absl::string_view name;
  if (event.has_entityoperationsignaled()) {
    name = event.entityoperationsignaled().operation();
    input = event.entityoperationsignaled().input().value();
  } else if (event.has_entityoperationcalled()) {
    name = event.entityoperationcalled().operation();
    input = event.entityoperationcalled().input().value();
  }
  if (name == kOperationName) return absl::OkStatus();
  return Broken(request,
                absl::StrCat("event type ", event.eventType_case(), ", operation ", Shown(name)));
}

// Adds the totals and a result for each operation.
absl::Status RunOperations(const EntityRequest& request, EntityTotals& totals,
                           EntityBatchResult& result) {
  for (const HistoryEvent& event : request.operationrequests()) {
    absl::string_view input;
    uint64_t value = 0;
    if (absl::Status status = ReadOperation(request, event, input); !status.ok()) return status;
    if (!DecodeValue(input, value)) {
      return Broken(request, absl::StrCat("input ", Shown(input)));
    }
    ++totals.operations;
    totals.sum += value;
    OperationResultSuccess* success = result.add_results()->mutable_success();
    if (event.has_entityoperationcalled()) {
      success->mutable_result()->set_value(EncodeValue(Mix(value), input.size()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string EntityPrefix(absl::string_view run) { return absl::StrCat("@", kEntityName, "@", run); }

std::string EntityId(absl::string_view orchestration, uint64_t number) {
  // What its number stands behind; children of a tree have no entities.
  const absl::string_view run = orchestration.substr(0, orchestration.rfind('-') + 1);
  return absl::StrCat(EntityPrefix(run), number);
}

std::string RequestId(absl::string_view orchestration, uint64_t action) {
  return GuidOf(HashOf(orchestration), action);
}

bool ActionOfRequest(absl::string_view orchestration, absl::string_view request, uint64_t& action) {
  if (request.size() != kGuidLength) return false;
  const char* end = request.data() + request.size();
  const auto read = std::from_chars(end - kActionDigits, end, action, 16);
  return read.ec == std::errc() && read.ptr == end && RequestId(orchestration, action) == request;
}

bool DecodeTotals(absl::string_view state, EntityTotals& totals) {
  Input input;
  if (!DecodeInput(state, input) || input.number_count != 1) return false;
  totals = {input.numbers[0], input.value};
  return true;
}

absl::Status RunEntity(const EntityRequest& request, EntityBatchResult& result) {
  result.Clear();
  EntityTotals totals;
  absl::Status status;
  if (request.has_entitystate() && !DecodeTotals(request.entitystate().value(), totals)) {
    status = Broken(request, absl::StrCat("state ", Shown(request.entitystate().value())));
  }
  if (status.ok()) status = RunOperations(request, totals, result);
  if (status.ok()) {
    result.mutable_entitystate()->set_value(
        EncodeInput({totals.operations}, totals.sum, kStateBytes));
    return status;
  }
  result.Clear();
  for (int i = 0; i < request.operationrequests_size(); ++i) {
    TaskFailureDetails* details = result.add_results()->mutable_failure()->mutable_failuredetails();
    details->set_errortype("DtbenchError");
    details->set_errormessage(std::string(status.message()));
  }
  if (request.has_entitystate()) *result.mutable_entitystate() = request.entitystate();
  return status;
}

}  // namespace dt::bench
