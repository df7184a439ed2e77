// What the SQL API writes is what the daemon writes for its clients; and what takes two sessions:
// races for an id, and hints at commit. The rest is in tests/sql/golden.
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "google/protobuf/util/message_differencer.h"
#include "proto/orchestrator_service.pb.h"
#include "server/entity/entity_requests.h"
#include "server/orchestration/random_ids.h"
#include "server/orchestration/requests.h"
#include "storage/postgres/listener.h"
#include "storage/postgres/sqlstate.h"
#include "tests/sql/schema.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using google::protobuf::util::MessageDifferencer;
using postgres::Connection;
using postgres::Params;
using postgres::Result;

// The newest message of the schema and when it says it was made.
HistoryEvent NewestMessage(Connection& connection, absl::Time* made, int64_t* type) {
  const Result row =
      Run(connection, "select event, event_type from dt.NewEvents order by seq desc limit 1");
  REQUIRE(row.rows() == 1);
  HistoryEvent event;
  REQUIRE(event.ParseFromString(std::string(row.Bytes(0, 0))));
  *made = absl::FromUnixSeconds(event.timestamp().seconds()) +
          absl::Nanoseconds(event.timestamp().nanos());
  *type = row.Int(0, 1);
  return event;
}

void CheckSame(const HistoryEvent& written, int64_t type, const NewMessage& wanted) {
  HistoryEvent event;
  REQUIRE(event.ParseFromString(*wanted.event));
  INFO("written " << written.ShortDebugString() << "\nwanted " << event.ShortDebugString());
  CHECK(MessageDifferencer::Equals(written, event));
  CHECK(type == wanted.event_type);
}

// A request and the SQL that says the same.
struct Start {
  CreateInstanceRequest request;
  std::string arguments;
};

std::vector<Start> Starts() {
  std::vector<Start> starts(3);
  Start& bare = starts[0];
  bare.request.set_name("Order");
  bare.arguments = "'Order'";
  Start& full = starts[1];
  full.request.set_name("Größe");
  full.request.mutable_version()->set_value("1.2");
  full.request.mutable_input()->set_value("{\"a\": \"\\u0001 ü\"}");
  full.request.mutable_scheduledstarttimestamp()->set_seconds(4'102'444'800);
  full.request.mutable_scheduledstarttimestamp()->set_nanos(123'456'000);
  full.request.mutable_parenttracecontext()->set_traceparent("00-11-22-01");
  full.request.mutable_parenttracecontext()->mutable_tracestate()->set_value("vendor=x");
  (*full.request.mutable_tags())["k"] = "v";
  (*full.request.mutable_tags())["empty"] = "";
  full.arguments =
      R"('Größe', '1.2', InputText => '{"a": "\u0001 ü"}',
         StartTime => '2100-01-01 00:00:00.123456+00', TraceContext => e'00-11-22-01\nvendor=x',
         Tags => '{"k": "v", "empty": ""}')";
  Start& empty = starts[2];  // of what may be empty, and started in the past
  empty.request.set_name("n");
  empty.request.mutable_version()->set_value("");
  empty.request.mutable_input()->set_value("");
  empty.request.mutable_scheduledstarttimestamp()->set_seconds(1);
  empty.request.mutable_parenttracecontext()->set_traceparent("00");
  empty.arguments =
      "'n', '', InputText => '', StartTime => '1970-01-01 00:00:01+00', TraceContext => '00', "
      "Tags => '{}'";
  return starts;
}

TEST_CASE("sql_api_start_is_what_the_daemon_makes_of_the_same_request") {
  auto connection = NewSchema();
  for (Start& start : Starts()) {
    INFO(start.arguments);
    const Result ids =
        Run(*connection, absl::StrCat("select * from dt.CreateInstance(", start.arguments, ")"));
    start.request.set_instanceid(std::string(ids.Text(0, 0)));
    start.request.mutable_executionid()->set_value(std::string(ids.Text(0, 1)));
    absl::Time made;
    int64_t type = 0;
    const HistoryEvent written = NewestMessage(*connection, &made, &type);
    orchestration::RandomIds unused;
    const NewInstance wanted =
        ValueOf(orchestration::BuildStart(start.request, 1, made, unused, {})).instance;
    CheckSame(written, type, wanted.started);

    Params id;
    id.Text(wanted.instance_id);
    const Result row = Run(*connection,
                           "select name, version, input, trace_context, tags->>'k', "
                           "scheduled_start, execution_id, stored_status "
                           "from dt.Instances where instance_id = $1",
                           id);
    CHECK(row.Text(0, 0) == wanted.name);
    const auto payload = [&](int column) -> Payload {
      return row.IsNull(0, column) ? std::nullopt : Payload(row.Bytes(0, column));
    };
    CHECK(payload(1) == wanted.version);
    CHECK(payload(2) == wanted.input);
    CHECK(payload(3) == wanted.trace_context);
    CHECK(row.OptionalText(0, 4).has_value() == !wanted.tags.empty());
    CHECK(row.IsNull(0, 5) == !wanted.scheduled_start.has_value());
    if (wanted.scheduled_start) CHECK(row.Timestamp(0, 5) == *wanted.scheduled_start);
    CHECK(row.Text(0, 6) == wanted.execution_id);
    CHECK(row.Int(0, 7) == static_cast<int64_t>(RuntimeStatus::kPending));
  }
}

TEST_CASE("sql_api_messages_are_what_the_daemon_makes_of_the_same_requests") {
  auto connection = NewSchema();
  Run(*connection, "select dt.CreateInstance('Order', InstanceID => 'o')");
  // Held by a daemon, so that a termination is a message, too.
  MustBeOk(connection->RunScript("update dt.ReadyInstances set lease_token = 1, next_due = null"));
  absl::Time made;
  int64_t type = 0;
  for (const Payload& text : {Payload(), Payload(""), Payload("\"ü\"")}) {
    const std::string argument = text ? Connection::QuoteLiteral(*text) : "null";
    INFO(argument);
    const auto call = [&](const std::string& function) {
      CHECK(Run(*connection, absl::StrCat("select dt.", function, argument, ")")).Bool(0, 0));
      return NewestMessage(*connection, &made, &type);
    };
    HistoryEvent written = call("RaiseEvent('paid', 'o', ");
    RaiseEventRequest event;
    event.set_instanceid("o");
    event.set_name("paid");
    if (text) event.mutable_input()->set_value(*text);
    CheckSame(written, type, ValueOf(orchestration::BuildRaiseEvent(event, made, {})).message);

    written = call("SuspendInstance('o', ");
    SuspendRequest suspend;
    suspend.set_instanceid("o");
    if (text) suspend.mutable_reason()->set_value(*text);
    CheckSame(written, type, ValueOf(orchestration::BuildSuspend(suspend, made, {})).message);

    written = call("ResumeInstance('o', ");
    ResumeRequest resume;
    resume.set_instanceid("o");
    if (text) resume.mutable_reason()->set_value(*text);
    CheckSame(written, type, ValueOf(orchestration::BuildResume(resume, made, {})).message);

    for (const bool recursive : {false, true}) {
      written = call(absl::StrCat("TerminateInstance('o', Recursive => ",
                                  recursive ? "true" : "false", ", Reason => "));
      TerminateRequest terminate;
      terminate.set_instanceid("o");
      terminate.set_recursive(recursive);
      if (text) terminate.mutable_output()->set_value(*text);
      CheckSame(written, type, ValueOf(orchestration::BuildTerminate(terminate, made, {})).message);
    }
  }
}

// A signal and the SQL that says the same.
struct SentSignal {
  SignalEntityRequest request;
  std::string arguments;
};

std::vector<SentSignal> Signals() {
  std::vector<SentSignal> signals(4);
  SentSignal& bare = signals[0];
  bare.request.set_instanceid("@Counter@a");
  bare.request.set_name("add");
  bare.arguments = "'@Counter@a', 'add'";
  SentSignal& full = signals[1];
  full.request.set_instanceid("@COUNTER@Ab@c");
  full.request.set_name("Größe");
  full.request.mutable_input()->set_value("{\"a\": \"\\u0001 ü\"}");
  full.request.set_requestid("01234567-89ab-cdef-0123-456789abcdef");
  full.request.mutable_scheduledtime()->set_seconds(4'102'444'800);
  full.request.mutable_scheduledtime()->set_nanos(123'456'000);
  full.arguments =
      R"('@COUNTER@Ab@c', 'Größe', '{"a": "\u0001 ü"}', '2100-01-01 00:00:00.123456+00',
         '01234567-89ab-cdef-0123-456789abcdef')";
  SentSignal& empty = signals[2];  // of what may be empty, and of no time
  empty.request.set_instanceid("@n@");
  empty.request.mutable_input()->set_value("");
  empty.request.mutable_scheduledtime();
  empty.arguments = "'@n@', '', '', 'epoch'";
  SentSignal& past = signals[3];
  past.request.set_instanceid("@n@");
  past.request.set_name("past");
  past.request.mutable_scheduledtime()->set_seconds(-2);
  past.request.mutable_scheduledtime()->set_nanos(500'000'000);
  past.arguments = "'@n@', 'past', ScheduledTime => '1969-12-31 23:59:58.5+00'";
  return signals;
}

TEST_CASE("sql_api_signal_is_what_the_daemon_makes_of_the_same_request") {
  auto connection = NewSchema();
  for (SentSignal& signal : Signals()) {
    INFO(signal.arguments);
    CHECK(Run(*connection, absl::StrCat("select dt.SignalEntity(", signal.arguments, ")"))
              .Bool(0, 0));
    absl::Time made;
    int64_t type = 0;
    const HistoryEvent written = NewestMessage(*connection, &made, &type);
    const bool repeatable = !signal.request.requestid().empty();
    if (!repeatable) {
      signal.request.set_requestid(written.entityoperationsignaled().requestid());
    }
    orchestration::RandomIds unused;
    const entity::SignalPlan wanted =
        ValueOf(entity::BuildSignal(signal.request, made, unused, {}));
    CheckSame(written, type, wanted.message);
    const Result row =
        Run(*connection,
            "select n.event, i.instance_id, n.request_id::text, n.visible_at, i.kind, "
            "i.name, r.kind, r.lower_name, i.stored_status from dt.NewEvents n "
            "join dt.Instances i using (instance_key) join dt.ReadyInstances r using "
            "(instance_key) order by n.seq desc limit 1");
    CHECK(row.Bytes(0, 0) == *wanted.message.event);
    CHECK(row.Text(0, 1) == wanted.instance_id);
    CHECK(row.IsNull(0, 2) != repeatable);
    if (repeatable) CHECK(row.Text(0, 2) == wanted.request_id);
    if (wanted.message.visible_at > made) CHECK(row.Timestamp(0, 3) == wanted.message.visible_at);
    CHECK(row.Int(0, 4) == static_cast<int64_t>(InstanceKind::kEntity));
    CHECK(row.Text(0, 5) == row.Text(0, 7));
    CHECK(row.Int(0, 6) == row.Int(0, 4));
    CHECK(row.Int(0, 8) == static_cast<int64_t>(RuntimeStatus::kRunning));
  }
}

// Runs `sql` in a second session that must wait for the first, which then runs `end`.
absl::StatusOr<Result> RunBehind(Connection& first, const std::string& url, const std::string& sql,
                                 const std::string& end) {
  auto second = PostgresFixture::Connect(url);
  const int64_t pid = Run(*second, "select pg_backend_pid()").Int(0, 0);
  absl::StatusOr<Result> result = absl::UnknownError("");
  std::thread thread([&] { result = second->ExecuteOnce(sql); });
  auto watcher = PostgresFixture::Connect(url);
  Params waiting;
  waiting.Int4(static_cast<int32_t>(pid));
  while (Run(*watcher, "select 1 where cardinality(pg_blocking_pids($1)) > 0", waiting).rows() ==
         0) {
  }
  MustBeOk(first.RunScript(end));
  thread.join();
  return result;
}

TEST_CASE("sql_users_who_start_the_same_id_at_once_get_one_instance") {
  const std::string url = PostgresFixture::Shared().NewDatabase();
  auto first = PostgresFixture::Connect(url);
  MustBeOk(postgres::MigrateSchema(*first, "dt").status());
  Run(*first, "select dt.CreateInstance('Hub')");
  const std::string start =
      "select ExecutionID from dt.CreateInstance('Order', InstanceID => 'o', ExecutionID => ";
  const std::string mine = start + "'11111111111111111111111111111111')";
  const std::string other = start + "'22222222222222222222222222222222')";
  const auto begin = [&] { MustBeOk(first->RunScript("begin; " + mine)); };

  SECTION("of another execution: exists") {
    begin();
    const auto second = RunBehind(*first, url, other, "commit");
    CHECK(postgres::Sqlstate(second.status()) == "DT002");
  }
  SECTION("of the same execution: already there") {
    begin();
    const Result second = ValueOf(RunBehind(*first, url, mine, "commit"));
    CHECK(second.Text(0, 0) == "11111111111111111111111111111111");
  }
  SECTION("the first rolls back: created") {
    begin();
    const Result second = ValueOf(RunBehind(*first, url, other, "rollback"));
    CHECK(second.Text(0, 0) == "22222222222222222222222222222222");
  }
  SECTION("the hub itself is new: created once") {
    MustBeOk(first->RunScript("delete from dt.TaskHubs; delete from dt.Instances"));
    begin();
    CHECK(postgres::Sqlstate(RunBehind(*first, url, other, "commit").status()) == "DT002");
    CHECK(Run(*first, "select * from dt.TaskHubs").rows() == 1);
  }
  CHECK(Run(*first, "select * from dt.vInstances where InstanceID = 'o'").rows() == 1);
}

TEST_CASE("sql_users_tell_daemons_at_commit_when_the_setting_says_so") {
  for (const std::string& schema : {std::string("dt"), std::string(55, 's')}) {
    INFO(schema);
    const std::string url = PostgresFixture::Shared().NewDatabase();
    auto connection = PostgresFixture::Connect(url);
    MustBeOk(postgres::MigrateSchema(*connection, schema).status());
    MustBeOk(connection->RunScript("set search_path = " + schema));
    absl::Mutex mutex;
    std::vector<HubId> heard;
    postgres::ListenerOptions options;
    options.connection.url = url;
    options.schema = schema;
    postgres::ListenerCallbacks callbacks;
    callbacks.on_wake = [&](HubId hub) {
      absl::MutexLock lock(&mutex);
      heard.push_back(hub);
    };
    absl::Notification hears;
    callbacks.on_hearing = [&](bool now) {
      if (now) hears.Notify();
    };
    postgres::Listener listener(options, std::move(callbacks));
    listener.SetWorker(1);
    hears.WaitForNotification();
    const auto heard_so_far = [&](size_t count) {
      absl::MutexLock lock(&mutex);
      const auto reached = [&] { return heard.size() >= count; };
      REQUIRE(mutex.AwaitWithTimeout(absl::Condition(&reached), absl::Seconds(60)));
      return heard;
    };
    // Off by default: of these commits nothing is heard, or it would be heard before the others.
    Run(*connection, "select CreateInstance('Order', InstanceID => 'silent')");
    Run(*connection, "insert into TaskHubs (name) values ('other')");
    Run(*connection, "select BindTaskHub(session_user, 'other')");
    MustBeOk(
        connection->RunScript("update GlobalSettings set value = '1' "
                              "where name = 'NotifyOnCommit'"));
    MustBeOk(connection->RunScript(
        "begin; select CreateInstance('Order', InstanceID => 'a'); "
        "select CreateInstance('Order', InstanceID => 'b'); select RaiseEvent('paid', 'a'); "
        "select SuspendInstance('a'); select ResumeInstance('a'); select TerminateInstance('b'); "
        "commit"));
    CHECK(heard_so_far(1) == std::vector<HubId>{2});
    // Neither a rollback is told nor what changes nothing.
    MustBeOk(
        connection->RunScript("begin; select RaiseEvent('paid', 'a'); rollback; "
                              "select RaiseEvent('paid', 'b')"));
    for (const std::string call :
         {"RaiseEvent('paid', 'a')", "SignalEntity('@e@1', 'go')", "SuspendInstance('a')",
          "ResumeInstance('a')", "TerminateInstance('a')"}) {
      const size_t before = heard_so_far(1).size();
      Run(*connection, "select " + call);
      CHECK(heard_so_far(before + 1).size() == before + 1);
    }
    listener.Stop();
  }
}

}  // namespace
}  // namespace dt::testing
