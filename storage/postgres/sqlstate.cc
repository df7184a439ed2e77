#include "storage/postgres/sqlstate.h"

#include "absl/strings/cord.h"

namespace dt::postgres {
namespace {

constexpr absl::string_view kPayloadUrl = "durabletask/sqlstate";

// The first rule whose prefix matches wins, so single codes stand before their classes.
struct Rule {
  std::string_view prefix;
  FaultClass fault;
  absl::StatusCode code;
};

constexpr Rule kRules[] = {
    // Another transaction was in the way, or a time limit of our own was reached.
    {"40P01", FaultClass::kRetry, absl::StatusCode::kUnavailable},     // deadlock
    {"40001", FaultClass::kRetry, absl::StatusCode::kUnavailable},     // serialization failure
    {"55P03", FaultClass::kBlocked, absl::StatusCode::kUnavailable},   // lock not available
    {"57014", FaultClass::kTimedOut, absl::StatusCode::kUnavailable},  // or somebody canceled it
    // The statement was prepared by a session that is gone, or for another result type.
    {"0A000", FaultClass::kPrepareAgain, absl::StatusCode::kInternal},
    {"26000", FaultClass::kPrepareAgain, absl::StatusCode::kInternal},
    {"42P05", FaultClass::kPrepareAgain, absl::StatusCode::kInternal},
    // The server stops, starts, fails over, or has no free connection.
    {"57P01", FaultClass::kReconnect, absl::StatusCode::kUnavailable},  // admin shutdown
    {"57P02", FaultClass::kReconnect, absl::StatusCode::kUnavailable},  // crash shutdown
    {"57P03", FaultClass::kReconnect, absl::StatusCode::kUnavailable},  // cannot connect now
    {"57P05", FaultClass::kReconnect, absl::StatusCode::kUnavailable},  // idle session time-out
    {"25P03", FaultClass::kReconnect, absl::StatusCode::kUnavailable},  // idle in transaction
    {"25006", FaultClass::kReconnect, absl::StatusCode::kUnavailable},  // read-only: a standby now
    {"08P01", FaultClass::kPermanent, absl::StatusCode::kInternal},     // protocol violation
    {"08", FaultClass::kReconnect, absl::StatusCode::kUnavailable},
    {"53300", FaultClass::kReconnect, absl::StatusCode::kUnavailable},  // too many connections
    // Disk full, out of memory, a configured limit.
    {"53", FaultClass::kSlowRetry, absl::StatusCode::kUnavailable},
    // Something in the data of the call: values, constraints, limits, raised conditions.
    {"22", FaultClass::kItemByItem, absl::StatusCode::kInvalidArgument},
    {"54", FaultClass::kItemByItem, absl::StatusCode::kInvalidArgument},
    {"23514", FaultClass::kItemByItem, absl::StatusCode::kInvalidArgument},  // a CHECK's limit
    {"23", FaultClass::kItemByItem, absl::StatusCode::kInternal},
    {"21", FaultClass::kItemByItem, absl::StatusCode::kInternal},  // a row hit twice in a statement
    {kHubDeleted, FaultClass::kItemByItem, absl::StatusCode::kNotFound},  // the hub was deleted
    {"P0", FaultClass::kItemByItem, absl::StatusCode::kInternal},
    // What an operator has to put right.
    {"28", FaultClass::kPermanent, absl::StatusCode::kUnauthenticated},
    {"3D000", FaultClass::kPermanent, absl::StatusCode::kNotFound},  // no such database
    {"42501", FaultClass::kPermanent, absl::StatusCode::kPermissionDenied},
};

const Rule* FindRule(std::string_view sqlstate) {
  if (sqlstate.size() != 5) return nullptr;
  for (const Rule& rule : kRules) {
    if (sqlstate.substr(0, rule.prefix.size()) == rule.prefix) return &rule;
  }
  return nullptr;
}

}  // namespace

FaultClass ClassifySqlstate(std::string_view sqlstate) {
  const Rule* rule = FindRule(sqlstate);
  return rule == nullptr ? FaultClass::kPermanent : rule->fault;
}

absl::StatusCode StatusCodeForSqlstate(std::string_view sqlstate) {
  const Rule* rule = FindRule(sqlstate);
  return rule == nullptr ? absl::StatusCode::kInternal : rule->code;
}

absl::Status MakeStatus(std::string_view sqlstate, std::string_view message) {
  absl::Status status(StatusCodeForSqlstate(sqlstate),
                      absl::string_view(message.data(), message.size()));
  status.SetPayload(kPayloadUrl, absl::Cord(absl::string_view(sqlstate.data(), sqlstate.size())));
  return status;
}

std::string Sqlstate(const absl::Status& status) {
  absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  return payload.has_value() ? std::string(*payload) : std::string();
}

FaultClass Classify(const absl::Status& status) { return ClassifySqlstate(Sqlstate(status)); }

}  // namespace dt::postgres
