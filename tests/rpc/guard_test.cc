// Who may do what, over real gRPC: every RPC of the protocol, called by those who may not.
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "fmt/format.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "grpcpp/generic/generic_stub.h"
#include "server/rpc/frame_buffer.h"
#include "server/rpc/health_client.h"
#include "tests/rpc/access_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/forwarding_store.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::MethodDescriptor;
using grpc::StatusCode;
using rpc::Role;

const google::protobuf::ServiceDescriptor& Service() {
  return *google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
      "TaskHubSidecarService");
}

// A request that would do something if it were let in: each text is "i", which is the id of an
// instance, and each switch is on, but for the one that makes a client's call a worker's.
std::string FilledRequest(const MethodDescriptor& method) {
  const std::unique_ptr<google::protobuf::Message> message(
      google::protobuf::MessageFactory::generated_factory()
          ->GetPrototype(method.input_type())
          ->New());
  const google::protobuf::Reflection& reflection = *message->GetReflection();
  for (int i = 0; i < method.input_type()->field_count(); ++i) {
    const FieldDescriptor* field = method.input_type()->field(i);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && field->is_repeated()) {
      reflection.AddString(message.get(), field, "i");
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      reflection.SetString(message.get(), field, "i");
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL && !field->is_repeated() &&
               field->name() != "forWorkItemProcessing") {
      reflection.SetBool(message.get(), field, true);
    }
  }
  return message->SerializeAsString();
}

// Reads a stream up to its first message, or to the refusal that it ends with.
template <typename Message>
grpc::Status OpenAndLeave(grpc::ClientContext& context,
                          const std::unique_ptr<grpc::ClientReader<Message>>& reader) {
  Message message;
  if (reader->Read(&message)) context.TryCancel();
  while (reader->Read(&message)) {
  }
  return reader->Finish();
}

grpc::Status Call(TestServer& server, const MethodDescriptor& method, const Metadata& metadata) {
  const std::unique_ptr<grpc::ClientContext> context = NewContext(metadata);
  const std::string request = FilledRequest(method);
  if (method.name() == "GetWorkItems") {
    return OpenAndLeave(*context, server.stub().GetWorkItems(context.get(), {}));
  }
  if (method.name() == "StreamInstanceHistory") {
    StreamInstanceHistoryRequest message;
    REQUIRE(message.ParseFromString(request));
    return OpenAndLeave(*context, server.stub().StreamInstanceHistory(context.get(), message));
  }
  grpc::GenericStub stub(server.NewChannel());
  const grpc::ByteBuffer bytes = rpc::MakeByteBuffer(request);
  grpc::ByteBuffer response;
  grpc::Status status;
  absl::Notification done;
  stub.UnaryCall(context.get(), fmt::format("/TaskHubSidecarService/{}", method.name()),
                 grpc::StubOptions(), &bytes, &response, [&](grpc::Status answer) {
                   status = std::move(answer);
                   done.Notify();
                 });
  done.WaitForNotification();
  return status;
}

bool IsRefusal(const grpc::Status& status) {
  return status.error_code() == StatusCode::PERMISSION_DENIED ||
         status.error_code() == StatusCode::UNAUTHENTICATED;
}

// Remembers which hubs were asked for. With a cache age of zero every call that gets through does.
class HubRecorder : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  void ResolveHub(std::string name, bool create, Callback<HubId> done) override {
    Add(name);
    ForwardingStore::ResolveHub(std::move(name), create, std::move(done));
  }
  void DeleteHub(std::string name, DoneCallback done) override {
    Add(name);
    ForwardingStore::DeleteHub(std::move(name), std::move(done));
  }
  std::set<std::string> Take() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(names_, {});
  }

 private:
  void Add(const std::string& name) {
    absl::MutexLock lock(&mutex_);
    names_.insert(name);
  }

  absl::Mutex mutex_;
  std::set<std::string> names_ ABSL_GUARDED_BY(mutex_);
};

// Hubs are made on first use and may be deleted; waiting calls come back at once, and every stream
// soon has a message.
TestServerOptions GuardedOptions(const ScratchDir& directory, const std::vector<Grant>& grants) {
  TestServerOptions options;
  options.access = WithAccess(directory, grants);
  options.service.hubs.create_unknown = true;
  options.service.hubs.cache_age_max = absl::ZeroDuration();
  options.service.hub_deletion_enabled = true;
  options.dispatch.wait_max = absl::Milliseconds(1);
  options.dispatch.health_ping_interval = absl::Milliseconds(10);
  return options;
}

// What an admin does before the others come.
void CreateHubs(TestServer& server, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    REQUIRE(server.database().ResolveHub(name, /*create=*/true).ok());
  }
}

TEST_CASE("guard_other_hub: no RPC reads or touches the hub of somebody else") {
  const ScratchDir directory;
  TestServerOptions options =
      GuardedOptions(directory, {{"alice", "a", "admin"}, {"bob", "b", "admin"}});
  HubRecorder* recorder = nullptr;
  options.wrap_store = [&recorder](Store* store) {
    auto wrapped = std::make_unique<HubRecorder>(store);
    recorder = wrapped.get();
    return wrapped;
  };
  TestServer server(std::move(options));
  // Bob has an orchestration with a worker on it, so that there is something to take away.
  FakeWorker worker(server.stub(), {}, As("bob", "b"));
  server.Start("o", "i", As("bob", "b"));
  const std::optional<WorkItem> item = worker.Next();
  REQUIRE(item.has_value());
  const auto state = [&server] {
    const MemoryDatabase::Counts counts = server.database().Count();
    return fmt::format("{} {} {} {} {} {}", counts.live, counts.leased_instances, counts.tasks,
                       counts.messages, counts.checkpoints,
                       server.Get("i", true, As("bob", "b")).ShortDebugString());
  };
  const std::string before = state();
  recorder->Take();
  for (int i = 0; i < Service().method_count(); ++i) {
    const MethodDescriptor& method = *Service().method(i);
    INFO(method.name());
    const grpc::Status foreign = Call(server, method, As("alice", "b"));
    CHECK(foreign.error_code() == StatusCode::PERMISSION_DENIED);
    // A hub that does not exist gets the same answer, and is not made.
    const grpc::Status missing = Call(server, method, As("alice", "c"));
    CHECK(missing.error_code() == StatusCode::PERMISSION_DENIED);
    std::string expected = foreign.error_message();
    expected.replace(expected.find("hub 'b'"), 7, "hub 'c'");
    CHECK(missing.error_message() == expected);
    // Nor does the default hub belong to everybody.
    CHECK(Call(server, method, {{"authorization", "Bearer " + TokenOf("alice")}}).error_code() ==
          StatusCode::PERMISSION_DENIED);
  }
  CHECK(recorder->Take().empty());
  CHECK(state() == before);
  // The same calls by the same caller at home get through, so it is the hub that counts.
  for (int i = 0; i < Service().method_count(); ++i) {
    INFO(Service().method(i)->name());
    const grpc::Status own = Call(server, *Service().method(i), As("alice", "a"));
    INFO(own.error_message());
    CHECK_FALSE(IsRefusal(own));
  }
  CHECK(recorder->Take().contains("a"));
  CHECK(worker.Complete(*item, {CompleteAction(0, "1")}).ok());
  CHECK(server.Get("i", true, As("bob", "b")).orchestrationstate().orchestrationstatus() ==
        ORCHESTRATION_STATUS_COMPLETED);
}

TEST_CASE("guard_roles: each role may call what the table says, and no more") {
  const ScratchDir directory;
  TestServer server(GuardedOptions(directory, {{"reader", "h", "reader"},
                                               {"worker", "h", "worker"},
                                               {"contributor", "h", "contributor"},
                                               {"admin", "h*", "admin"}}));
  for (const Role role : {Role::kReader, Role::kWorker, Role::kContributor, Role::kAdmin}) {
    const std::string name(rpc::RoleName(role));
    for (int i = 0; i < Service().method_count(); ++i) {
      const MethodDescriptor& method = *Service().method(i);
      INFO(name << " " << method.name());
      const grpc::Status status = Call(server, method, As(name, "h"));
      INFO(status.error_message());
      const bool allowed = rpc::Includes(role, *rpc::RoleNeeded(method.name()));
      CHECK(IsRefusal(status) == !allowed);
      if (!allowed) CHECK(status.error_code() == StatusCode::PERMISSION_DENIED);
    }
  }
  StreamInstanceHistoryRequest request;
  request.set_instanceid("i");
  request.set_forworkitemprocessing(true);
  for (const char* name : {"reader", "worker"}) {
    const std::unique_ptr<grpc::ClientContext> context = NewContext(As(name, "h"));
    const grpc::Status status =
        OpenAndLeave(*context, server.stub().StreamInstanceHistory(context.get(), request));
    CHECK(IsRefusal(status) == (std::string(name) == "reader"));
  }
}

TEST_CASE("guard_create_unknown: only an admin's call makes the hub that it names") {
  const ScratchDir directory;
  TestServer server(GuardedOptions(directory, {{"reader", "*", "reader"},
                                               {"worker", "*", "worker"},
                                               {"contributor", "*", "contributor"},
                                               {"admin", "*", "admin"}}));
  const auto start = [&server](const std::string& who, const std::string& hub) {
    CreateInstanceRequest request;
    request.set_name("o");
    CreateInstanceResponse response;
    return server.stub().StartInstance(NewContext(As(who, hub)).get(), request, &response);
  };
  const auto get = [&server](const std::string& who, const std::string& hub) {
    GetInstanceRequest request;
    request.set_instanceid("i");
    GetInstanceResponse response;
    return server.stub().GetInstance(NewContext(As(who, hub)).get(), request, &response);
  };
  const grpc::Status refused = get("reader", "new");
  CHECK(refused.error_code() == StatusCode::NOT_FOUND);
  CHECK(refused.error_message() == "Task hub not found: new (the role admin may create it)");
  CHECK(start("contributor", "new").error_code() == StatusCode::NOT_FOUND);
  FakeWorker stream(server.stub(), {}, As("worker", "new"));
  const std::optional<grpc::Status> end = stream.WaitForEnd();
  REQUIRE(end.has_value());
  CHECK(end->error_code() == StatusCode::NOT_FOUND);
  CHECK(start("admin", "new").ok());
  CHECK(get("reader", "new").ok());
  CHECK(start("contributor", "new").ok());
}

TEST_CASE("guard_nobody: no token, a wrong one, and no token in any answer or log line") {
  const ScratchDir directory;
  TestServer server(GuardedOptions(directory, {{"alice", "*", "admin"}}));
  const LogCapture log;
  const Metadata nobodies[] = {{},
                               {{"authorization", "Bearer my-guess"}},
                               {{"authorization", "Basic my-guess"}},
                               {{"authorization", TokenOf("alice")}}};
  for (const Metadata& nobody : nobodies) {
    for (int i = 0; i < Service().method_count(); ++i) {
      INFO(Service().method(i)->name());
      const grpc::Status status = Call(server, *Service().method(i), nobody);
      CHECK(status.error_code() == StatusCode::UNAUTHENTICATED);
      CHECK(absl::StrContains(absl::AsciiStrToLower(status.error_message()), "token"));
      CHECK(status.error_message().find("my-guess") == std::string::npos);
      CHECK(status.error_message().find(TokenOf("alice")) == std::string::npos);
    }
  }
  CHECK(log.Has("refused a call from ipv4:127.0.0.1:"));
  CHECK_FALSE(log.Has("my-guess"));
  CHECK_FALSE(log.Has(TokenOf("alice")));
  CHECK(Hello(server.stub(), As("alice", "default")).ok());
  // Whoever may not call anything may still ask whether the server lives.
  CHECK(rpc::CheckHealth(server.address(), /*tls=*/false, kPatience).ok());
}

TEST_CASE("guard_streams: a worker gets the work of its hub only") {
  const ScratchDir directory;
  TestServer server(
      GuardedOptions(directory, {{"alice", "a", "contributor"}, {"bob", "b", "contributor"}}));
  CreateHubs(server, {"a", "b"});
  FakeWorker alice(server.stub(), {}, As("alice", "a"));
  server.Start("bobs", "i", As("bob", "b"));
  server.Start("alices", "i", As("alice", "a"));
  const std::optional<WorkItem> item = alice.Next();
  REQUIRE(item.has_value());
  CHECK(item->orchestratorrequest().newevents(1).executionstarted().name() == "alices");
  REQUIRE(alice.Complete(*item, {CompleteAction(0, "1")}).ok());
  // Bob's worker comes last and still finds his own.
  FakeWorker bob(server.stub(), {}, As("bob", "b"));
  const std::optional<WorkItem> other = bob.Next();
  REQUIRE(other.has_value());
  CHECK(other->orchestratorrequest().newevents(1).executionstarted().name() == "bobs");
  CHECK_FALSE(alice.Next(absl::Milliseconds(100)).has_value());
}

TEST_CASE(
    "guard_completion_tokens: those of another hub, and none, are unknown and change nothing") {
  const ScratchDir directory;
  TestServer server(
      GuardedOptions(directory, {{"alice", "a", "worker"}, {"bob", "b", "contributor"}}));
  CreateHubs(server, {"a", "b"});
  FakeWorker bob(server.stub(), {}, As("bob", "b"));
  server.Start("o", "i", As("bob", "b"));
  const std::optional<WorkItem> turn = bob.Next();
  REQUIRE(turn.has_value());
  FakeWorker alice(server.stub(), {}, As("alice", "a"));

  // Each way to answer or give back an item of Bob's, in Alice's own hub.
  const auto meddle = [&](const WorkItem& item) {
    WorkItem unnamed = item;
    unnamed.clear_completiontoken();
    for (const WorkItem& one : {item, unnamed}) {
      CHECK(alice.Complete(one, {CompleteAction(0, "\"stolen\"")}).ok());
      CHECK(alice.CompleteActivity(one, "\"stolen\"").ok());
      AbandonOrchestrationTaskRequest orchestration;
      orchestration.set_completiontoken(one.completiontoken());
      AbandonOrchestrationTaskResponse first;
      CHECK(server.stub()
                .AbandonTaskOrchestratorWorkItem(NewContext(As("alice", "a")).get(), orchestration,
                                                 &first)
                .ok());
      AbandonActivityTaskRequest activity;
      activity.set_completiontoken(one.completiontoken());
      AbandonActivityTaskResponse second;
      CHECK(server.stub()
                .AbandonTaskActivityWorkItem(NewContext(As("alice", "a")).get(), activity, &second)
                .ok());
    }
  };
  meddle(*turn);
  CHECK(server.database().Count().checkpoints == 0);
  // The token is still good for Bob, so nothing was taken or given back.
  REQUIRE(bob.Complete(*turn, {ScheduleAction(1, "act", "1")}).ok());
  const std::optional<WorkItem> activity = bob.Next();
  REQUIRE(activity.has_value());
  REQUIRE(activity->has_activityrequest());
  meddle(*activity);
  REQUIRE(bob.CompleteActivity(*activity, "\"kept\"").ok());
  const std::optional<WorkItem> next = bob.Next();
  REQUIRE(next.has_value());
  REQUIRE(next->has_orchestratorrequest());
  std::string result;
  for (const HistoryEvent& event : next->orchestratorrequest().newevents()) {
    if (event.has_taskcompleted()) result = event.taskcompleted().result().value();
  }
  CHECK(result == "\"kept\"");
  CHECK_FALSE(alice.Next(absl::Milliseconds(50)).has_value());
}

TEST_CASE("guard_reload: new rules count, a wrong file changes nothing, and streams end") {
  const ScratchDir directory;
  TestServer server(GuardedOptions(directory, {{"alice", "a", "contributor"}}));
  const LogCapture log;
  CreateHubs(server, {"a"});
  FakeWorker worker(server.stub(), {}, As("alice", "a"));
  server.Start("o", "first", As("alice", "a"));
  CHECK(worker.Next().has_value());
  CHECK(Hello(server.stub(), As("bob", "a")).error_code() == StatusCode::UNAUTHENTICATED);

  const std::vector<Grant> both = {{"alice", "a", "contributor"}, {"bob", "a", "contributor"}};
  Rewrite(directory, AccessText(both));
  Eventually([&] { return Hello(server.stub(), As("bob", "a")).ok(); });

  Rewrite(directory, "[[principals]]\nname = 'carol'\n");
  Eventually([&] { return log.Has("the access file has changed and is wrong"); });
  CHECK(Hello(server.stub(), As("bob", "a")).ok());
  CHECK(Hello(server.stub(), As("alice", "a")).ok());
  // Alice's stream has seen a change of the rules, and goes on.
  server.Start("o", "second", As("bob", "a"));
  CHECK(worker.Next().has_value());

  Rewrite(directory, AccessText({{"bob", "a", "contributor"}}));
  Eventually([&] {
    return Hello(server.stub(), As("alice", "a")).error_code() == StatusCode::UNAUTHENTICATED;
  });
  // What Alice's worker would have got is for others now.
  server.Start("o", "third", As("bob", "a"));
  const std::optional<grpc::Status> end = worker.WaitForEnd();
  REQUIRE(end.has_value());
  CHECK(end->error_code() == StatusCode::UNAUTHENTICATED);
  CHECK_FALSE(worker.Next(absl::ZeroDuration()).has_value());
  FakeWorker other(server.stub(), {}, As("bob", "a"));
  std::set<std::string> offered;
  while (offered.size() < 3) {
    const std::optional<WorkItem> item = other.Next();
    REQUIRE(item.has_value());
    offered.insert(item->orchestratorrequest().instanceid());
  }
  CHECK(offered == std::set<std::string>{"first", "second", "third"});
}

}  // namespace
}  // namespace dt::testing
