// WaitForInstanceCompletion on PostgreSQL: what is answered from memory is what a read would have
// answered, to the last field.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/protobuf/util/message_differencer.h"
#include "storage/postgres/migrator.h"
#include "storage/postgres/postgres_store.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/forwarding_store.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

constexpr size_t kLargeBytes = 20 << 10;      // stored by reference
constexpr size_t kTooLargeBytes = 300 << 10;  // read, not told from memory

std::unique_ptr<Store> NewPostgresStore() {
  postgres::PostgresStoreOptions options;
  options.connection.url = PostgresFixture::Shared().NewDatabase();
  auto connection = PostgresFixture::Connect(options.connection.url);
  MustBeOk(postgres::MigrateSchema(*connection, "dt").status());
  return std::make_unique<postgres::PostgresStore>(std::move(options));
}

// Counts what waits and reads ask of a store in PostgreSQL.
class CountedStore : public ForwardingStore {
 public:
  explicit CountedStore(std::unique_ptr<Store> store)
      : ForwardingStore(store.get()), owned_(std::move(store)) {}

  void ReadInstance(HubId hub, std::string instance_id, bool payloads,
                    Callback<std::optional<InstanceRow>> done) override {
    CountRead();
    ForwardingStore::ReadInstance(hub, std::move(instance_id), payloads, std::move(done));
  }
  void ReadStatus(HubId hub, std::string instance_id, Callback<InstanceStatus> done) override {
    ForwardingStore::ReadStatus(
        hub, std::move(instance_id),
        [this, done = std::move(done)](absl::StatusOr<InstanceStatus> status) mutable {
          std::move(done)(std::move(status));
          CountStatus();
        });
  }

  int reads() const {
    absl::MutexLock lock(&mutex_);
    return reads_;
  }
  // Waits until so many reads of a status were answered: then so many waits have come, each of
  // which was the first one for its instance, and none looks any more.
  bool AwaitStatuses(int count) const {
    absl::MutexLock lock(&mutex_);
    const auto reached = [this, count]()
                             ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return statuses_ >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&reached), kPatience);
  }

 private:
  void CountRead() {
    absl::MutexLock lock(&mutex_);
    ++reads_;
  }
  void CountStatus() {
    absl::MutexLock lock(&mutex_);
    ++statuses_;
  }

  const std::unique_ptr<Store> owned_;
  mutable absl::Mutex mutex_;
  int reads_ ABSL_GUARDED_BY(mutex_) = 0;
  int statuses_ ABSL_GUARDED_BY(mutex_) = 0;
};

OrchestratorAction ContinueAction(const std::string& input, const std::string& version) {
  OrchestratorAction action = CompleteAction(0, input, ORCHESTRATION_STATUS_CONTINUED_AS_NEW);
  action.mutable_completeorchestration()->mutable_newversion()->set_value(version);
  return action;
}

// A request with all that a row can keep of it.
CreateInstanceRequest FullStart() {
  CreateInstanceRequest start;
  start.set_name("Order");
  start.mutable_version()->set_value("1.2");
  start.mutable_input()->set_value("{\"item\": \"caf\u00e9\"}");
  (*start.mutable_tags())["team"] = "blue";
  (*start.mutable_tags())["a"] = "";
  start.mutable_parenttracecontext()->set_traceparent(
      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  return start;
}

CreateInstanceRequest BareStart() {
  CreateInstanceRequest start;
  start.set_name("Bare");
  return start;
}

// A daemon on PostgreSQL and a worker whose stream is open.
class WaitWorld {
 public:
  WaitWorld() : server_(Options()), worker_(server_.stub()) {
    // When an item has come, a start finds the stream open and is created leased.
    server_.Start("WarmUp");
    Turn({CompleteAction(0, "")});
  }

  TestServer& server() { return server_; }

  // Answers the next item, which must be a turn.
  void Turn(const std::vector<OrchestratorAction>& actions, const std::string& custom_status = "") {
    const std::optional<WorkItem> item = worker_.Next();
    REQUIRE(item.has_value());
    REQUIRE(item->has_orchestratorrequest());
    OrchestratorResponse response;
    response.set_instanceid(item->orchestratorrequest().instanceid());
    response.set_completiontoken(item->completiontoken());
    for (const OrchestratorAction& action : actions) *response.add_actions() = action;
    if (!custom_status.empty()) response.mutable_customstatus()->set_value(custom_status);
    CompleteTaskResponse done;
    REQUIRE(server_.stub().CompleteOrchestratorTask(NewContext().get(), response, &done).ok());
  }

  void Activity(const std::string& result) {
    const std::optional<WorkItem> item = worker_.Next();
    REQUIRE(item.has_value());
    REQUIRE(item->has_activityrequest());
    REQUIRE(worker_.CompleteActivity(*item, result).ok());
  }

  using Run = std::function<void(const std::string& instance_id)>;

  // Waits for an instance that `run` brings from its start to its end, and compares the answer with
  // what GetInstance reads. `reads`: how many reads the wait itself takes. `awaited`: what the id
  // of the awaited one has behind that of the started one.
  void CheckOne(bool payloads, CreateInstanceRequest start, const Run& run, int reads = 0,
                const std::string& awaited = "") {
    const std::string id = absl::StrCat("i", ++instances_);
    CAPTURE(id, payloads);
    Waiter waiter(server_.stub(), id + awaited, /*for_start=*/false, payloads);
    REQUIRE(store_->AwaitStatuses(instances_));
    const int before = store_->reads();
    start.set_instanceid(id);
    CreateInstanceResponse started;
    REQUIRE(server_.stub().StartInstance(NewContext().get(), start, &started).ok());
    run(id);
    REQUIRE(waiter.DoneWithin(kPatience));
    REQUIRE(waiter.status().ok());
    CHECK(store_->reads() - before == reads);
    std::string difference;
    google::protobuf::util::MessageDifferencer differencer;
    differencer.ReportDifferencesToString(&difference);
    const GetInstanceResponse read = server_.Get(id + awaited, payloads);
    const bool equal = differencer.Compare(read, waiter.response());
    INFO(difference);
    CHECK(equal);
    CHECK(read.orchestrationstate().has_completedtimestamp());
  }

  // The same of two instances, with payloads and without.
  void Check(const CreateInstanceRequest& start, const Run& run, int reads = 0,
             const std::string& awaited = "") {
    for (const bool payloads : {true, false}) CheckOne(payloads, start, run, reads, awaited);
  }

 private:
  TestServerOptions Options() {
    TestServerOptions options;
    options.dispatch.wait_poll_interval = absl::Hours(1);
    options.dispatch.resident_linger = absl::Hours(1);
    options.wrap_store = [this](Store*) {
      auto store = std::make_unique<CountedStore>(NewPostgresStore());
      store_ = store.get();
      return store;
    };
    return options;
  }

  CountedStore* store_ = nullptr;
  TestServer server_;
  FakeWorker worker_;
  int instances_ = 0;
};

TEST_CASE("wait_known_completed: with everything, with nothing, and with empty payloads") {
  WaitWorld world;
  world.Check(FullStart(), [&](const std::string&) {
    world.Turn({ScheduleAction(1, "Pack", "x")}, "\"packing\"");
    world.Activity("\"packed\"");
    world.Turn({CompleteAction(2, "\"done\"")}, "\"packed\"");
  });
  world.Check(BareStart(), [&](const std::string&) {
    OrchestratorAction action = CompleteAction(1, "");
    action.mutable_completeorchestration()->clear_result();
    world.Turn({action});
  });
  CreateInstanceRequest empty = BareStart();
  empty.mutable_version();
  empty.mutable_input();
  world.Check(empty, [&](const std::string&) { world.Turn({CompleteAction(1, "")}); });
}

TEST_CASE("wait_known_status: the custom status that an earlier turn set, and one that was taken") {
  WaitWorld world;
  world.Check(FullStart(), [&](const std::string&) {
    world.Turn({ScheduleAction(1, "Pack", "x")}, "\"packing\"");
    world.Activity("\"packed\"");
    world.Turn({CompleteAction(2, "\"done\"")});
  });
  world.Check(FullStart(), [&](const std::string&) {
    world.Turn({ScheduleAction(1, "Pack", "x")}, "\"packing\"");
    world.Activity("\"packed\"");
    world.Turn({FailAction(2, "torn")});
  });
}

TEST_CASE("wait_known_failed: with the details of the worker, canceled, and with a result too") {
  WaitWorld world;
  OrchestratorAction fail = FailAction(1, "torn");
  TaskFailureDetails& details = *fail.mutable_completeorchestration()->mutable_failuredetails();
  details.mutable_stacktrace()->set_value("at Pack()");
  details.set_isnonretriable(true);
  details.mutable_innerfailure()->set_errortype("Inner");
  world.Check(FullStart(), [&](const std::string&) { world.Turn({fail}, "\"failing\""); });
  fail.mutable_completeorchestration()->mutable_result()->set_value("\"half\"");
  world.Check(FullStart(), [&](const std::string&) { world.Turn({fail}); });
  world.Check(BareStart(), [&](const std::string&) {
    world.Turn({CompleteAction(1, "1", ORCHESTRATION_STATUS_CANCELED)});
  });
}

TEST_CASE("wait_known_continued: another execution, version and input, but the same tags") {
  WaitWorld world;
  world.Check(FullStart(), [&](const std::string&) {
    world.Turn({ScheduleAction(1, "Pack", "x")}, "\"packing\"");
    world.Activity("\"packed\"");
    world.Turn({ContinueAction("\"again\"", "2.0")}, "\"kept\"");
    world.Turn({ScheduleAction(1, "Pack", "y")});
    world.Activity("\"packed\"");
    world.Turn({CompleteAction(2, "\"done\"")});
  });
  world.Check(FullStart(), [&](const std::string&) {
    world.Turn({ContinueAction("", "")});
    world.Turn({CompleteAction(1, "\"at once\"")});
  });
}

TEST_CASE("wait_known_terminated: with an output and without") {
  WaitWorld world;
  for (const char* output : {"", "\"enough\""}) {
    world.Check(FullStart(), [&](const std::string& id) {
      world.Turn({TimerAction(1, absl::Now() + absl::Hours(1))}, "\"waiting\"");
      TerminateRequest request;
      request.set_instanceid(id);
      if (*output != '\0') request.mutable_output()->set_value(output);
      TerminateResponse response;
      REQUIRE(world.server().stub().TerminateInstance(NewContext().get(), request, &response).ok());
      world.Turn({});
    });
  }
}

TEST_CASE("wait_known_resumed: suspended and resumed meanwhile") {
  WaitWorld world;
  world.Check(FullStart(), [&](const std::string& id) {
    world.Turn({TimerAction(1, absl::Now() + absl::Hours(1))});
    SuspendRequest suspend;
    suspend.set_instanceid(id);
    SuspendResponse suspended;
    REQUIRE(world.server().stub().SuspendInstance(NewContext().get(), suspend, &suspended).ok());
    world.Turn({});
    ResumeRequest resume;
    resume.set_instanceid(id);
    ResumeResponse resumed;
    REQUIRE(world.server().stub().ResumeInstance(NewContext().get(), resume, &resumed).ok());
    world.Turn({CompleteAction(2, "\"done\"")});
  });
}

TEST_CASE("wait_known_child: one that this daemon created for its parent") {
  WaitWorld world;
  world.Check(
      FullStart(),
      [&](const std::string& id) {
        OrchestratorAction child = ChildAction(1, "Child", id + "-child");
        child.mutable_createsuborchestration()->mutable_input()->set_value("\"for the child\"");
        world.Turn({child});
        world.Turn({CompleteAction(1, "\"of the child\"")});
        world.Turn({CompleteAction(2, "\"done\"")});
      },
      /*reads=*/0, "-child");
}

TEST_CASE("wait_known_large: what is stored by reference is told, what is larger yet is read") {
  WaitWorld world;
  for (const size_t bytes : {kLargeBytes, kTooLargeBytes}) {
    const int reads = bytes == kTooLargeBytes ? 1 : 0;
    const std::string large(bytes, 'x');
    CreateInstanceRequest start = FullStart();
    world.Check(
        start, [&](const std::string&) { world.Turn({CompleteAction(1, large)}); }, reads);
    start.mutable_input()->set_value(large);
    world.Check(
        start, [&](const std::string&) { world.Turn({CompleteAction(1, "")}); }, reads);
  }
}

TEST_CASE("wait_known_scheduled: a scheduled start is not created leased, and its row is read") {
  WaitWorld world;
  for (const bool payloads : {true, false}) {
    CreateInstanceRequest start = FullStart();
    // The next full second but one, and a nanosecond, which the store rounds up.
    start.mutable_scheduledstarttimestamp()->set_seconds(absl::ToUnixSeconds(absl::Now()) + 2);
    start.mutable_scheduledstarttimestamp()->set_nanos(1);
    world.CheckOne(
        payloads, start, [&](const std::string&) { world.Turn({CompleteAction(1, "\"done\"")}); },
        /*reads=*/1);
  }
}

}  // namespace
}  // namespace dt::testing
