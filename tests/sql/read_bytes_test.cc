// What one call reads of large payloads (queries.sql).
#include <string>

#include "tests/sql/schema.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using postgres::Connection;
using postgres::Result;

// "a" to "d", each with an input of 1,000 bytes: those of "b" and "d" as a payload of their own.
void FillReadable(Connection& connection) {
  MustBeOk(connection.RunScript(
      "insert into dt.Instances (instance_key, hub_id, instance_id, name, created_time, "
      "last_updated_time, stored_status, input, input_payload) overriding system value "
      "select n, 1, chr(96 + n), 'Wanted', now(), now(), 1, "
      "case when n % 2 = 1 then convert_to(repeat('x', 1000), 'UTF8') end, "
      "case when n % 2 = 0 then lpad(n::text, 32, '0')::uuid end from generate_series(1, 4) n; "
      "insert into dt.Payloads (instance_key, payload_id, data) "
      "select n, lpad(n::text, 32, '0')::uuid, convert_to(repeat('y', 1000), 'UTF8') "
      "from generate_series(2, 4, 2) n"));
}

// Of each item in turn: how much was read of its input, "-" = it was left out, "0" = not asked for.
std::string InputsRead(Connection& connection, const std::string& batch) {
  const Result result = Run(
      connection,
      "select string_agg(case when left_out then '-' else coalesce(length(input), 0)::text end, "
      "' ' order by item) from dt._QuerySingle(1, '" +
          batch + "', null)");
  return std::string(result.Text(0, 0));
}

TEST_CASE("sql_read_bytes a call reads no more than it may, and the first item in any case") {
  auto connection = NewSchema();
  FillReadable(*connection);
  const std::string all =
      R"("items": [{"id": "a", "payloads": true}, {"id": "b", "payloads": true},
                   {"id": "c", "payloads": true}, {"id": "d", "payloads": true}])";
  CHECK(InputsRead(*connection, "{" + all + "}") == "1000 1000 1000 1000");
  CHECK(InputsRead(*connection, R"({"total_bytes": 2500, )" + all + "}") == "1000 1000 - -");
  CHECK(InputsRead(*connection, R"({"total_bytes": 1, )" + all + "}") == "1000 - - -");
  // What was not asked for is no reason to leave out, nor is it left out.
  CHECK(InputsRead(*connection,
                   R"({"total_bytes": 1, "items": [{"id": "a"}, {"id": "b", "payloads": true},
                       {"id": "missing", "payloads": true}, {"id": "c"},
                       {"id": "d", "payloads": true}]})") == "0 1000 0 -");
}

}  // namespace
}  // namespace dt::testing
