#include "storage/postgres/connection.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/check.h"
#include "storage/postgres/connection_url.h"
#include "storage/postgres/session_settings.h"
#include "storage/postgres/sqlstate.h"
#include "storage/steady_clock.h"

namespace dt::postgres {
namespace {

constexpr int kOldestServer = 140000;
constexpr char kSettingsName[] = "settings";  // the statement that makes settings of a transaction
constexpr std::string_view kChangedType = "0A000";
constexpr std::string_view kProtocolViolation = "08P01";
// PostgreSQL refuses larger messages by ending the session, which would look like a lost
// connection.
constexpr size_t kParameterBytesMax = 1'000'000'000;

std::string_view Stripped(std::string_view text) {
  size_t begin = text.find_first_not_of(" \n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \n") - begin + 1);
}

// Warnings are for the operator: what they are about is not as it should be. The rest is not.
void LogNotice(void* /*unused*/, const PGresult* notice) {
  const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  const bool warning = severity != nullptr && std::string_view(severity) == "WARNING";
  spdlog::log(warning ? spdlog::level::warn : spdlog::level::debug, "PostgreSQL: {}",
              Stripped(PQresultErrorMessage(notice)));
}

// The SQLSTATE in a message of verbosity VERBOSE: "FATAL:  28P01: password authentication failed".
// The severity is translated into the server's language, the rest of the form is not.
std::string SqlstateInMessage(std::string_view message) {
  for (size_t at = message.find(":  "); at != std::string_view::npos;
       at = message.find(":  ", at + 1)) {
    std::string_view rest = message.substr(at + 3);
    if (rest.size() < 7 || rest[5] != ':') continue;
    std::string_view code = rest.substr(0, 5);
    if (std::all_of(code.begin(), code.end(),
                    [](char c) { return absl::ascii_isdigit(c) || absl::ascii_isupper(c); })) {
      return std::string(code);
    }
  }
  return std::string(kCannotConnect);
}

// A libpq message on one line, without the place in PostgreSQL's source that VERBOSE adds.
std::string OneLine(std::string_view message) {
  std::string line;
  for (char c : Stripped(message.substr(0, message.find("\nLOCATION")))) {
    if (c == '\n') line += "; ";
    if (c != '\n' && c != '\t') line += c;
  }
  return line;
}

std::string_view Field(const PGresult* result, int field) {
  const char* value = PQresultErrorField(result, field);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

// The server's message, hint and the place in our functions. Its DETAIL is left out, and its
// CONTEXT where it is not a place: both can hold stored values, which do not belong into logs and
// answers.
absl::Status ErrorOf(const PGresult* result) {
  std::string_view sqlstate = Field(result, PG_DIAG_SQLSTATE);
  std::string message(Field(result, PG_DIAG_MESSAGE_PRIMARY));
  if (message.empty()) message = OneLine(PQresultErrorMessage(result));
  message.insert(0, "PostgreSQL: ");
  std::string_view hint = Field(result, PG_DIAG_MESSAGE_HINT);
  if (!hint.empty()) message += fmt::format(" ({})", hint);
  std::string_view context = Field(result, PG_DIAG_CONTEXT);
  if (context.substr(0, 17) == "PL/pgSQL function") {
    message += fmt::format(" in {}", context.substr(0, context.find('\n')));
  }
  if (sqlstate.empty()) return MakeStatus(kConnectionFailure, message);
  message += fmt::format(" [SQLSTATE {}]", sqlstate);
  return MakeStatus(sqlstate, message);
}

}  // namespace

// ---------------------------------------------------------------------------------------------
// Connecting

absl::StatusOr<std::unique_ptr<Connection>> Connection::Connect(const ConnectionOptions& options) {
  absl::StatusOr<std::unique_ptr<Connection>> connection = Open(options);
  if (!connection.ok()) return connection;
  absl::Status status = (*connection)->ApplySettings();
  if (status.ok()) return connection;
  // A pooler takes connections of clients before it has one to the server.
  if ((*connection)->connected()) return status;
  return MakeStatus(kCannotConnect,
                    absl::StrCat("cannot connect to PostgreSQL: ", status.message()));
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const ConnectionOptions& options) {
  if (absl::Status status = CheckConnectionUrl(options.url); !status.ok()) return status;
  // Earlier entries are defaults that the URL overrides, later ones override the URL. Dead peers
  // are found within half a minute, and a host that does not answer gives way to the next in the
  // list.
  std::string timeout_ms = absl::StrCat(absl::ToInt64Milliseconds(options.connect_timeout));
  absl::StatusOr<std::string> password = std::string();
  if (!options.password.empty()) {
    password = ReadPassword(options.password, options.connect_timeout);
    if (!password.ok()) return MakeStatus(kCannotConnect, std::string(password.status().message()));
  }
  const char* const keywords[] = {
      "fallback_application_name", "tcp_user_timeout", "keepalives_idle",
      "keepalives_interval",       "keepalives_count", "dbname",
      "client_encoding",           "password",         nullptr};
  const char* const values[] = {options.application_name.c_str(),
                                timeout_ms.c_str(),
                                "10",
                                "5",
                                "3",
                                options.url.c_str(),
                                "UTF8",
                                options.password.empty() ? nullptr : password->c_str(),
                                nullptr};
  pg_conn* raw = PQconnectStartParams(keywords, values, /*expand_dbname=*/1);
  if (raw == nullptr) return absl::ResourceExhaustedError("no memory for a connection");
  std::unique_ptr<Connection> connection(new Connection(raw, options));
  if (absl::Status status = connection->WaitUntilConnected(); !status.ok()) return status;

  PQsetErrorVerbosity(raw, PQERRORS_DEFAULT);
  PQsetNoticeReceiver(raw, &LogNotice, nullptr);
  if (PQsetnonblocking(raw, 1) != 0) return connection->ConnectionError();
  if (connection->server_version() < kOldestServer) {
    return absl::FailedPreconditionError(
        absl::StrCat("PostgreSQL 14 or later is needed, this server is version ",
                     connection->server_version() / 10000, "; upgrade it or use another server"));
  }
  return connection;
}

Connection::Connection(pg_conn* connection, ConnectionOptions options)
    : connection_(connection),
      options_(std::move(options)),
      ages_at_(options_.age_max == absl::ZeroDuration() ? absl::InfiniteFuture()
                                                        : SteadyNow() + options_.age_max) {}

Connection::~Connection() { PQfinish(connection_); }

void Connection::Prolong(absl::Duration time, const absl::Status& error) {
  ages_at_ = SteadyNow() + time;
  spdlog::warn("a connection to PostgreSQL is {} old and stays, as there is no new one: {}",
               absl::FormatDuration(options_.age_max), std::string(error.message()));
}

// The steps of connecting are driven from here, because only then can the error carry the SQLSTATE.
absl::Status Connection::WaitUntilConnected() {
  PQsetErrorVerbosity(connection_, PQERRORS_VERBOSE);
  std::string host;
  absl::Time deadline;
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  while (PQstatus(connection_) != CONNECTION_BAD && state != PGRES_POLLING_OK &&
         state != PGRES_POLLING_FAILED) {
    const char* now_host = PQhost(connection_);
    const char* now_port = PQport(connection_);
    std::string now = absl::StrCat(now_host == nullptr ? "" : now_host, " port ",
                                   now_port == nullptr ? "" : now_port);
    if (now != host || deadline == absl::Time()) {  // each host of the list has its own time
      host = now;
      deadline = SteadyNow() + options_.connect_timeout;
    }
    if (!WaitForSocket(state == PGRES_POLLING_WRITING, deadline).ok()) {
      GiveUp();
      return MakeStatus(
          kCannotConnect,
          absl::StrCat("PostgreSQL at ", host, " did not answer within ",
                       absl::FormatDuration(options_.connect_timeout),
                       "; check host, port, firewall and that the server is running"));
    }
    state = PQconnectPoll(connection_);
  }
  if (PQstatus(connection_) == CONNECTION_OK) return absl::OkStatus();
  std::string_view message = PQerrorMessage(connection_);
  std::string sqlstate = SqlstateInMessage(message);
  if (sqlstate == kProtocolViolation) sqlstate = kCannotConnect;  // whatever a pooler has to say
  // The variable PGDATABASE may hold a whole URL, which libpq takes for the name of a database.
  return MakeStatus(
      sqlstate, absl::StrCat("cannot connect to PostgreSQL: ", MaskPasswords(OneLine(message))));
}

// ---------------------------------------------------------------------------------------------
// Statements

absl::StatusOr<Result> Connection::Execute(const Statement& statement, const Params& params) {
  const bool was_in_transaction = in_transaction();
  const auto attempt = [&]() -> absl::StatusOr<Result> {
    if (!prepares_ || statement.name.empty()) {
      return ExecuteOnServer(nullptr, statement.sql.c_str(), params);
    }
    if (settings_travel_ && NameOnServer(kSettingsName) == nullptr) {
      absl::Status prepared = Prepare({kSettingsName, SetSettingsSql()}, settings_params_);
      if (!prepared.ok()) return prepared;
    }
    if (NameOnServer(statement.name) == nullptr) {
      if (absl::Status prepared = Prepare(statement, params); !prepared.ok()) return prepared;
    }
    return ExecuteOnServer(NameOnServer(statement.name), nullptr, params);
  };
  absl::StatusOr<Result> result = attempt();
  if (result.ok() || !MustPrepareAgain(statement, result.status(), was_in_transaction)) {
    return result;
  }
  return attempt();
}

bool Connection::MustPrepareAgain(const Statement& statement, const absl::Status& status,
                                  bool was_in_transaction) {
  if (Classify(status) != FaultClass::kPrepareAgain) return false;
  prepared_.erase(statement.name);
  prepared_.erase(kSettingsName);
  // Behind a pooler this is how it shows that another session answers, or that this one is
  // another's, too.
  if (behind_pooler_ && Sqlstate(status) != kChangedType) NoteSharedSession();
  return !was_in_transaction && connected();
}

const char* Connection::NameOnServer(const std::string& name) const {
  auto found = prepared_.find(name);
  return found == prepared_.end() ? nullptr : found->second.c_str();
}

absl::StatusOr<Result> Connection::ExecuteOnce(std::string_view sql, const Params& params) {
  return ExecuteOnServer(nullptr, std::string(sql).c_str(), params);
}

absl::Status Connection::RunScript(const std::string& sql) {
  if (!connected()) return ConnectionError();
  if (PQsendQuery(connection_, sql.c_str()) == 0) return ConnectionError();
  return Await().status();
}

absl::Status Connection::Prepare(const Statement& statement, const Params& params) {
  if (!connected()) return ConnectionError();
  // A new name each time: the server may still know the old one with an outdated result type.
  std::string name = absl::StrCat(statement.name, name_suffix_, "_", ++prepared_count_);
  std::vector<Oid> types;
  for (const Params::Value& value : params.values_) types.push_back(value.type);
  if (absl::Status sent = SendSettings(); !sent.ok()) return sent;
  if (PQsendPrepare(connection_, name.c_str(), statement.sql.c_str(),
                    static_cast<int>(types.size()), types.data()) == 0) {
    return ConnectionError();
  }
  if (absl::Status sent = EndMessage(); !sent.ok()) return sent;
  absl::StatusOr<Result> result = Await();
  if (result.ok()) prepared_.insert_or_assign(statement.name, std::move(name));
  return result.status();
}

absl::StatusOr<Result> Connection::ExecuteOnServer(const char* prepared_name, const char* sql,
                                                   const Params& params) {
  absl::Status sent = Send(prepared_name, sql, params);
  if (!sent.ok()) return sent;
  return Await();
}

absl::Status Connection::Send(const char* prepared_name, const char* sql, const Params& params) {
  if (!connected()) return ConnectionError();
  if (params.bytes() > kParameterBytesMax) {
    return MakeStatus("54000", absl::StrCat("the call holds ", params.bytes(),
                                            " bytes, PostgreSQL takes at most ", kParameterBytesMax,
                                            "; send smaller payloads"));
  }
  absl::Status status = SendSettings();
  if (status.ok()) status = SendAlone(prepared_name, sql, params);
  if (status.ok()) status = EndMessage();
  return status;
}

absl::Status Connection::SendSettings() {
  if (!settings_travel_ || in_transaction()) return absl::OkStatus();
  if (PQenterPipelineMode(connection_) == 0) return ConnectionError();
  pipelined_ = true;
  // Without a point of synchronization between them the statements of a message are one
  // transaction. Its isolation level can be set before its first query only, and so by no query.
  absl::Status status = SendAlone(nullptr, "set transaction_isolation = 'read committed'", {});
  const char* name = prepares_ ? NameOnServer(kSettingsName) : nullptr;
  static const std::string sql = SetSettingsSql();
  if (status.ok())
    status = SendAlone(name, name == nullptr ? sql.c_str() : nullptr, settings_params_);
  return status;
}

absl::Status Connection::EndMessage() {
  if (!pipelined_ || PQpipelineSync(connection_) == 1) return absl::OkStatus();
  return ConnectionError();
}

absl::Status Connection::SendAlone(const char* prepared_name, const char* sql,
                                   const Params& params) {
  size_t count = params.values_.size();
  std::vector<Oid> types(count);
  std::vector<const char*> values(count);
  std::vector<int> lengths(count);
  std::vector<int> formats(count, 1);
  for (size_t i = 0; i < count; ++i) {
    const Params::Value& value = params.values_[i];
    types[i] = value.type;
    values[i] = value.null ? nullptr : value.data.data();
    lengths[i] = static_cast<int>(value.data.size());
  }
  int size = static_cast<int>(count);
  int sent = prepared_name != nullptr
                 ? PQsendQueryPrepared(connection_, prepared_name, size, values.data(),
                                       lengths.data(), formats.data(), /*resultFormat=*/1)
                 : PQsendQueryParams(connection_, sql, size, types.data(), values.data(),
                                     lengths.data(), formats.data(), /*resultFormat=*/1);
  return sent == 0 ? ConnectionError() : absl::OkStatus();
}

absl::StatusOr<Result> Connection::Await() {
  ++round_trips_;
  absl::Time deadline = options_.statement_timeout == absl::ZeroDuration()
                            ? absl::InfiniteFuture()
                            : SteadyNow() + options_.statement_timeout + options_.answer_grace;
  auto wait = [&](bool for_write) -> absl::Status {
    absl::Status status = WaitForSocket(for_write, deadline);
    if (!status.ok()) {
      GiveUp();
      return status;
    }
    // An error here is told by PQgetResult as well.
    if (PQconsumeInput(connection_) == 0 && !connected()) return ConnectionError();
    return absl::OkStatus();
  };
  // While the server does not read, it may be waiting for us to read.
  for (int left = PQflush(connection_); left != 0; left = PQflush(connection_)) {
    if (left < 0) break;  // told by PQgetResult, together with what the server said before
    if (absl::Status status = wait(/*for_write=*/true); !status.ok()) return status;
  }
  absl::Status error;
  Result last;
  while (true) {
    while (PQisBusy(connection_) != 0) {
      if (absl::Status status = wait(/*for_write=*/false); !status.ok()) {
        return error.ok() ? status : error;
      }
    }
    Result result(PQgetResult(connection_));
    if (result.result_ == nullptr) {
      if (pipelined_ && connected()) continue;  // the end of one statement of several
      break;
    }
    ExecStatusType state = PQresultStatus(result.result_.get());
    if (state == PGRES_PIPELINE_ABORTED) continue;
    if (state == PGRES_PIPELINE_SYNC) {
      pipelined_ = false;
      if (PQexitPipelineMode(connection_) == 0) GiveUp();
      break;
    }
    if (state == PGRES_COPY_IN || state == PGRES_COPY_OUT || state == PGRES_COPY_BOTH) {
      GiveUp();
      return absl::InternalError("COPY is not spoken here");
    }
    if (state == PGRES_FATAL_ERROR || state == PGRES_BAD_RESPONSE) {
      if (error.ok()) error = ErrorOf(result.result_.get());
    }
    last = std::move(result);
  }
  if (error.ok()) return last;
  // A pooler says so when it ends the connection of a client.
  if (!connected() && Sqlstate(error) == kProtocolViolation) {
    return MakeStatus(kConnectionFailure, std::string(error.message()));
  }
  return error;
}

absl::Status Connection::WaitForSocket(bool for_write, absl::Time deadline) {
  while (true) {
    pollfd socket = {PQsocket(connection_), POLLIN, 0};
    if (for_write) socket.events |= POLLOUT;
    int timeout_ms = -1;
    if (deadline != absl::InfiniteFuture()) {
      absl::Duration left = std::max(deadline - SteadyNow(), absl::ZeroDuration());
      timeout_ms = static_cast<int>(absl::ToInt64Milliseconds(left)) + 1;
      if (left == absl::ZeroDuration()) timeout_ms = 0;
    }
    int ready = poll(&socket, 1, timeout_ms);
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) {
      return MakeStatus(kConnectionFailure,
                        "PostgreSQL did not answer in time; the connection is given up");
    }
    if (errno != EINTR) {
      return MakeStatus(kConnectionFailure,
                        absl::StrCat("cannot wait for PostgreSQL: ", std::strerror(errno)));
    }
  }
}

absl::StatusOr<std::vector<Notification>> Connection::WaitForNotifications(absl::Duration timeout,
                                                                           int wake_fd) {
  std::vector<Notification> notifications;
  absl::Time deadline = SteadyNow() + timeout;
  while (true) {
    if (!connected()) return ConnectionError();
    if (PQconsumeInput(connection_) == 0) return ConnectionError();
    while (PGnotify* notify = PQnotifies(connection_)) {
      notifications.push_back({notify->relname, notify->extra, notify->be_pid});
      PQfreemem(notify);
    }
    absl::Duration left = deadline - SteadyNow();
    if (!notifications.empty() || left <= absl::ZeroDuration()) return notifications;
    // A negative descriptor is ignored by poll.
    pollfd ready[2] = {{PQsocket(connection_), POLLIN, 0}, {wake_fd, POLLIN, 0}};
    int64_t timeout_ms = std::min<int64_t>(absl::ToInt64Milliseconds(left) + 1, 3'600'000);
    int count = poll(ready, 2, static_cast<int>(timeout_ms));
    if (count < 0 && errno != EINTR) {
      return MakeStatus(kConnectionFailure,
                        absl::StrCat("cannot wait for PostgreSQL: ", std::strerror(errno)));
    }
    if (count > 0 && ready[1].revents != 0) return notifications;
  }
}

// ---------------------------------------------------------------------------------------------
// State

bool Connection::connected() const { return !given_up_ && PQstatus(connection_) == CONNECTION_OK; }

bool Connection::StillConnected() {
  if (!connected()) return false;
  // The server's last words may come before the end of the stream, so read until nothing is left.
  pollfd socket = {PQsocket(connection_), POLLIN, 0};
  while (poll(&socket, 1, 0) > 0) {
    if (PQconsumeInput(connection_) == 0 || !connected()) return false;
  }
  return true;
}

bool Connection::in_transaction() const {
  PGTransactionStatusType state = PQtransactionStatus(connection_);
  return state == PQTRANS_INTRANS || state == PQTRANS_INERROR;
}

int Connection::server_version() const { return PQserverVersion(connection_); }

int Connection::backend_pid() const { return PQbackendPID(connection_); }

std::unique_ptr<Canceler> Connection::canceler() {
  int socket = fcntl(PQsocket(connection_), F_DUPFD_CLOEXEC, 0);
  return std::unique_ptr<Canceler>(new Canceler(PQgetCancel(connection_), socket));
}

absl::Status Connection::ConnectionError() const {
  std::string message = OneLine(PQerrorMessage(connection_));
  if (message.empty()) message = "the connection was closed";
  if (connected()) return absl::InternalError(absl::StrCat("libpq: ", message));
  return MakeStatus(kConnectionFailure, absl::StrCat("PostgreSQL connection lost: ", message));
}

void Connection::GiveUp() {
  given_up_ = true;
  int socket = PQsocket(connection_);
  if (socket >= 0) shutdown(socket, SHUT_RDWR);
}

std::string Connection::QuoteIdentifier(std::string_view name) {
  std::string quoted = "\"";
  for (char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

// With a leading E where a backslash occurs, so that standard_conforming_strings does not matter.
std::string Connection::QuoteLiteral(std::string_view value) {
  std::string quoted = value.find('\\') != std::string_view::npos ? " E'" : "'";
  for (char c : value) {
    if (c == '\'' || c == '\\') quoted += c;
    quoted += c;
  }
  return quoted + '\'';
}

void Canceler::Free::operator()(pg_cancel* cancel) const { PQfreeCancel(cancel); }

Canceler::~Canceler() {
  if (socket_ >= 0) close(socket_);
}

void Canceler::Disconnect() {
  if (socket_ >= 0) shutdown(socket_, SHUT_RDWR);
}

absl::Status Canceler::Cancel() {
  if (cancel_ == nullptr) return absl::UnavailableError("the connection was already closed");
  char error[256] = "";
  if (PQcancel(cancel_.get(), error, sizeof(error)) == 1) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot cancel: ", error));
}

}  // namespace dt::postgres
