// SignalEntity, GetEntity, QueryEntities, CleanEntityStorage and RaiseEvent for entities over real
// gRPC: tests/CASES.md, group "Entities".
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using Ids = std::vector<std::string>;

constexpr char kGuid[] = "6C1B7A52-0B4E-4C66-9A3E-0123456789AB";

// Runs entities and owners of locks by hand, as another daemon of the same database.
class OtherDaemon {
 public:
  explicit OtherDaemon(TestServer& server)
      : database_(server.database()),
        hub_(*database_.ResolveHub("default", /*create=*/true)),
        worker_(database_.RegisterWorker(absl::Hours(1))) {}

  void Send(const std::string& id) {
    database_.SendMessage(worker_, {hub_, id, {kAnyGeneration, {}, 23, Bytes("x")}});
  }
  // The free entity of this id, which there is.
  Claim Take(const std::string& id, InstanceKind kind = InstanceKind::kEntity) {
    ClaimRequest request;
    request.hub = hub_;
    request.kind = kind;
    request.lease_token = MakeLeaseToken(worker_, ++counter_);
    request.groups = {{1000, std::nullopt}};
    Claim taken;
    absl::StatusOr<ClaimResult> result = database_.ClaimInstances(request);
    REQUIRE(result.ok());
    for (Claim& claim : result->claims) {
      if (claim.instance_id == id) {
        taken = std::move(claim);
      } else {
        Release(claim);
      }
    }
    REQUIRE(taken.instance_id == id);
    return taken;
  }
  void Release(const Claim& claim) {
    InstanceRelease release;
    release.key = claim.key;
    release.hub = claim.hub;
    release.instance_id = claim.instance_id;
    release.lease_token = claim.lease_token;
    database_.ReleaseInstance(release);
  }
  static Checkpoint Turn(const Claim& claim) {
    Checkpoint turn;
    turn.key = claim.key;
    turn.hub = claim.hub;
    turn.instance_id = claim.instance_id;
    turn.lease_token = claim.lease_token;
    turn.turn = claim.turn + 1;
    for (const Message& message : claim.messages) turn.consumed.push_back(message.seq);
    if (claim.kind == InstanceKind::kEntity) turn.entity.emplace();
    turn.release = true;
    return turn;
  }
  CheckpointResult Commit(Checkpoint turn) {
    CheckpointResult result = database_.CommitCheckpoint(worker_, std::move(turn));
    REQUIRE(result.outcome == CheckpointOutcome::kCommitted);
    return result;
  }
  void SetState(const std::string& id, const std::string& state) {
    Send(id);
    Checkpoint turn = Turn(Take(id));
    turn.entity->state = Change<std::string>::Set(state);
    turn.entity->worked = true;
    Commit(turn);
  }
  // An orchestration that was started by the client locks the entity.
  Claim Lock(const std::string& owner, const std::string& id) {
    Claim claim = Take(owner, InstanceKind::kOrchestration);
    Checkpoint asks = Turn(claim);
    asks.lock_requests = {{"section", {id}, Bytes("request")}};
    asks.release = false;
    Commit(asks);
    const Claim entity = Take(id);
    Checkpoint arrives = Turn(entity);
    arrives.consumed.pop_back();
    arrives.entity->arrival =
        LockArrival{entity.messages.back().seq, {kAnyGeneration, {}, 28, Bytes("granted")}};
    REQUIRE(Commit(arrives).arrival == ArrivalOutcome::kGranted);
    claim.turn = asks.turn;
    claim.messages.clear();
    return claim;
  }
  // One unlocked and without anything: to be there only for CleanEntityStorage.
  void MakeEmpty(const std::string& id) {
    Send(id);
    const Claim claim = Take(id);
    database_.DiscardMessages({claim.key,
                               claim.hub,
                               claim.instance_id,
                               claim.lease_token,
                               {claim.messages.at(0).seq},
                               /*release=*/true});
  }

 private:
  static SharedBytes Bytes(const std::string& text) {
    return std::make_shared<const std::string>(text);
  }

  MemoryDatabase& database_;
  const HubId hub_;
  const WorkerId worker_;
  int64_t counter_ = 0;
};

grpc::Status Signal(TestServer& server, const SignalEntityRequest& request) {
  SignalEntityResponse response;
  return server.stub().SignalEntity(NewContext().get(), request, &response);
}

SignalEntityRequest SignalRequest(const std::string& id, const std::string& name,
                                  const std::string& request_id = "") {
  SignalEntityRequest request;
  request.set_instanceid(id);
  request.set_name(name);
  request.set_requestid(request_id);
  return request;
}

grpc::Status Raise(TestServer& server, const std::string& id, const std::string& name,
                   const std::string& input) {
  RaiseEventRequest request;
  request.set_instanceid(id);
  request.set_name(name);
  request.mutable_input()->set_value(input);
  RaiseEventResponse response;
  return server.stub().RaiseEvent(NewContext().get(), request, &response);
}

GetEntityResponse GetEntity(TestServer& server, const std::string& id, bool state = true) {
  GetEntityRequest request;
  request.set_instanceid(id);
  request.set_includestate(state);
  GetEntityResponse response;
  const grpc::Status status = server.stub().GetEntity(NewContext().get(), request, &response);
  INFO(status.error_message());
  REQUIRE(status.ok());
  return response;
}

QueryEntitiesResponse Query(TestServer& server, const EntityQuery& query) {
  QueryEntitiesRequest request;
  *request.mutable_query() = query;
  QueryEntitiesResponse response;
  const grpc::Status status = server.stub().QueryEntities(NewContext().get(), request, &response);
  INFO(status.error_message());
  REQUIRE(status.ok());
  return response;
}

Ids IdsOf(const QueryEntitiesResponse& response) {
  Ids ids;
  for (const EntityMetadata& entity : response.entities()) ids.push_back(entity.instanceid());
  return ids;
}

CleanEntityStorageResponse Clean(TestServer& server, const CleanEntityStorageRequest& request) {
  CleanEntityStorageResponse response;
  const grpc::Status status =
      server.stub().CleanEntityStorage(NewContext().get(), request, &response);
  INFO(status.error_message());
  REQUIRE(status.ok());
  return response;
}

HistoryEvent EventOf(const Message& message) {
  HistoryEvent event;
  REQUIRE(event.ParseFromString(*message.event));
  return event;
}

TEST_CASE("signal_dedupe: a second signal of a request that is queued is ignored") {
  TestServer server;
  OtherDaemon other(server);
  REQUIRE(Signal(server, SignalRequest("@Counter@Key", "add", kGuid)).ok());
  REQUIRE(Signal(server, SignalRequest("@counter@Key", "add", kGuid)).ok());
  const Claim claim = other.Take("@counter@Key");
  REQUIRE(claim.messages.size() == 1);
  const HistoryEvent event = EventOf(claim.messages[0]);
  CHECK(event.entityoperationsignaled().requestid() == kGuid);
  CHECK(event.entityoperationsignaled().operation() == "add");
  CHECK_FALSE(event.entityoperationsignaled().has_input());
  // When it has run, the same request is a new one.
  other.Commit(OtherDaemon::Turn(claim));
  REQUIRE(Signal(server, SignalRequest("@counter@Key", "add", kGuid)).ok());
  CHECK(other.Take("@counter@Key").messages.size() == 1);
}

TEST_CASE("signal_dedupe: requests without a GUID get one each") {
  TestServer server;
  OtherDaemon other(server);
  for (const char* id : {"", "", "mine", "mine"}) {
    REQUIRE(Signal(server, SignalRequest("@counter@1", "add", id)).ok());
  }
  const Claim claim = other.Take("@counter@1");
  REQUIRE(claim.messages.size() == 4);
  std::set<std::string> ids;
  for (const Message& message : claim.messages) {
    ids.insert(EventOf(message).entityoperationsignaled().requestid());
  }
  CHECK(ids.size() == 4);
  for (const std::string& id : ids) CHECK(id.size() == 36);
}

TEST_CASE("entity_id_length: malformed ids are refused with the limit") {
  TestServer server;
  const std::string longest = "@c@" + std::string(97, 'k');
  CHECK(Signal(server, SignalRequest(longest, "op")).ok());
  GetEntityResponse answer;
  GetEntityRequest request;
  for (const std::string& id : {longest + "k", std::string("counter"), std::string("@counter"),
                                std::string("@@key"), std::string(), std::string("@c@\0", 4)}) {
    INFO(id);
    const grpc::Status status = Signal(server, SignalRequest(id, "op"));
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    const bool too_long = id.size() > 100;
    CHECK((status.error_message().find("length") != std::string::npos) == too_long);
    request.set_instanceid(id);
    CHECK(server.stub().GetEntity(NewContext().get(), request, &answer).error_code() ==
          grpc::StatusCode::INVALID_ARGUMENT);
  }
  SignalEntityRequest late = SignalRequest("@c@1", "op");
  late.mutable_scheduledtime()->set_nanos(-1);
  CHECK(Signal(server, late).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("json_from_client: RaiseEvent to an entity takes a request of the JSON dialect") {
  TestServer server;
  OtherDaemon other(server);
  const std::string json =
      absl::StrCat(R"({"op":"add","signal":true,"input":"5","id":")", kGuid, R"("})");
  REQUIRE(Raise(server, "@Counter@1", "op", json).ok());
  REQUIRE(Raise(server, "@counter@1", "op", json).ok());
  const Claim claim = other.Take("@counter@1");
  REQUIRE(claim.messages.size() == 1);
  CHECK(claim.messages[0].event_type == 23);
  const EntityOperationSignaledEvent signal = EventOf(claim.messages[0]).entityoperationsignaled();
  CHECK(signal.operation() == "add");
  CHECK(signal.input().value() == "5");
}

TEST_CASE("json_from_client: other events are refused, and entities end by no message") {
  TestServer server;
  const std::string lock = absl::StrCat(R"({"op":null,"id":")", kGuid,
                                        R"(","lockset":[{"name":"counter","key":"1"}],"pos":0})");
  const std::vector<std::pair<std::string, std::string>> events = {
      {"add", "1"},
      {"op", "1"},
      {"op", R"({"op":"add"})"},
      {"op", lock},
      {"release", absl::StrCat(R"({"parent":"o","id":")", kGuid, R"("})")}};
  for (const auto& [name, input] : events) {
    INFO(name << " " << input);
    const grpc::Status status = Raise(server, "@counter@1", name, input);
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK(status.error_message().find("SignalEntity") != std::string::npos);
  }
  TerminateRequest terminate;
  terminate.set_instanceid("@counter@1");
  TerminateResponse terminated;
  CHECK(server.stub().TerminateInstance(NewContext().get(), terminate, &terminated).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  SuspendRequest suspend;
  suspend.set_instanceid("@counter@1");
  SuspendResponse suspended;
  CHECK(server.stub().SuspendInstance(NewContext().get(), suspend, &suspended).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  EntityQuery query;
  query.set_includetransient(true);
  CHECK(IdsOf(Query(server, query)).empty());
}

TEST_CASE("entity_metadata: what clients see of one") {
  TestServer server;
  OtherDaemon other(server);
  CHECK_FALSE(GetEntity(server, "@counter@1").exists());
  other.Send("@counter@1");
  // Without a state it is not there yet.
  const GetEntityResponse nothing = GetEntity(server, "@counter@1");
  CHECK_FALSE(nothing.exists());
  CHECK_FALSE(nothing.has_entity());
  other.Commit(OtherDaemon::Turn(other.Take("@counter@1")));
  other.SetState("@counter@1", "5");
  const EntityMetadata plain = GetEntity(server, "@Counter@1").entity();
  CHECK(plain.instanceid() == "@counter@1");
  CHECK(plain.lastmodifiedtime().seconds() > 0);
  CHECK(plain.backlogqueuesize() == 0);
  CHECK_FALSE(plain.has_lockedby());
  CHECK(plain.serializedstate().value() == "5");
  CHECK_FALSE(GetEntity(server, "@counter@1", /*state=*/false).entity().has_serializedstate());
  CHECK(GetEntity(server, "@counter@1", /*state=*/false).exists());

  server.Start("o", "owner");
  const Claim owner = other.Lock("owner", "@counter@1");
  for (const char* name : {"one", "two"}) {
    REQUIRE(Signal(server, SignalRequest("@counter@1", name)).ok());
  }
  SignalEntityRequest delayed = SignalRequest("@counter@1", "later");
  delayed.mutable_scheduledtime()->set_seconds(absl::ToUnixSeconds(absl::Now()) + 3600);
  REQUIRE(Signal(server, delayed).ok());
  const EntityMetadata locked = GetEntity(server, "@counter@1").entity();
  CHECK(locked.lockedby().value() == "owner");
  CHECK(locked.backlogqueuesize() == 2);
  CHECK(locked.lastmodifiedtime().seconds() == plain.lastmodifiedtime().seconds());
  CHECK(locked.lastmodifiedtime().nanos() == plain.lastmodifiedtime().nanos());

  Checkpoint unlocks = OtherDaemon::Turn(other.Take("@counter@1"));
  unlocks.consumed.clear();
  unlocks.entity->unlock = true;
  other.Commit(unlocks);
  CHECK_FALSE(GetEntity(server, "@counter@1").entity().has_lockedby());
}

TEST_CASE("query_entities: by prefix, time and transience") {
  TestServer server;
  OtherDaemon other(server);
  for (const char* id : {"@counter@a", "@counter@b", "@Counters@x", "@basket@a"}) {
    REQUIRE(Signal(server, SignalRequest(id, "op")).ok());
  }
  for (const char* id : {"@counter@a", "@counter@b", "@counters@x"}) other.SetState(id, "state");
  const auto ids = [&](const std::string& prefix, bool transient = false) {
    EntityQuery query;
    query.mutable_instanceidstartswith()->set_value(prefix);
    query.set_includetransient(transient);
    return IdsOf(Query(server, query));
  };
  CHECK(ids("") == Ids{"@counter@a", "@counter@b", "@counters@x"});
  CHECK(ids("", true) == Ids{"@basket@a", "@counter@a", "@counter@b", "@counters@x"});
  CHECK(ids("Counter") == ids(""));
  CHECK(ids("@COUNTER@") == Ids{"@counter@a", "@counter@b"});
  CHECK(ids("counter@b") == Ids{"@counter@b"});
  CHECK(ids("counter@B").empty());
  EntityQuery query;
  query.set_includestate(true);
  const QueryEntitiesResponse all = Query(server, query);
  CHECK(all.entities(0).serializedstate().value() == "state");
  CHECK_FALSE(all.has_continuationtoken());
  // The first bound is inclusive, the second exclusive.
  *query.mutable_lastmodifiedfrom() = all.entities(1).lastmodifiedtime();
  *query.mutable_lastmodifiedto() = all.entities(2).lastmodifiedtime();
  CHECK(IdsOf(Query(server, query)) == Ids{"@counter@b"});
  // Neither is among the others.
  server.Start("o", "orchestration");
  QueryInstancesRequest instances;
  QueryInstancesResponse found;
  REQUIRE(server.stub().QueryInstances(NewContext().get(), instances, &found).ok());
  REQUIRE(found.orchestrationstate_size() == 1);
  CHECK(found.orchestrationstate(0).instanceid() == "orchestration");
  CHECK(ids("orchestration", true).empty());
  CHECK_FALSE(server.Get("@counter@a").exists());
}

TEST_CASE("query_entities: pages") {
  TestServer server;
  OtherDaemon other(server);
  for (int i = 0; i < 7; ++i) other.SetState(absl::StrCat("@counter@", i), "s");
  EntityQuery query;
  query.mutable_pagesize()->set_value(3);
  Ids ids;
  for (int page = 0; page < 3; ++page) {
    const QueryEntitiesResponse response = Query(server, query);
    CHECK(response.entities_size() == (page < 2 ? 3 : 1));
    CHECK(response.has_continuationtoken() == (page < 2));
    for (const std::string& id : IdsOf(response)) ids.push_back(id);
    *query.mutable_continuationtoken() = response.continuationtoken();
  }
  CHECK(ids.size() == 7);
  query.mutable_continuationtoken()->set_value("no token");
  QueryEntitiesRequest request;
  *request.mutable_query() = query;
  QueryEntitiesResponse response;
  CHECK(server.stub().QueryEntities(NewContext().get(), request, &response).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("clean_storage: empty entities go, and locks of owners that are gone are released") {
  TestServer server;
  OtherDaemon other(server);
  for (int i = 0; i < 1000; ++i) other.MakeEmpty(absl::StrCat("@counter@", i));
  other.SetState("@counter@kept", "s");
  other.Send("@counter@waiting");
  server.Start("o", "owner");
  Claim owner = other.Lock("owner", "@lock@1");
  CleanEntityStorageRequest request;
  // Asked for nothing, it does nothing.
  CHECK(Clean(server, request).emptyentitiesremoved() == 0);
  request.set_removeemptyentities(true);
  request.set_releaseorphanedlocks(true);
  const CleanEntityStorageResponse first = Clean(server, request);
  CHECK(first.emptyentitiesremoved() == 1000);
  CHECK(first.orphanedlocksreleased() == 0);
  CHECK_FALSE(first.has_continuationtoken());
  EntityQuery query;
  query.set_includetransient(true);
  CHECK(IdsOf(Query(server, query)) == Ids{"@counter@kept", "@counter@waiting", "@lock@1"});

  // The owner ends without a word.
  Checkpoint ends = OtherDaemon::Turn(owner);
  ends.update.emplace().status = RuntimeStatus::kCompleted;
  ends.ends = true;
  other.Commit(ends);
  CHECK(Clean(server, request).orphanedlocksreleased() == 1);
  CHECK(Clean(server, request).orphanedlocksreleased() == 0);  // it is on its way
  const Claim entity = other.Take("@lock@1");
  REQUIRE(entity.messages.size() == 1);
  CHECK(entity.messages[0].visible_at == absl::InfinitePast());
  const EntityUnlockSentEvent unlock = EventOf(entity.messages[0]).entityunlocksent();
  CHECK(unlock.criticalsectionid() == "fix-orphaned-lock");
  CHECK(unlock.parentinstanceid().value() == "owner");
}

}  // namespace
}  // namespace dt::testing
