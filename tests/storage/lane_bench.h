// What the tests of lanes share: a verb that appends to a table, and a lane with that table.
#ifndef DT_TESTS_STORAGE_LANE_BENCH_H_
#define DT_TESTS_STORAGE_LANE_BENCH_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "storage/postgres/lane.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::postgres {

using testing::MustBeOk;
using testing::PostgresFixture;
using testing::ValueOf;

// What the operations of one test ended with, in the order of their ends.
class Ends {
 public:
  void Add(std::string value, absl::Status status) {
    absl::MutexLock lock(&mutex_);
    values_.push_back(std::move(value));
    statuses_.push_back(std::move(status));
  }
  // Waits until `count` operations have ended.
  void WaitFor(size_t count) {
    absl::MutexLock lock(&mutex_);
    auto reached = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return values_.size() >= count; };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&reached), absl::Seconds(60))) {
      MustBeOk(absl::DeadlineExceededError(absl::StrCat(values_.size(), " of ", count, " ended")));
    }
  }
  std::vector<std::string> values() {
    absl::MutexLock lock(&mutex_);
    return values_;
  }
  std::vector<absl::Status> statuses() {
    absl::MutexLock lock(&mutex_);
    return statuses_;
  }
  size_t failed() {
    size_t count = 0;
    for (const absl::Status& status : statuses()) count += status.ok() ? 0 : 1;
    return count;
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> values_ ABSL_GUARDED_BY(mutex_);
  std::vector<absl::Status> statuses_ ABSL_GUARDED_BY(mutex_);
};

struct Write : Operation {
  Write(const Verb* its_verb, Ends* its_ends) : Operation(its_verb), ends(its_ends) {}
  void Fail(absl::Status status) override { ends->Add(value, std::move(status)); }
  std::string key;
  std::string value;
  Ends* ends;
};

// Appends (verb, key, value) to the table log; the value must be a number. A value that is in the
// log already is not written again, which makes the verb repeatable.
class WriteVerb : public Verb {
 public:
  explicit WriteVerb(const std::string& name) {
    statement_.name = name;
    statement_.sql = absl::StrCat("select write_log('", name, "', $1, $2)");
  }
  const Statement& statement() const override { return statement_; }
  void Encode(Operations operations, Params* params) const override {
    std::vector<std::string> items;
    for (const auto& operation : operations) {
      const auto& write = static_cast<const Write&>(*operation);
      items.push_back(absl::StrCat(R"({"key":")", write.key, R"(","value":")", write.value, "\"}"));
    }
    params->Int4(operations.front()->hub).Jsonb(absl::StrCat("[", absl::StrJoin(items, ","), "]"));
  }
  absl::Status Complete(const Result& result, Operations operations) const override {
    if (result.rows() != static_cast<int>(operations.size())) {
      return absl::InternalError("one row per operation was expected");
    }
    for (int i = 0; i < result.rows(); ++i) {
      auto& write = static_cast<Write&>(*operations[i]);
      write.ends->Add(absl::StrCat(result.Int(i, 0)), absl::OkStatus());
    }
    return absl::OkStatus();
  }
  bool repeatable() const override { return repeatable_; }
  size_t operations_max() const override { return operations_max_; }
  bool one_per_key() const override { return one_per_key_; }

  bool repeatable_ = true;
  bool one_per_key_ = false;
  size_t operations_max_ = SIZE_MAX;

 private:
  Statement statement_;
};

inline constexpr char kTables[] = R"(
create table log (seq bigint generated always as identity, verb text, hub int, key text,
                  value int unique, call bigint default txid_current());
create sequence calls;
create table faults (code text, until_call bigint);
)";
inline constexpr char kWriteLog[] = R"(
create function write_log(p_verb text, p_hub int, p_batch jsonb) returns setof int
language plpgsql as $$
declare v_call bigint := nextval('calls'); v_code text;
begin
  select code into v_code from faults where until_call >= v_call;
  if found then raise exception 'a fault of the test' using errcode = v_code; end if;
  insert into log (verb, hub, key, value)
    select p_verb, p_hub, e ->> 'key', (e ->> 'value')::int
      from jsonb_array_elements(p_batch) with ordinality t(e, i) order by i
    on conflict (value) do nothing;
  return query select (e ->> 'value')::int
    from jsonb_array_elements(p_batch) with ordinality t(e, i) order by i;
end $$;
)";

// A database with the table, a session to look into it, and a lane.
class Bench {
 public:
  explicit Bench(LaneOptions options = {}) {
    options.connection.url = url = PostgresFixture::Shared().NewDatabase();
    options.connection.extra_settings = {{"search_path", "public"}};  // where the tables are
    session = PostgresFixture::Connect(url);
    MustBeOk(session->RunScript(kTables));
    MustBeOk(session->RunScript(kWriteLog));
    lane = std::make_unique<Lane>(std::move(options));
  }
  absl::Status Submit(const Verb* verb, const std::string& key, const std::string& value,
                      HubId hub = 1, size_t bytes = 100,
                      absl::Duration patience = absl::ZeroDuration()) {
    auto write = std::make_unique<Write>(verb, &ends);
    write->key = key;
    write->value = value;
    write->hub = hub;
    write->bytes = bytes;
    write->patience = patience;
    write->order_key = key.empty() ? 0 : OrderKey(hub, key);
    std::unique_ptr<Operation> operation = std::move(write);
    absl::Status status = lane->Submit(operation);
    CHECK((operation != nullptr) == !status.ok());
    return status;
  }
  // Holds the table until Unlock, with one call of value 0 in flight that waits for it.
  void Lock(const Verb* verb) {
    MustBeOk(session->RunScript("begin"));
    MustBeOk(session->RunScript("lock table log in access exclusive mode"));
    MustBeOk(Submit(verb, "first", "0"));
    WaitForLock();
  }
  void WaitForLock() {
    const std::string sql =
        "select 1 from pg_locks where not granted and relation = 'log'::regclass";
    while (ValueOf(session->ExecuteOnce(sql)).rows() == 0) {
    }
  }
  void Unlock() { MustBeOk(session->RunScript("commit")); }
  // Ends the lane's session while its call waits for the table.
  void CutConnection() {
    Result ended = ValueOf(session->ExecuteOnce(
        "select pg_terminate_backend(pid, 60000) from pg_locks where not granted and relation = "
        "'log'::regclass"));
    REQUIRE(ended.rows() == 1);
  }
  // The log as "verb:key:value", calls separated by bars.
  std::string Log() {
    Result result =
        ValueOf(session->ExecuteOnce("select verb, key, value, call from log order by seq"));
    std::string text;
    for (int i = 0; i < result.rows(); ++i) {
      if (i > 0) text += result.Int(i, 3) == result.Int(i - 1, 3) ? " " : " | ";
      absl::StrAppend(&text, std::string(result.Text(i, 0)), ":", std::string(result.Text(i, 1)),
                      ":", result.Int(i, 2));
    }
    return text;
  }
  void Reconnect() { session = PostgresFixture::Connect(url); }

  std::string url;
  Ends ends;
  std::unique_ptr<Connection> session;
  std::unique_ptr<Lane> lane;
};

}  // namespace dt::postgres

#endif  // DT_TESTS_STORAGE_LANE_BENCH_H_
