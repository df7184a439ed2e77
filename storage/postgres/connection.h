// One connection to PostgreSQL: connect, execute prepared statements with binary parameters and
// results, run scripts, listen, cancel. The only user of libpq.
//
// Invariants
//   * A Connection never reconnects and never repeats a statement after a fault; its owner decides
//     (lane.h). The one exception is a prepared statement that the server no longer accepts (0A000,
//     26000) outside a transaction: it did nothing, so it is prepared again and repeated once.
//   * Each Execute is one implicit transaction, unless the owner opened one with
//     RunScript("begin").
//   * Settings travel so that they are there for each statement (session_settings.h): with the
//   session where that is
//     ours; where a pooler stands between, whose sessions are others' between transactions, with
//     each transaction, in the same message as its statement.
//   * After a status for which connected() is false the session is gone; if it broke while a
//     statement was in flight, that statement's effect is unknown.
//
// Threads. A Connection is used by one thread at a time; only Cancel() may be called from any
// thread.
#ifndef DT_STORAGE_POSTGRES_CONNECTION_H_
#define DT_STORAGE_POSTGRES_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/postgres/password_source.h"
#include "storage/steady_clock.h"

// libpq's own types, so that no other file includes its header.
struct pg_conn;
struct pg_result;
struct pg_cancel;

namespace dt::postgres {

// Whether COMMIT waits for the write-ahead log.
enum class Durability : int8_t {
  kDurable,       // the server's default, but never off
  kAsynchronous,  // off: only for what a crash may forget (claims, heartbeats, hints)
};

// Whether statements are prepared once, by a name that the server session knows.
enum class PreparedStatements : int8_t {
  kAuto,  // unless a pooler gives the session to others between transactions (pooler.cc)
  kOn,    // always: the session is ours, or the pooler keeps account of names
  kOff,   // never, and nothing else is taken for kept between transactions either
};

struct ConnectionOptions {
  // A URI or key=value string as libpq takes it; empty = the PG* environment variables. Passwords
  // of files (passfile, PGPASSFILE) are read again for every new connection.
  std::string url;
  // Takes the place of the URL's password, if it is given.
  PasswordSource password;
  std::string application_name = "durabletask-sidecar";
  // Server side; zero = no limit. They bound a statement, a wait for a lock, an idle transaction.
  absl::Duration statement_timeout = absl::Seconds(30);
  absl::Duration lock_timeout = absl::Seconds(10);
  absl::Duration idle_in_transaction_timeout = absl::Seconds(30);
  absl::Duration connect_timeout =
      absl::Seconds(10);  // of each host of the URL, and of the password
  // Owners make a connection anew after this, when it has nothing to do, so that changed passwords
  // and moved primaries are found; zero = never.
  absl::Duration age_max = absl::Hours(1);
  // How much longer than statement_timeout the client waits for an answer before it gives the
  // connection up: a host that vanished never answers.
  absl::Duration answer_grace = absl::Seconds(15);
  Durability durability = Durability::kDurable;
  PreparedStatements prepared_statements = PreparedStatements::kAuto;
  // More of them, name and value, for example {"plan_cache_mode", "force_generic_plan"}.
  std::vector<std::pair<std::string, std::string>> extra_settings;
};

// A statement with parameters $1..$n. Prepared on first use under `name`, which must be unique
// among the statements of one Connection; an empty name is never prepared.
struct Statement {
  std::string name;
  std::string sql;
};

// Parameters in order. The values are encoded when they are added, so nothing needs to outlive it.
class Params {
 public:
  Params() = default;
  Params(Params&&) = default;
  Params& operator=(Params&&) = default;

  Params& Bool(bool value);
  Params& Int4(int32_t value);
  Params& Int8(int64_t value);
  Params& Text(std::string value);   // UTF-8 without NUL; the server refuses anything else (22021)
  Params& Jsonb(std::string value);  // JSON text
  Params& Bytea(std::string value);
  Params& Timestamp(absl::Time value);  // timestamptz in microseconds, rounded up
  Params& Int8Array(absl::Span<const int64_t> values);
  Params& TextArray(absl::Span<const std::string> values);
  // nullopt = NULL; an empty view = empty.
  Params& ByteaArray(absl::Span<const std::optional<std::string_view>> values);

  Params& OptionalInt4(std::optional<int32_t> value);
  Params& OptionalInt8(std::optional<int64_t> value);
  Params& OptionalText(std::optional<std::string> value);
  Params& OptionalJsonb(std::optional<std::string> value);
  Params& OptionalBytea(std::optional<std::string> value);
  Params& OptionalTimestamp(std::optional<absl::Time> value);

  size_t size() const { return values_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  friend class Connection;
  struct Value {
    uint32_t type = 0;  // the type's OID
    bool null = false;
    std::string data;  // binary format
  };
  Params& Add(uint32_t type, std::string data);
  Params& AddNull(uint32_t type);

  std::vector<Value> values_;
  size_t bytes_ = 0;
};

// The rows of one statement. Rows and columns count from 0. Reading a column as another type than
// the statement yields, or a NULL as a value, is a bug and aborts. Views live as long as the
// Result.
class Result {
 public:
  Result() = default;

  int rows() const;
  int columns() const;
  // The position of a column; aborts if the statement has none of this name.
  int Column(std::string_view name) const;

  bool IsNull(int row, int column) const;
  bool Bool(int row, int column) const;
  // smallint, integer, bigint or oid.
  int64_t Int(int row, int column) const;
  // text, varchar, name, json; jsonb as its JSON text.
  std::string_view Text(int row, int column) const;
  std::string_view Bytes(int row, int column) const;         // bytea
  absl::Time Timestamp(int row, int column) const;           // timestamptz; infinity is kept
  std::vector<int64_t> IntArray(int row, int column) const;  // of smallint, integer, bigint
  std::vector<std::string_view> TextArray(int row, int column) const;  // without NULLs
  std::vector<std::optional<std::string_view>> ByteaArray(int row, int column) const;

  // nullopt for NULL.
  std::optional<int64_t> OptionalInt(int row, int column) const;
  std::optional<std::string> OptionalText(int row, int column) const;
  std::optional<std::string> OptionalBytes(int row, int column) const;
  std::optional<absl::Time> OptionalTimestamp(int row, int column) const;

 private:
  friend class Connection;
  struct Free {
    void operator()(pg_result* result) const;
  };
  explicit Result(pg_result* result) : result_(result) {}
  // The value's bytes; checks that it is there, not NULL, and (unless 0) of the type.
  std::string_view Raw(int row, int column, uint32_t type) const;
  uint32_t Type(int column) const;

  std::unique_ptr<pg_result, Free> result_;
};

// A NOTIFY that arrived.
struct Notification {
  std::string channel;
  std::string payload;
  int backend_pid = 0;
};

// Ends what one Connection does, from another thread. May outlive it.
class Canceler {
 public:
  ~Canceler();
  Canceler(const Canceler&) = delete;
  Canceler& operator=(const Canceler&) = delete;

  // Asks the server to cancel; the statement then fails with 57014, or had just ended. Opens a
  // connection of its own, so it may block as long as the server does not answer.
  absl::Status Cancel();
  // Cuts the connection and never blocks; a statement in flight then fails as connection lost.
  void Disconnect();

 private:
  friend class Connection;
  struct Free {
    void operator()(pg_cancel* cancel) const;
  };
  Canceler(pg_cancel* cancel, int socket) : cancel_(cancel), socket_(socket) {}

  std::unique_ptr<pg_cancel, Free> cancel_;
  int socket_;  // a duplicate of the connection's
};

class Connection {
 public:
  // Connects, looks for a pooler and applies the settings; blocks up to about connect_timeout per
  // host. A status carries the SQLSTATE where the server gave one (sqlstate.h); kInvalidArgument
  // for a malformed URL, of which nothing is quoted (connection_url.h).
  static absl::StatusOr<std::unique_ptr<Connection>> Connect(const ConnectionOptions& options);

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // Runs one statement, preparing it first if needed.
  absl::StatusOr<Result> Execute(const Statement& statement, const Params& params);
  // The same as Execute for SQL that is used once: never prepared by name.
  absl::StatusOr<Result> ExecuteOnce(std::string_view sql, const Params& params = {});
  // Runs any number of statements separated by semicolons, as one implicit transaction unless they
  // contain begin or commit. Results are dropped, notices go to the log. Where settings travel with
  // transactions these statements have none but their own.
  absl::Status RunScript(const std::string& sql);

  // How long statements wait for a lock from now on; a round trip where settings are of the
  // session.
  absl::Status SetLockTimeout(absl::Duration timeout);

  // Waits until a NOTIFY arrives, `timeout` has passed (an empty list), or `wake_fd` (-1 = none)
  // becomes readable (an empty list). Needs an earlier RunScript("listen ...").
  absl::StatusOr<std::vector<Notification>> WaitForNotifications(absl::Duration timeout,
                                                                 int wake_fd = -1);

  // False once the session is broken.
  bool connected() const;
  // Older than its options allow; its owner connects anew.
  bool aged() const { return SteadyNow() >= ages_at_; }
  absl::Time ages_at() const { return ages_at_; }  // never: InfiniteFuture
  // It may be used for so long, as there is no other: the error says why.
  void Prolong(absl::Duration time, const absl::Status& error);
  // The same after a look at what the server has sent meanwhile (no round trip): finds a session
  // that the server closed while it was idle, before a statement is lost on it.
  bool StillConnected();
  bool in_transaction() const;
  // A pooler gives the server session to others between transactions, as far as could be seen:
  // nothing that a session keeps, such as LISTEN, works.
  bool session_is_shared() const { return session_is_shared_; }
  bool uses_prepared_statements() const { return prepares_; }
  int server_version() const;  // for example 150004
  int backend_pid() const;
  const ConnectionOptions& options() const { return options_; }
  std::unique_ptr<Canceler> canceler();
  // Messages to the server and back since the start: prepares and scripts count as well.
  int64_t round_trips() const { return round_trips_; }

  // Quotes a name or a value for use in SQL text.
  static std::string QuoteIdentifier(std::string_view name);
  static std::string QuoteLiteral(std::string_view value);

 private:
  Connection(pg_conn* connection, ConnectionOptions options);
  // Without settings, and without a look for a pooler.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const ConnectionOptions& options);
  absl::Status WaitUntilConnected();
  absl::Status ApplySettings();
  // The server process that serves this connection now.
  absl::StatusOr<int64_t> ServerProcess();
  // Whether another connection gets the server process of this one, or this one another process.
  absl::StatusOr<bool> OthersGetSession();
  void NoteSharedSession();
  // What a status of the server means for how statements are prepared; true: repeat it.
  bool MustPrepareAgain(const Statement& statement, const absl::Status& status,
                        bool was_in_transaction);
  // What `name` is known as on the server, or null.
  const char* NameOnServer(const std::string& name) const;
  // Makes the statement known to the server.
  absl::Status Prepare(const Statement& statement, const Params& params);
  // One of the two is null.
  absl::StatusOr<Result> ExecuteOnServer(const char* prepared_name, const char* sql,
                                         const Params& params);
  absl::Status Send(const char* prepared_name, const char* sql, const Params& params);
  // Without settings before it.
  absl::Status SendAlone(const char* prepared_name, const char* sql, const Params& params);
  // Begins a message whose first statements make the settings, if they travel with transactions.
  absl::Status SendSettings();
  // Ends the message; then Await.
  absl::Status EndMessage();
  // Sends what is queued and waits for the answers; the last result, or the first error.
  absl::StatusOr<Result> Await();
  absl::Status WaitForSocket(bool for_write, absl::Time deadline);
  // The status of a connection that was lost, or of a request that libpq itself refused.
  absl::Status ConnectionError() const;
  // Closes the socket, so that nothing more is tried on a session in an unknown state.
  void GiveUp();

  pg_conn* connection_;
  ConnectionOptions options_;
  absl::Time ages_at_;
  std::vector<std::pair<std::string, std::string>> settings_;
  Params settings_params_;        // the same, encoded
  bool settings_travel_ = false;  // with each transaction
  bool behind_pooler_ = false;    // of any kind
  bool session_is_shared_ = false;
  bool prepares_ = true;
  bool pipelined_ = false;  // the message that is sent, or awaited, holds several statements
  // Statement name -> the name on the server (a new one after 0A000).
  absl::flat_hash_map<std::string, std::string> prepared_;
  int64_t prepared_count_ = 0;
  std::string name_suffix_;  // of names on the server
  int64_t round_trips_ = 0;
  bool given_up_ = false;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_CONNECTION_H_
