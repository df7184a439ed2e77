// How a connection finds out whether it is one to the server itself, and how its settings travel
// (connection.h).
//
// A pooler tells its clients a process number of its own making, so that it knows whom a request to
// cancel is for; the server tells another one. Behind a pooler settings travel with transactions,
// whatever its mode: were they the session's, a mistake about the mode would let one lane write
// with the settings of another, unseen. A mistake about prepared statements is seen (26000, 42P05)
// and mended by the first one that meets it.
#include <libpq-fe.h>

#include <set>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/session_settings.h"

namespace dt::postgres {
namespace {

constexpr int kProbes = 3;
constexpr absl::Duration kProbeTimeout = absl::Seconds(2);

// Addresses where sessions were seen to be shared: what one connection has found out holds for all.
class SharedAddresses {
 public:
  bool Contains(const std::string& url) {
    absl::MutexLock lock(&mutex_);
    return urls_.count(url) > 0;
  }
  // False if it is known already.
  bool Insert(const std::string& url) {
    absl::MutexLock lock(&mutex_);
    return urls_.insert(url).second;
  }

 private:
  absl::Mutex mutex_;
  std::set<std::string> urls_ ABSL_GUARDED_BY(mutex_);
};

SharedAddresses& Known() {
  static SharedAddresses* const addresses = new SharedAddresses;
  return *addresses;
}

Params Encoded(const SettingValues& settings) {
  std::vector<std::string> names;
  std::vector<std::string> values;
  for (const auto& [name, value] : settings) {
    names.push_back(name);
    values.push_back(value);
  }
  Params params;
  params.TextArray(names).TextArray(values);
  return params;
}

}  // namespace

absl::Status Connection::ApplySettings() {
  const bool off = options_.prepared_statements == PreparedStatements::kOff;
  if (off) prepares_ = false;
  settings_ = TransactionSettings(options_, server_version());
  SettingValues all = settings_;
  for (auto& setting : SessionOnlySettings()) all.push_back(std::move(setting));
  // Behind a pooler they are gone with this transaction, and nobody else gets them.
  absl::StatusOr<Result> result =
      ExecuteOnce(SetSessionSettingsSql(), Encoded(all).Int4(off ? 0 : PQbackendPID(connection_)));
  if (!result.ok()) return result.status();
  behind_pooler_ = result->Int(0, 1) != PQbackendPID(connection_);
  if (behind_pooler_) {
    absl::BitGen random;
    name_suffix_ = absl::StrCat("_", absl::Hex(absl::Uniform<uint64_t>(random)));
    absl::StatusOr<bool> shared = Known().Contains(options_.url) ? true : OthersGetSession();
    if (!shared.ok()) return shared.status();
    session_is_shared_ = *shared;
    if (*shared && options_.prepared_statements == PreparedStatements::kAuto) prepares_ = false;
  }
  if (behind_pooler_ || off) {
    settings_params_ = Encoded(settings_);
    settings_travel_ = true;
  }
  return absl::OkStatus();
}

absl::Status Connection::SetLockTimeout(absl::Duration timeout) {
  const std::string value = SettingOf(timeout);
  if (!settings_travel_) return RunScript(absl::StrCat("set lock_timeout = '", value, "'"));
  for (auto& setting : settings_) {
    if (setting.first == "lock_timeout") setting.second = value;
  }
  settings_params_ = Encoded(settings_);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Connection::ServerProcess() {
  absl::StatusOr<Result> result = ExecuteOnce("select pg_catalog.pg_backend_pid()");
  if (!result.ok()) return result.status();
  return result->Int(0, 0);
}

absl::StatusOr<bool> Connection::OthersGetSession() {
  absl::StatusOr<int64_t> own = ServerProcess();
  if (!own.ok()) return own.status();
  ConnectionOptions options = options_;
  options.connect_timeout = options.statement_timeout = kProbeTimeout;
  options.answer_grace = absl::ZeroDuration();
  absl::StatusOr<std::unique_ptr<Connection>> other = Open(options);
  if (!other.ok()) return true;
  const absl::StatusOr<int64_t> others = (*other)->ServerProcess();
  if (!others.ok()) return true;
  // An idle pool gives to one what the other has just left, or the next of its sessions.
  bool seen = *others == *own;
  for (int i = 0; i < 3 * kProbes && !seen; ++i) {
    const bool of_other = i % 3 == 2;
    const absl::StatusOr<int64_t> again = (of_other ? **other : *this).ServerProcess();
    if (!again.ok() && of_other) return true;
    if (!again.ok()) return again.status();
    seen = *again != (of_other ? *others : *own);
  }
  if (seen) NoteSharedSession();
  return seen;
}

void Connection::NoteSharedSession() {
  session_is_shared_ = true;
  if (options_.prepared_statements == PreparedStatements::kAuto) prepares_ = false;
  if (!Known().Insert(options_.url)) return;
  spdlog::info(
      "a pooler stands before PostgreSQL and gives sessions to others between transactions: "
      "settings travel with each "
      "transaction, and statements are {}prepared (postgres.prepared-statements)",
      prepares_ ? "" : "not ");
}

}  // namespace dt::postgres
