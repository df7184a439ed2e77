#include "storage/postgres/session_settings.h"

#include "absl/strings/str_cat.h"

namespace dt::postgres {
namespace {

constexpr int kHasTransactionTimeout = 170000;

}  // namespace

std::string SettingOf(absl::Duration duration) {
  return absl::StrCat(absl::ToInt64Milliseconds(duration), "ms");
}

SettingValues TransactionSettings(const ConnectionOptions& options, int server_version) {
  SettingValues settings = {
      // Statements name their schema; whatever else they name is PostgreSQL's own.
      {"search_path", "pg_catalog"},
      {"TimeZone", "UTC"},
      {"DateStyle", "ISO, MDY"},
      {"IntervalStyle", "postgres"},
      {"bytea_output", "hex"},
      {"extra_float_digits", "1"},
      // How the text of arrays, literals and conditions is read.
      {"array_nulls", "on"},
      {"standard_conforming_strings", "on"},
      {"transform_null_equals", "off"},
      // Errors are answers here, and none of them ends the session.
      {"exit_on_error", "off"},
      {"plpgsql.extra_errors", "none"},
      {"jit", "off"},
      // Plans are made once, perhaps while a table is empty, and must stay good when it has grown.
      // (Functions set it themselves, as others call them, too.)
      {"enable_seqscan", "off"},
      // Array parameters of a few elements look cheaper when planned for their values, so the
      // server would plan every statement of every call again: a sixth of its time at low load
      // (perf).
      {"plan_cache_mode", "force_generic_plan"},
      {"statement_timeout", SettingOf(options.statement_timeout)},
      {"lock_timeout", SettingOf(options.lock_timeout)},
      {"idle_in_transaction_session_timeout", SettingOf(options.idle_in_transaction_timeout)},
      {"synchronous_commit", options.durability == Durability::kAsynchronous ? "off" : "on"},
  };
  // The limits of statements and of pauses bound transactions as well.
  if (server_version >= kHasTransactionTimeout) settings.emplace_back("transaction_timeout", "0");
  settings.insert(settings.end(), options.extra_settings.begin(), options.extra_settings.end());
  return settings;
}

SettingValues SessionOnlySettings() {
  return {{"default_transaction_isolation", "read committed"},
          // Sessions are kept for the next call.
          {"idle_session_timeout", "0"}};
}

namespace {

std::string SetSql(const char* is_local, const char* more) {
  // The grammar takes `unnest` of several arrays for PostgreSQL's own, and only without a schema.
  return absl::StrCat(
      "select pg_catalog.count(pg_catalog.set_config(s.name, case when s.name "
      "operator(pg_catalog.=) 'synchronous_commit' and s.value operator(pg_catalog.=) 'on' and "
      "pg_catalog.current_setting(s.name) operator(pg_catalog.<>) 'off' then "
      "pg_catalog.current_setting(s.name) else s.value end, ",
      is_local, "))", more, " from unnest($1, $2) s(name, value)");
}

}  // namespace

std::string SetSettingsSql() { return SetSql("true", ""); }

std::string SetSessionSettingsSql() {
  return SetSql("pg_catalog.pg_backend_pid() operator(pg_catalog.<>) $3",
                ", pg_catalog.pg_backend_pid()");
}

}  // namespace dt::postgres
