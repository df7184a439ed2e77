// The table of SQLSTATEs, and their way through absl::Status.
#include "storage/postgres/sqlstate.h"

#include "tests/support/catch.h"

namespace dt::postgres {
namespace {

TEST_CASE("sqlstate_classes") {
  struct Row {
    const char* sqlstate;
    FaultClass fault;
    absl::StatusCode code;
  };
  const Row rows[] = {
      {"40P01", FaultClass::kRetry, absl::StatusCode::kUnavailable},
      {"40001", FaultClass::kRetry, absl::StatusCode::kUnavailable},
      {"55P03", FaultClass::kBlocked, absl::StatusCode::kUnavailable},
      {"57014", FaultClass::kTimedOut, absl::StatusCode::kUnavailable},
      {"57P01", FaultClass::kReconnect, absl::StatusCode::kUnavailable},
      {"57P02", FaultClass::kReconnect, absl::StatusCode::kUnavailable},
      {"57P03", FaultClass::kReconnect, absl::StatusCode::kUnavailable},
      {"57P05", FaultClass::kReconnect, absl::StatusCode::kUnavailable},
      {"08000", FaultClass::kReconnect, absl::StatusCode::kUnavailable},
      {"08001", FaultClass::kReconnect, absl::StatusCode::kUnavailable},
      {"08006", FaultClass::kReconnect, absl::StatusCode::kUnavailable},
      {"53300", FaultClass::kReconnect, absl::StatusCode::kUnavailable},
      {"25006", FaultClass::kReconnect, absl::StatusCode::kUnavailable},
      {"53100", FaultClass::kSlowRetry, absl::StatusCode::kUnavailable},
      {"53200", FaultClass::kSlowRetry, absl::StatusCode::kUnavailable},
      {"0A000", FaultClass::kPrepareAgain, absl::StatusCode::kInternal},
      {"26000", FaultClass::kPrepareAgain, absl::StatusCode::kInternal},
      {"42P05", FaultClass::kPrepareAgain, absl::StatusCode::kInternal},
      {"22021", FaultClass::kItemByItem, absl::StatusCode::kInvalidArgument},
      {"22P02", FaultClass::kItemByItem, absl::StatusCode::kInvalidArgument},
      {"54000", FaultClass::kItemByItem, absl::StatusCode::kInvalidArgument},
      {"23514", FaultClass::kItemByItem, absl::StatusCode::kInvalidArgument},
      {"23505", FaultClass::kItemByItem, absl::StatusCode::kInternal},
      {"P0001", FaultClass::kItemByItem, absl::StatusCode::kInternal},
      {"42P01", FaultClass::kPermanent, absl::StatusCode::kInternal},
      {"42501", FaultClass::kPermanent, absl::StatusCode::kPermissionDenied},
      {"28P01", FaultClass::kPermanent, absl::StatusCode::kUnauthenticated},
      {"28000", FaultClass::kPermanent, absl::StatusCode::kUnauthenticated},
      {"3D000", FaultClass::kPermanent, absl::StatusCode::kNotFound},
      {"08P01", FaultClass::kPermanent, absl::StatusCode::kInternal},
      {"XX000", FaultClass::kPermanent, absl::StatusCode::kInternal},
      {"", FaultClass::kPermanent, absl::StatusCode::kInternal},
      {"22", FaultClass::kPermanent, absl::StatusCode::kInternal},
  };
  for (const Row& row : rows) {
    CAPTURE(row.sqlstate);
    CHECK(ClassifySqlstate(row.sqlstate) == row.fault);
    CHECK(StatusCodeForSqlstate(row.sqlstate) == row.code);
    absl::Status status = MakeStatus(row.sqlstate, "text");
    CHECK(Sqlstate(status) == row.sqlstate);
    CHECK(Classify(status) == row.fault);
  }
  CHECK(Sqlstate(absl::InternalError("x")).empty());
  CHECK(Classify(absl::InternalError("x")) == FaultClass::kPermanent);
}

}  // namespace
}  // namespace dt::postgres
