// Locks of entities as the dispatcher sees them, in one daemon and between two.
#include "tests/dispatch/entity_fixture.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

const std::string kA = "@counter@a";
const std::string kB = "@counter@b";

// Requests that wait stand a microsecond apart, and the clock stands still while workers run.
void RunOn(OneDaemon& one, const FakeStream& stream, const Functions& functions) {
  one.Pass(absl::Milliseconds(1), absl::Milliseconds(1));
  one.daemon.RunWorkers({stream}, functions);
}

TEST_CASE("lock_cross two orchestrations lock the same entities in other orders, and both end") {
  OneDaemon one;
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "x", "LockAdd", kA + "," + kB);
  one.daemon.Start(one.hub, "y", "LockAdd", kB + "," + kA);
  one.daemon.RunWorkers({stream}, functions);
  const std::string first = LockedBy(one, kA);
  REQUIRE((first == "x" || first == "y"));
  CHECK(LockedBy(one, kB) == first);
  one.daemon.Raise(one.hub, first, "go", "");
  RunOn(one, stream, functions);
  const std::string second = first == "x" ? "y" : "x";
  CHECK(one.Output(first) == "1,1");
  CHECK(LockedBy(one, kA) == second);
  CHECK(LockedBy(one, kB) == second);
  one.daemon.Raise(one.hub, second, "go", "");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output(second) == "2,2");
  CHECK(LockedBy(one, kA) == "");
}

TEST_CASE("lock_in_flight_batch a lock waits for the batch that runs, and holds up what follows") {
  OneDaemon one;
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Signal(one.hub, kA, "add", "10");
  one.daemon.Settle();
  const WorkItem running = stream.sink->Take().value();
  REQUIRE(running.has_entityrequestv2());
  one.daemon.Start(one.hub, "x", "LockAdd", kA);
  one.daemon.RunWorkers({stream}, functions);
  one.daemon.Signal(one.hub, kA, "add", "100");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(LockedBy(one, kA) == "");
  one.daemon.Answer(one.hub, RunBatch(functions, running));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(LockedBy(one, kA) == "x");
  CHECK(StateOf(one, kA) == "11");
  one.daemon.Raise(one.hub, "x", "go", "");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("x") == "11");
  CHECK(StateOf(one, kA) == "111");
}

TEST_CASE("owner_gone who waits for a lock gets it when its owner is terminated") {
  OneDaemon one;
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  for (const char* id : {"x", "y", "z"}) {
    one.daemon.Start(one.hub, id, "LockAdd", kA);
    one.daemon.RunWorkers({stream}, functions);
  }
  REQUIRE(LockedBy(one, kA) == "x");
  const std::string gone = GENERATE(std::string("x"), std::string("y"));
  one.daemon.Terminate(one.hub, gone, "enough");
  RunOn(one, stream, functions);
  const std::string next = gone == "x" ? "y" : "x";
  CHECK(LockedBy(one, kA) == next);
  one.daemon.Raise(one.hub, next, "go", "");
  RunOn(one, stream, functions);
  CHECK(LockedBy(one, kA) == "z");
  one.daemon.Raise(one.hub, "z", "go", "");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("z") == (gone == "x" ? "3" : "2"));  // "x" had added 1 before it went
  CHECK(LockedBy(one, kA) == "");
}

TEST_CASE("lock_held_release a blocked entity rests, and comes back by what its owner sends") {
  OneDaemon one;
  const Functions functions = EntityFunctions(one.clock);
  FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "x", "LockAdd", kA);
  one.daemon.RunWorkers({stream}, functions);
  one.daemon.Signal(one.hub, kA, "add", "100");
  one.daemon.RunWorkers({stream}, functions);
  const int64_t claims = one.database.Count().claims;
  one.Pass(absl::Minutes(10), absl::Seconds(1));
  CHECK(one.database.LeaseOf(one.hub, kA) == 0);
  CHECK(stream.sink->waiting() == 0);
  // It is not claimed again and again, though a message waits for it: what is left is polling.
  CHECK(one.database.Count().claims - claims < 3 * 600 / 2);
  one.daemon.Raise(one.hub, "x", "go", "");
  one.daemon.RunWorkers({stream}, functions);
  one.Pass(absl::Seconds(10), absl::Seconds(1));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("x") == "1");
  CHECK(StateOf(one, kA) == "101");
}

TEST_CASE("dotnet_packages a hub with entities and .NET workers of both packages is warned of") {
  const LogCapture log;
  OneDaemon one;
  const Functions functions = EntityFunctions(one.clock);
  dispatch::StreamOptions plain;
  plain.library = dispatch::ClientLibrary::kDotnet;
  plain.sdk = "grpc-dotnet/2.71.0";
  dispatch::StreamOptions managed = plain;
  managed.sdk = "durabletask-dotnet/1.10.0 (DurableTaskWorker)";
  const FakeStream first = one.daemon.Open(one.hub, plain);
  one.daemon.Signal(one.hub, kA, "add", "1");
  one.daemon.RunWorkers({first}, functions);
  CHECK_FALSE(log.Has("both packages"));
  const FakeStream second = one.daemon.Open(one.hub, managed);
  for (int i = 0; i < 3; ++i) {
    one.daemon.Signal(one.hub, kA, "add", "1");
    one.daemon.RunWorkers({first, second}, functions);
  }
  CHECK(log.Count("both packages") == 1);
}

}  // namespace
}  // namespace dt::testing
