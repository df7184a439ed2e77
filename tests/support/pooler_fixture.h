// A PgBouncer before the shared PostgreSQL of the tests, on a unix socket of its own.
#ifndef DT_TESTS_SUPPORT_POOLER_FIXTURE_H_
#define DT_TESTS_SUPPORT_POOLER_FIXTURE_H_

#include <sys/types.h>

#include <string>

namespace dt::testing {

class PoolerFixture {
 public:
  // `mode`: transaction, session. At most `sessions` with the server for each database.
  explicit PoolerFixture(const std::string& mode, int sessions = 20);
  ~PoolerFixture();
  PoolerFixture(const PoolerFixture&) = delete;
  PoolerFixture& operator=(const PoolerFixture&) = delete;

  // The way through the pooler to a database of the shared PostgreSQL.
  std::string UrlOf(const std::string& database) const;
  // For clients that are connected already, too.
  void ChangeMode(const std::string& mode);

 private:
  std::string SettingsFile() const;
  void WriteSettings(const std::string& mode) const;

  std::string directory_;
  std::string server_socket_;
  int sessions_ = 0;
  pid_t process_ = 0;
};

// The name of the database that a URL of PostgresFixture is of.
std::string DatabaseOf(const std::string& url);

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_POOLER_FIXTURE_H_
