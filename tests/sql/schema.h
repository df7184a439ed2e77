// A fresh database with the schema "dt" in it, for tests of the SQL itself.
#ifndef DT_TESTS_SQL_SCHEMA_H_
#define DT_TESTS_SQL_SCHEMA_H_

#include <memory>
#include <string>

#include "storage/postgres/migrator.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {

inline std::unique_ptr<postgres::Connection> NewSchema() {
  auto connection = PostgresFixture::Connect(PostgresFixture::Shared().NewDatabase());
  MustBeOk(postgres::MigrateSchema(*connection, "dt").status());
  return connection;
}

inline postgres::Result Run(postgres::Connection& connection, const std::string& sql,
                            const postgres::Params& params = {}) {
  return ValueOf(connection.ExecuteOnce(sql, params));
}

}  // namespace dt::testing

#endif  // DT_TESTS_SQL_SCHEMA_H_
