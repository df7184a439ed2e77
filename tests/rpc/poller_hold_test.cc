// PollerHold leaves a server that answers, whatever gRPC is like (server/rpc/poller_hold.h).
#include "server/rpc/poller_hold.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/grpcpp.h"
#include "tests/support/catch.h"
#include "tests/support/log_capture.h"

namespace dt::rpc {
namespace {

constexpr int kPollersMax = 16;  // of gRPC 1.51

// Answers every call by UNIMPLEMENTED, as a callback on a poller.
class BareServer {
 public:
  BareServer() {
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(&service_);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  ~BareServer() { server_->Shutdown(); }
  grpc::Server& server() { return *server_; }

  // Ends the program if it does not answer: nobody would ever end the call.
  void MustAnswer() {
    grpc::GenericStub stub(server_->InProcessChannel(grpc::ChannelArguments()));
    grpc::ClientContext context;
    const grpc::ByteBuffer request(nullptr, 0);
    grpc::ByteBuffer response;
    absl::Notification answered;
    stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request,
                   &response, [&answered](const grpc::Status&) { answered.Notify(); });
    if (answered.WaitForNotificationWithTimeout(absl::Seconds(20))) return;
    std::fprintf(stderr, "no poller is left\n");
    std::abort();
  }

 private:
  grpc::CallbackGenericService service_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_CASE("poller_hold_knows_only_the_version_that_it_was_written_for") {
  CHECK(PollerHold::Knows("1.51.1").ok());
  CHECK(PollerHold::Knows(grpc::Version()).ok());  // of the build
  CHECK_FALSE(PollerHold::Knows("1.5.1").ok());
  CHECK_FALSE(PollerHold::Knows("1.510.0").ok());
  CHECK_FALSE(PollerHold::Knows("2.51.1").ok());
  CHECK(absl::StrContains(PollerHold::Knows("1.60.0").message(), "gRPC 1.60.0"));
}

TEST_CASE("poller_hold_never_holds_the_last_poller") {
  testing::LogCapture log;
  BareServer server;
  std::vector<std::unique_ptr<PollerHold>> holds;
  do {
    REQUIRE(holds.size() <= kPollersMax);
    holds.push_back(std::make_unique<PollerHold>(server.server(), absl::Seconds(1)));
  } while (holds.back()->holds());
  server.MustAnswer();
  CHECK(log.Count("GenericWarning (304): no second polling thread") == 1);
  holds.clear();
  server.MustAnswer();
}

}  // namespace
}  // namespace dt::rpc
