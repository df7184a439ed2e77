// StreamInstanceHistory (RULES.md 5.32-5.34).
#include <functional>
#include <thread>

#include "absl/time/clock.h"
#include "server/rpc/history_pages.h"
#include "tests/rpc/held_reads.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

struct History {
  std::vector<HistoryEvent> events;
  std::vector<size_t> chunk_bytes;
  grpc::Status end;
};

History ReadHistory(Stub& stub, const StreamInstanceHistoryRequest& request) {
  History history;
  const std::unique_ptr<grpc::ClientContext> context = NewContext();
  const auto reader = stub.StreamInstanceHistory(context.get(), request);
  for (::HistoryChunk chunk; reader->Read(&chunk);) {
    history.chunk_bytes.push_back(chunk.ByteSizeLong());
    for (HistoryEvent& event : *chunk.mutable_events()) history.events.push_back(std::move(event));
  }
  history.end = reader->Finish();
  return history;
}

History ReadHistory(Stub& stub, const std::string& instance_id) {
  StreamInstanceHistoryRequest request;
  request.set_instanceid(instance_id);
  return ReadHistory(stub, request);
}

WorkItem NextItem(FakeWorker& worker) {
  std::optional<WorkItem> item = worker.Next();
  REQUIRE(item.has_value());
  return *std::move(item);
}

TEST_CASE("client_history_exact: one activity, one timer, one child are exactly twelve events") {
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("parent", "i");
  REQUIRE(worker.Complete(NextItem(worker), {ScheduleAction(1, "a", "1")}).ok());
  REQUIRE(worker.CompleteActivity(NextItem(worker), "2").ok());
  REQUIRE(worker.Complete(NextItem(worker), {TimerAction(2, absl::Now() + absl::Milliseconds(20))})
              .ok());
  REQUIRE(worker.Complete(NextItem(worker), {ChildAction(3, "child", "c")}).ok());
  const WorkItem child = NextItem(worker);
  REQUIRE(child.orchestratorrequest().instanceid() == "c");
  REQUIRE(worker.Complete(child, {CompleteAction(0, "3")}).ok());
  REQUIRE(worker.Complete(NextItem(worker), {CompleteAction(4, "4")}).ok());

  const History history = ReadHistory(server.stub(), "i");
  REQUIRE(history.end.ok());
  const std::vector<HistoryEvent::EventTypeCase> expected = {
      HistoryEvent::kOrchestratorStarted,
      HistoryEvent::kExecutionStarted,
      HistoryEvent::kTaskScheduled,
      HistoryEvent::kOrchestratorStarted,
      HistoryEvent::kTaskCompleted,
      HistoryEvent::kTimerCreated,
      HistoryEvent::kOrchestratorStarted,
      HistoryEvent::kTimerFired,
      HistoryEvent::kSubOrchestrationInstanceCreated,
      HistoryEvent::kOrchestratorStarted,
      HistoryEvent::kSubOrchestrationInstanceCompleted,
      HistoryEvent::kExecutionCompleted};
  std::vector<HistoryEvent::EventTypeCase> types;
  int last_id = -1;
  for (const HistoryEvent& event : history.events) {
    types.push_back(event.eventType_case());
    CHECK(event.has_timestamp());
    if (event.eventid() < 0) continue;
    CHECK(event.eventid() > last_id);
    last_id = event.eventid();
  }
  CHECK(types == expected);
}

TEST_CASE("history_missing: NOT_FOUND, also for an execution that is not current") {
  TestServer server;
  CHECK(ReadHistory(server.stub(), "nobody").end.error_code() == grpc::StatusCode::NOT_FOUND);
  server.Start("o", "i");
  // Not started yet: no events, and no error.
  const History none = ReadHistory(server.stub(), "i");
  CHECK(none.end.ok());
  CHECK(none.events.empty());
  StreamInstanceHistoryRequest request;
  request.set_instanceid("i");
  request.mutable_executionid()->set_value("0123456789abcdef0123456789abcdef");
  CHECK(ReadHistory(server.stub(), request).end.error_code() == grpc::StatusCode::NOT_FOUND);
  request.mutable_executionid()->set_value(std::string(65, 'e'));
  CHECK(ReadHistory(server.stub(), request).end.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  request.Clear();
  CHECK(ReadHistory(server.stub(), request).end.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("history_chunks: at most 256 KiB each, or one larger event, over several pages") {
  TestServerOptions options;
  options.service.history.page_bytes = 300 << 10;
  TestServer server(options);
  FakeWorker worker(server.stub());
  server.Start("o", "i");
  const std::string payload(100 << 10, 'x');
  for (int turn = 0; turn < 8; ++turn) {
    const std::string input = turn == 4 ? std::string(600 << 10, 'y') : payload;
    REQUIRE(worker.Complete(NextItem(worker), {ScheduleAction(turn, "a", input)}).ok());
    REQUIRE(worker.CompleteActivity(NextItem(worker), payload).ok());
  }
  const History history = ReadHistory(server.stub(), "i");
  REQUIRE(history.end.ok());
  CHECK(history.events.size() == 25 - 1);  // 8 turns; the last result waits for its turn
  int larger = 0;
  for (const size_t bytes : history.chunk_bytes) larger += bytes > (256 << 10) ? 1 : 0;
  CHECK(larger == 1);
  CHECK(history.chunk_bytes.size() > 6);
}

TEST_CASE("history_of_turn: a worker gets the past events of its turn, and only in flight") {
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("o", "i");
  REQUIRE(worker.Complete(NextItem(worker), {ScheduleAction(1, "a", "1")}).ok());
  REQUIRE(worker.CompleteActivity(NextItem(worker), "2").ok());
  const WorkItem item = NextItem(worker);
  StreamInstanceHistoryRequest request;
  request.set_instanceid("i");
  request.set_forworkitemprocessing(true);
  *request.mutable_executionid() = item.orchestratorrequest().executionid();
  const History history = ReadHistory(server.stub(), request);
  REQUIRE(history.end.ok());
  REQUIRE(history.events.size() ==
          static_cast<size_t>(item.orchestratorrequest().pastevents_size()));
  for (size_t i = 0; i < history.events.size(); ++i) {
    CHECK(history.events[i].SerializeAsString() ==
          item.orchestratorrequest().pastevents(static_cast<int>(i)).SerializeAsString());
  }
  request.mutable_executionid()->set_value("0123456789abcdef0123456789abcdef");
  CHECK(ReadHistory(server.stub(), request).end.error_code() == grpc::StatusCode::NOT_FOUND);
  REQUIRE(worker.Complete(item, {CompleteAction(2, "1")}).ok());
  *request.mutable_executionid() = item.orchestratorrequest().executionid();
  CHECK(ReadHistory(server.stub(), request).end.error_code() == grpc::StatusCode::NOT_FOUND);
}

// A worker in the middle of a turn whose past has these many bytes and more.
struct LargePast {
  LargePast(TestServer& server, bool streaming, size_t bytes)
      : stub(TaskHubSidecarService::NewStub(server.NewChannel())) {
    GetWorkItemsRequest request;
    if (streaming) request.add_capabilities(WORKER_CAPABILITY_HISTORY_STREAMING);
    worker = std::make_unique<FakeWorker>(*stub, request);
    server.Start("o", "large");
    const std::string payload(100 << 10, 'x');
    item = NextItem(*worker);
    for (int turn = 0; turn * payload.size() < bytes; ++turn) {
      REQUIRE(worker->Complete(item, {ScheduleAction(turn, "a", payload)}).ok());
      REQUIRE(worker->CompleteActivity(NextItem(*worker), "1").ok());
      item = NextItem(*worker);
    }
  }
  StreamInstanceHistoryRequest Request() const {
    StreamInstanceHistoryRequest request;
    request.set_instanceid("large");
    request.set_forworkitemprocessing(true);
    *request.mutable_executionid() = item.orchestratorrequest().executionid();
    return request;
  }

  std::unique_ptr<Stub> stub;
  std::unique_ptr<FakeWorker> worker;
  WorkItem item;
};

TEST_CASE("history_1mib: a streaming worker takes a large history in chunks, exactly as it is") {
  TestServer server;
  LargePast past(server, /*streaming=*/true, 5 << 20);
  CHECK(past.item.orchestratorrequest().requireshistorystreaming());
  CHECK(past.item.orchestratorrequest().pastevents().empty());
  CHECK(past.item.ByteSizeLong() < 1000);
  const History streamed = ReadHistory(server.stub(), past.Request());
  REQUIRE(streamed.end.ok());
  for (const size_t bytes : streamed.chunk_bytes) CHECK(bytes <= 256 << 10);
  CHECK(streamed.chunk_bytes.size() >= 20);
  // A client gets the same, which is read from the store.
  const History stored = ReadHistory(server.stub(), "large");
  REQUIRE(stored.end.ok());
  REQUIRE(streamed.events.size() == stored.events.size());
  for (size_t i = 0; i < stored.events.size(); ++i) {
    CHECK(streamed.events[i].SerializeAsString() == stored.events[i].SerializeAsString());
  }
}

TEST_CASE("history_4mib: a worker that does not stream gets all of it in one item") {
  TestServer server;
  LargePast past(server, /*streaming=*/false, 5 << 20);
  CHECK_FALSE(past.item.orchestratorrequest().requireshistorystreaming());
  CHECK(past.item.ByteSizeLong() > 5 << 20);
  const History stored = ReadHistory(server.stub(), "large");
  REQUIRE(past.item.orchestratorrequest().pastevents_size() ==
          static_cast<int>(stored.events.size()));
  for (size_t i = 0; i < stored.events.size(); ++i) {
    CHECK(past.item.orchestratorrequest().pastevents(static_cast<int>(i)).SerializeAsString() ==
          stored.events[i].SerializeAsString());
  }
}

TEST_CASE("history_cancelled: who leaves in the middle of a history holds nothing up") {
  TestServerOptions options;
  options.service.history.chunk_bytes_max = 1024;
  TestServer server(options);
  LargePast past(server, /*streaming=*/true, 8 << 20);
  StreamInstanceHistoryRequest of_client;
  of_client.set_instanceid("large");
  for (const StreamInstanceHistoryRequest& request : {past.Request(), of_client}) {
    const std::unique_ptr<grpc::ClientContext> context = NewContext();
    const auto reader = server.stub().StreamInstanceHistory(context.get(), request);
    ::HistoryChunk chunk;
    REQUIRE(reader->Read(&chunk));
    context->TryCancel();
    while (reader->Read(&chunk)) {
    }
    CHECK(reader->Finish().error_code() == grpc::StatusCode::CANCELLED);
  }
  CHECK(ReadHistory(server.stub(), past.Request()).end.ok());
  REQUIRE(past.worker->Complete(past.item, {CompleteAction(1000, "1")}).ok());
  CHECK(ReadHistory(server.stub(), past.Request()).end.error_code() == grpc::StatusCode::NOT_FOUND);
  // Shutdown waits for every reactor, so one that is left would hang here.
  past.worker->Cancel();
  const absl::Time before = absl::Now();
  server.server().Shutdown(kPatience);
  CHECK(absl::Now() - before < kPatience / 2);
}

// A history of a few pages, each a turn with a large input, whose next read is held when it is
// asked for, and which continues as new meanwhile.
struct ContinuedHistory {
  ContinuedHistory() : server(Options()), worker(server.stub()) {
    server.Start("o", "i");
    for (int turn = 0; turn < 3; ++turn) {
      REQUIRE(worker.Complete(NextItem(worker), {ScheduleAction(turn, "a", payload)}).ok());
      REQUIRE(worker.CompleteActivity(NextItem(worker), "1").ok());
    }
  }

  // Reads it all on a thread of its own, while its read that is held waits for this change.
  History ReadBeside(const std::function<void()>& change) {
    History history;
    std::thread reader([&] { history = ReadHistory(server.stub(), "i"); });
    const bool held = reads->AwaitHeld();
    if (held) change();
    if (held) reads->LetGo();
    reader.join();
    REQUIRE(held);
    return history;
  }
  void ContinueAsNew() {
    REQUIRE(worker
                .Complete(NextItem(worker),
                          {CompleteAction(9, "2", ORCHESTRATION_STATUS_CONTINUED_AS_NEW)})
                .ok());
    REQUIRE(worker.Complete(NextItem(worker), {ScheduleAction(1, "b", "of the next")}).ok());
  }

  TestServerOptions Options() {
    TestServerOptions options;
    options.service.history.page_bytes = 1;
    options.wrap_store = [this](Store* store) {
      auto held = std::make_unique<HeldReads>(store);
      reads = held.get();
      return held;
    };
    return options;
  }

  const std::string payload = std::string(10 << 10, 'x');
  HeldReads* reads = nullptr;
  TestServer server;
  FakeWorker worker;
};

TEST_CASE("history_continued_first: the first page is of the generation that is there then") {
  ContinuedHistory world;
  world.reads->HoldFirstPage();
  const History history = world.ReadBeside([&] { world.ContinueAsNew(); });
  INFO(history.end.error_message());
  CHECK(history.end.ok());
  REQUIRE(history.events.size() == 3);
  CHECK(history.events[2].taskscheduled().name() == "b");
}

TEST_CASE("history_continued_later: a generation that goes while it is read is ABORTED") {
  ContinuedHistory world;
  world.reads->HoldNextPage();
  const History history = world.ReadBeside([&] { world.ContinueAsNew(); });
  CHECK(history.end.error_code() == grpc::StatusCode::ABORTED);
  // What came of the first page is of the older generation alone.
  REQUIRE(history.events.size() == 3);
  CHECK(history.events[2].taskscheduled().name() == "a");
}

dt::HistoryChunk Stored(std::string bytes) {
  dt::HistoryChunk chunk;
  chunk.turn = 7;
  chunk.events = std::make_shared<const std::string>(std::move(bytes));
  return chunk;
}

// All messages of a history, and how it ended.
absl::StatusOr<std::vector<std::string>> PagesOf(std::vector<dt::HistoryChunk> history,
                                                 size_t bytes_max) {
  rpc::HistoryPager pager(std::move(history), bytes_max);
  std::vector<std::string> pages;
  while (true) {
    absl::StatusOr<std::optional<std::string>> page = pager.Next();
    if (!page.ok()) return page.status();
    if (!page->has_value()) return pages;
    pages.push_back(**std::move(page));
  }
}

TEST_CASE("history_pages: tags are changed, events are not, and bad bytes are an error") {
  const std::string small = std::string("\x1A\x02", 2) + "ab";
  const std::string large = std::string("\x1A\xAC\x02", 3) + std::string(300, 'z');
  const absl::StatusOr<std::vector<std::string>> pages =
      PagesOf({Stored(small + small), Stored(""), Stored(small + large + small)}, 12);
  REQUIRE(pages.ok());
  const std::string page = std::string("\x0A\x02", 2) + "ab";
  REQUIRE(pages->size() == 3);
  CHECK((*pages)[0] == page + page + page);
  CHECK((*pages)[1] == std::string("\x0A\xAC\x02", 3) + std::string(300, 'z'));
  CHECK((*pages)[2] == page);
  for (const std::string& bad :
       {std::string("\x0A\x01x"), std::string("\x1A\x05x"), std::string("\x1A"),
        std::string("\x1A\xFF\xFF\xFF\xFF\xFF\xFF\x01")}) {
    CHECK(PagesOf({Stored(bad)}, 100).status().code() == absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace dt::testing
