// The service Management: who may ask, in which hub, and what the answer holds. What is read from
// PostgreSQL is tested with the command line (tests/cli).
#include <utility>

#include "proto/management.grpc.pb.h"
#include "storage/management_reads.h"
#include "tests/rpc/access_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

namespace v1 = durabletask::postgres::v1;
using grpc::StatusCode;

// Answers at once, with what the test puts in, and remembers what was asked.
class FakeReads : public ManagementReads {
 public:
  void ReadWaits(HubId, std::string instance_id,
                 Callback<std::vector<InstanceWait>> done) override {
    asked.push_back(std::move(instance_id));
    std::move(done)(waits);
  }
  void ListHubWorkers(HubId, Callback<std::vector<HubWorker>> done) override {
    asked.emplace_back("workers");
    std::move(done)(workers);
  }
  void ListHubs(int names_max, Callback<std::vector<std::string>> done) override {
    asked.push_back(std::to_string(names_max));
    std::move(done)(std::vector<std::string>{"default", "h1", "h2", "secret"});
  }

  std::vector<InstanceWait> waits;
  std::vector<HubWorker> workers;
  std::vector<std::string> asked;
};

TestServerOptions OptionsWith(FakeReads* reads) {
  TestServerOptions options;
  options.management_reads = reads;
  return options;
}

grpc::Status Ask(TestServer& server, const std::string& id, v1::GetInstanceWaitsResponse* response,
                 const Metadata& metadata = {}) {
  const auto stub = v1::Management::NewStub(server.NewChannel());
  v1::GetInstanceWaitsRequest request;
  request.set_instance_id(id);
  return stub->GetInstanceWaits(NewContext(metadata).get(), request, response);
}

}  // namespace

TEST_CASE("management_waits: the answer holds what is known, and leaves out what is not") {
  FakeReads reads;
  InstanceWait& full = reads.waits.emplace_back();
  full.kind = "activity";
  full.state = "running";
  full.name = "Charge";
  full.id = "3";
  full.since = absl::FromUnixMicros(1'000'001);
  full.until = absl::FromUnixSeconds(2);
  full.worker = int64_t{1} << 40;
  full.host = "a host";
  full.detail = "";
  full.sentence = "It runs.";
  reads.waits.push_back({"event", "expected", {}, {}, {}, {}, {}, {}, {}, "It waits."});
  TestServer server(OptionsWith(&reads));
  v1::GetInstanceWaitsResponse response;
  REQUIRE(Ask(server, "i", &response).ok());
  REQUIRE(response.waits_size() == 2);
  CHECK(
      response.waits(0).ShortDebugString() ==
      R"(kind: "activity" state: "running" name: "Charge" id: "3" since { seconds: 1 nanos: 1000 })"
      R"( until { seconds: 2 } worker_id: 1099511627776 host: "a host" detail: "")"
      R"( sentence: "It runs.")");
  CHECK(response.waits(1).ShortDebugString() ==
        R"(kind: "event" state: "expected" sentence: "It waits.")");
}

TEST_CASE("management_waits_id: ids of entities are normalized, bad ids are refused") {
  FakeReads reads;
  TestServer server(OptionsWith(&reads));
  v1::GetInstanceWaitsResponse response;
  CHECK(Ask(server, "i", &response).error_code() == StatusCode::NOT_FOUND);
  CHECK(Ask(server, "@Counter@Key", &response).error_message() == "no instance '@counter@Key'");
  CHECK(reads.asked == std::vector<std::string>{"i", "@counter@Key"});
  for (const std::string& id : {std::string(), std::string("@"), std::string("a\0b", 3)}) {
    CHECK(Ask(server, id, &response).error_code() == StatusCode::INVALID_ARGUMENT);
  }
  CHECK(Ask(server, "i", &response, {{"taskhub", "nowhere"}}).error_message() ==
        "Task hub not found: nowhere");
  CHECK(reads.asked.size() == 2);
}

TEST_CASE("management_workers: names of workers that take everything are none") {
  FakeReads reads;
  HubWorker& worker = reads.workers.emplace_back();
  worker.worker = 7;
  worker.host = "a host";
  worker.version = "1.0";
  worker.since = absl::FromUnixSeconds(1);
  worker.state = "alive";
  worker.work = "turns";
  worker.streams = 2;
  worker.credits = int64_t{3} << 32;
  worker.lower_names = {"pay", "ship"};
  worker.finished_per_second = 0.5;
  reads.workers.push_back(worker);
  reads.workers.back().lower_names = std::nullopt;
  TestServer server(OptionsWith(&reads));
  const auto stub = v1::Management::NewStub(server.NewChannel());
  v1::ListWorkersResponse response;
  REQUIRE(stub->ListWorkers(NewContext().get(), {}, &response).ok());
  REQUIRE(response.workers_size() == 2);
  CHECK(response.workers(0).ShortDebugString() ==
        R"(worker_id: 7 host: "a host" version: "1.0" since { seconds: 1 } state: "alive")"
        R"( work: "turns" streams: 2 credits: 12884901888 names: "pay" names: "ship")"
        R"( finished_per_second: 0.5)");
  CHECK(response.workers(1).takes_all_names());
  CHECK(response.workers(1).names_size() == 0);
}

TEST_CASE("management_access: the role is checked first, and hubs of others are not told of") {
  FakeReads reads;
  const ScratchDir directory;
  TestServerOptions options = OptionsWith(&reads);
  options.access = WithAccess(
      directory, {{"reader", "h*", "reader"}, {"worker", "h1", "worker"}, {"admin", "*", "admin"}});
  TestServer server(options);
  const auto stub = v1::Management::NewStub(server.NewChannel());
  v1::GetInstanceWaitsResponse waits;
  CHECK(Ask(server, "i", &waits).error_code() == StatusCode::UNAUTHENTICATED);
  CHECK(Ask(server, "", &waits, As("reader", "other")).error_code() ==
        StatusCode::PERMISSION_DENIED);
  CHECK(Ask(server, "", &waits, As("worker", "h1")).error_code() == StatusCode::PERMISSION_DENIED);
  v1::ListWorkersResponse workers;
  CHECK(stub->ListWorkers(NewContext(As("worker", "h1")).get(), {}, &workers).error_code() ==
        StatusCode::PERMISSION_DENIED);
  v1::ListTaskHubsResponse hubs;
  CHECK(stub->ListTaskHubs(NewContext(As("worker", "h1")).get(), {}, &hubs).error_code() ==
        StatusCode::PERMISSION_DENIED);
  CHECK(reads.asked.empty());
  REQUIRE(stub->ListTaskHubs(NewContext(As("reader", "h1")).get(), {}, &hubs).ok());
  CHECK(hubs.ShortDebugString() == R"(names: "h1" names: "h2")");
  REQUIRE(stub->ListTaskHubs(NewContext(As("admin", "h1")).get(), {}, &hubs).ok());
  CHECK(hubs.names_size() == 4);
}

TEST_CASE("management_nothing_kept: a server over another store says so") {
  TestServer server;
  v1::GetInstanceWaitsResponse response;
  CHECK(Ask(server, "i", &response).error_code() == StatusCode::UNIMPLEMENTED);
}

}  // namespace dt::testing
