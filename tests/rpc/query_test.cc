// QueryInstances, ListInstanceIds and PurgeInstances over real gRPC: tests/CASES.md, group "Client
// RPCs".
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/forwarding_store.h"

namespace dt::testing {
namespace {

QueryInstancesResponse Query(TestServer& server, const InstanceQuery& query) {
  QueryInstancesRequest request;
  *request.mutable_query() = query;
  QueryInstancesResponse response;
  const grpc::Status status = server.stub().QueryInstances(NewContext().get(), request, &response);
  INFO(status.error_message());
  REQUIRE(status.ok());
  return response;
}

ListInstanceIdsResponse List(TestServer& server, const ListInstanceIdsRequest& request) {
  ListInstanceIdsResponse response;
  const grpc::Status status = server.stub().ListInstanceIds(NewContext().get(), request, &response);
  INFO(status.error_message());
  REQUIRE(status.ok());
  return response;
}

std::vector<std::string> IdsOf(const QueryInstancesResponse& response) {
  std::vector<std::string> ids;
  for (const OrchestrationState& state : response.orchestrationstate()) {
    ids.push_back(state.instanceid());
  }
  return ids;
}

void Complete(TestServer& server, FakeWorker& worker, const std::string& id) {
  server.Start("o", id);
  const std::optional<WorkItem> item = worker.Next();
  REQUIRE(item.has_value());
  REQUIRE(worker.Complete(*item, {CompleteAction(0, "\"done\"")}).ok());
}

TEST_CASE("query_pages: full pages in order, and no token on the last") {
  TestServer server;
  for (int i = 0; i < 21; ++i) server.Start("o", absl::StrCat("i", 100 + i));
  InstanceQuery query;
  query.set_maxinstancecount(5);
  std::vector<std::string> ids;
  std::string third_token;
  for (int page = 1; page <= 5; ++page) {
    const QueryInstancesResponse response = Query(server, query);
    CHECK(response.orchestrationstate_size() == (page < 5 ? 5 : 1));
    CHECK(response.has_continuationtoken() == (page < 5));
    for (const std::string& id : IdsOf(response)) ids.push_back(id);
    *query.mutable_continuationtoken() = response.continuationtoken();
    if (page == 3) third_token = response.continuationtoken().value();
  }
  REQUIRE(ids.size() == 21);
  for (int i = 0; i < 21; ++i) CHECK(ids[i] == absl::StrCat("i", 100 + i));
  // A token is a position: another page size goes on from there.
  query.mutable_continuationtoken()->set_value(third_token);
  query.set_maxinstancecount(100);
  const QueryInstancesResponse rest = Query(server, query);
  CHECK(IdsOf(rest) == std::vector<std::string>(ids.begin() + 15, ids.end()));
  CHECK_FALSE(rest.has_continuationtoken());
}

TEST_CASE("query_huge_page_size: the page is bounded by rows and by bytes") {
  TestServerOptions options;
  options.service.pages.rows_max = 10;
  options.service.pages.bytes_max = 3000;
  TestServer server(options);
  for (int i = 0; i < 12; ++i) {
    CreateInstanceRequest request;
    request.set_name("o");
    request.mutable_input()->set_value(std::string(1000, 'x'));
    CreateInstanceResponse response;
    REQUIRE(server.stub().StartInstance(NewContext().get(), request, &response).ok());
  }
  InstanceQuery query;
  query.set_maxinstancecount(std::numeric_limits<int32_t>::max());
  CHECK(Query(server, query).orchestrationstate_size() == 10);
  query.set_fetchinputsandoutputs(true);
  const QueryInstancesResponse page = Query(server, query);
  CHECK(page.orchestrationstate_size() == 3);
  CHECK(page.orchestrationstate(0).input().value().size() == 1000);
  CHECK(page.has_continuationtoken());

  // With the limits as they are by default, no page is larger than what clients take.
  TestServer usual;
  for (int i = 0; i < 12; ++i) {
    CreateInstanceRequest request;
    request.set_name("o");
    request.mutable_input()->set_value(std::string(700 << 10, 'x'));
    CreateInstanceResponse response;
    REQUIRE(usual.stub().StartInstance(NewContext().get(), request, &response).ok());
  }
  int seen = 0;
  do {
    const QueryInstancesResponse part = Query(usual, query);
    CHECK(part.ByteSizeLong() < 4 << 20);
    seen += part.orchestrationstate_size();
    *query.mutable_continuationtoken() = part.continuationtoken();
  } while (!query.continuationtoken().value().empty());
  CHECK(seen == 12);
}

TEST_CASE("query_filters: status, prefix, times, and another hub") {
  TestServerOptions options;
  options.service.hubs.create_unknown = true;
  TestServer server(options);
  FakeWorker worker(server.stub());
  Complete(server, worker, "done");
  server.Start("o", "running");
  const std::optional<WorkItem> item = worker.Next();
  REQUIRE(worker.Complete(*item, {}).ok());
  server.Start("o", "elsewhere", {{"taskhub", "other"}});
  InstanceQuery query;
  CHECK(IdsOf(Query(server, query)) == std::vector<std::string>{"done", "running"});
  query.add_runtimestatus(ORCHESTRATION_STATUS_COMPLETED);
  CHECK(IdsOf(Query(server, query)) == std::vector<std::string>{"done"});
  CHECK_FALSE(Query(server, query).orchestrationstate(0).has_output());
  query.set_fetchinputsandoutputs(true);
  CHECK(Query(server, query).orchestrationstate(0).output().value() == "\"done\"");
  query.Clear();
  query.mutable_instanceidprefix()->set_value("run");
  CHECK(IdsOf(Query(server, query)) == std::vector<std::string>{"running"});
  const auto created = server.Get("running").orchestrationstate().createdtimestamp();
  query.Clear();
  *query.mutable_createdtimefrom() = created;
  CHECK(IdsOf(Query(server, query)) == std::vector<std::string>{"running"});
  query.Clear();
  *query.mutable_createdtimeto() = created;
  CHECK(IdsOf(Query(server, query)) == std::vector<std::string>{"done"});
}

TEST_CASE("java_page_loop: ends, and shows every id once") {
  TestServer server;
  FakeWorker worker(server.stub());
  for (int i = 0; i < 7; ++i) Complete(server, worker, absl::StrCat("i", i));
  ListInstanceIdsRequest request;
  request.set_pagesize(3);
  request.mutable_lastinstancekey()->set_value("");  // as Java begins
  std::multiset<std::string> ids;
  bool more = true;
  while (more) {
    REQUIRE(ids.size() <= 7);
    const ListInstanceIdsResponse response = List(server, request);
    ids.insert(response.instanceids().begin(), response.instanceids().end());
    more = response.has_lastinstancekey();
    *request.mutable_lastinstancekey() = response.lastinstancekey();
  }
  CHECK(ids == std::multiset<std::string>{"i0", "i1", "i2", "i3", "i4", "i5", "i6"});
}

TEST_CASE(
    "list_ids_dotnet: grpc-dotnet pages until a page is empty, others until there is no key") {
  TestServer server;
  FakeWorker worker(server.stub());
  for (int i = 0; i < 3; ++i) Complete(server, worker, absl::StrCat("i", i));
  const auto stub = TaskHubSidecarService::NewStub(
      server.NewChannel("grpc-dotnet/2.84.0 (.NET 10.0.12; CLR 10.0.12; net10.0; linux; x64)"));
  ListInstanceIdsRequest request;
  request.set_pagesize(2);
  const auto page = [&] {
    ListInstanceIdsResponse response;
    REQUIRE(stub->ListInstanceIds(NewContext().get(), request, &response).ok());
    *request.mutable_lastinstancekey() = response.lastinstancekey();
    return response;
  };
  CHECK(page().instanceids_size() == 2);
  const ListInstanceIdsResponse last = page();
  CHECK(last.instanceids_size() == 1);
  CHECK(last.has_lastinstancekey());
  const ListInstanceIdsResponse empty = page();
  CHECK(empty.instanceids_size() == 0);
  CHECK_FALSE(empty.has_lastinstancekey());
}

TEST_CASE("list_ids: ended ones only, by completion time; the token contains an id") {
  TestServer server;
  FakeWorker worker(server.stub());
  // Created in one order, ended in the other.
  server.Start("o", "a");
  const std::optional<WorkItem> a = worker.Next();
  Complete(server, worker, "b");
  REQUIRE(worker.Complete(*a, {CompleteAction(0, "")}).ok());
  server.Start("o", "running");
  ListInstanceIdsRequest request;
  request.set_pagesize(1);
  ListInstanceIdsResponse response = List(server, request);
  REQUIRE(response.instanceids_size() == 1);
  CHECK(response.instanceids(0) == "b");
  CHECK(response.lastinstancekey().value().find("b") != std::string::npos);
  *request.mutable_lastinstancekey() = response.lastinstancekey();
  response = List(server, request);
  REQUIRE(response.instanceids_size() == 1);
  CHECK(response.instanceids(0) == "a");
  CHECK_FALSE(response.has_lastinstancekey());

  const auto completed = server.Get("a").orchestrationstate().completedtimestamp();
  request.Clear();
  *request.mutable_completedtimefrom() = completed;
  response = List(server, request);
  REQUIRE(response.instanceids_size() == 1);
  CHECK(response.instanceids(0) == "a");
  request.Clear();
  *request.mutable_completedtimeto() = completed;
  response = List(server, request);
  REQUIRE(response.instanceids_size() == 1);
  CHECK(response.instanceids(0) == "b");
}

PurgeInstancesResponse Purge(TestServer& server, const PurgeInstancesRequest& request) {
  PurgeInstancesResponse response;
  const grpc::Status status = server.stub().PurgeInstances(NewContext().get(), request, &response);
  INFO(status.error_message());
  REQUIRE(status.ok());
  REQUIRE(response.has_iscomplete());
  return response;
}

TEST_CASE("paging_while_deleting: none skipped, none twice") {
  TestServer server;
  FakeWorker worker(server.stub());
  for (int i = 0; i < 10; ++i) Complete(server, worker, absl::StrCat("i", i));
  InstanceQuery query;
  query.set_maxinstancecount(3);
  std::vector<std::string> ids;
  while (true) {
    const QueryInstancesResponse page = Query(server, query);
    // What has been shown goes, the last of it too, to which the token points.
    for (const std::string& id : IdsOf(page)) {
      ids.push_back(id);
      PurgeInstancesRequest purge;
      purge.set_instanceid(id);
      CHECK(Purge(server, purge).deletedinstancecount() == 1);
    }
    if (!page.has_continuationtoken()) break;
    *query.mutable_continuationtoken() = page.continuationtoken();
  }
  CHECK(ids ==
        std::vector<std::string>{"i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9"});
}

TEST_CASE("purge_by_id: ended ones only, and their ended descendants if asked for") {
  TestServer server;
  FakeWorker worker(server.stub());
  PurgeInstancesRequest request;
  request.set_instanceid("parent");
  CHECK(Purge(server, request).deletedinstancecount() == 0);  // missing
  server.Start("o", "parent");
  std::optional<WorkItem> parent = worker.Next();
  CHECK(Purge(server, request).deletedinstancecount() == 0);  // live
  REQUIRE(worker.Complete(*parent, {ChildAction(0, "child", "kid")}).ok());
  const std::optional<WorkItem> kid = worker.Next();
  REQUIRE(worker.Complete(*kid, {CompleteAction(0, "")}).ok());
  parent = worker.Next();
  REQUIRE(worker.Complete(*parent, {CompleteAction(1, "")}).ok());
  request.set_recursive(true);
  PurgeInstancesResponse response = Purge(server, request);
  CHECK(response.deletedinstancecount() == 2);
  CHECK(response.iscomplete().value());
  CHECK_FALSE(server.Get("kid").exists());

  server.Start("o", "parent");
  REQUIRE(worker.Complete(worker.Next().value(), {ChildAction(0, "child", "kid")}).ok());
  REQUIRE(worker.Complete(worker.Next().value(), {CompleteAction(0, "")}).ok());
  REQUIRE(worker.Complete(worker.Next().value(), {CompleteAction(1, "")}).ok());
  request.set_recursive(false);
  CHECK(Purge(server, request).deletedinstancecount() == 1);
  CHECK(server.Get("kid").exists());

  Complete(server, worker, "alone");
  request.Clear();
  request.mutable_instancebatch()->add_instanceids("alone");
  request.mutable_instancebatch()->add_instanceids("nobody");
  CHECK(Purge(server, request).deletedinstancecount() == 1);
}

TEST_CASE("purge_by_filter: ended ones in the range, and what a time-out leaves the next time") {
  // Each batch deletes one and takes a while.
  class OneByOne : public ForwardingStore {
   public:
    using ForwardingStore::ForwardingStore;
    void PurgeInstances(PurgeRequest request, Callback<PurgeResult> done) override {
      request.max_instances = 1;
      ForwardingStore::PurgeInstances(std::move(request), std::move(done));
    }
  };
  TestServerOptions options;
  options.wrap_store = [](Store* store) { return std::make_unique<OneByOne>(store); };
  TestServer server(options);
  FakeWorker worker(server.stub());
  for (int i = 0; i < 5; ++i) Complete(server, worker, absl::StrCat("i", i));
  server.Start("o", "live");
  PurgeInstancesRequest request;
  PurgeInstanceFilter* filter = request.mutable_purgeinstancefilter();
  *filter->mutable_createdtimefrom() = server.Get("i1").orchestrationstate().createdtimestamp();
  *filter->mutable_createdtimeto() = server.Get("i2").orchestrationstate().createdtimestamp();
  CHECK(Purge(server, request).deletedinstancecount() == 1);
  CHECK_FALSE(server.Get("i1").exists());
  filter->Clear();
  filter->add_runtimestatus(ORCHESTRATION_STATUS_RUNNING);
  CHECK(Purge(server, request).deletedinstancecount() == 0);
  filter->Clear();
  filter->mutable_timeout()->set_nanos(1);
  PurgeInstancesResponse response = Purge(server, request);
  CHECK(response.deletedinstancecount() == 1);
  CHECK_FALSE(response.iscomplete().value());
  filter->Clear();
  response = Purge(server, request);
  CHECK(response.deletedinstancecount() == 3);
  CHECK(response.iscomplete().value());
  CHECK(server.Get("live").exists());
}

TEST_CASE("purge_malformed: nothing named, too many ids, a negative time-out") {
  TestServer server;
  const auto error = [&](const PurgeInstancesRequest& request) {
    PurgeInstancesResponse response;
    const grpc::Status status =
        server.stub().PurgeInstances(NewContext().get(), request, &response);
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  };
  PurgeInstancesRequest request;
  CHECK(error(request).find("instanceBatch") != std::string::npos);
  for (int i = 0; i < 501; ++i) request.mutable_instancebatch()->add_instanceids("i");
  CHECK(error(request) == "instanceBatch has 501 ids, the limit is 500: send several batches");
  request.mutable_purgeinstancefilter()->mutable_timeout()->set_seconds(-1);
  CHECK(error(request).find("timeout is -1 s") == 0);
  request.set_instanceid("");
  CHECK(error(request).find("instanceId") != std::string::npos);
}

}  // namespace
}  // namespace dt::testing
