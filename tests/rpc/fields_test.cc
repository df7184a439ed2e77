// Every text field of every request of a client, with the one character that PostgreSQL cannot
// keep: it is refused at the door, by its name, or it is kept as bytes.
#include <functional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// A method with a request that is right.
struct Rpc {
  std::string name;
  std::unique_ptr<Message> request;
  std::function<grpc::Status(const Message&)> call;
};

template <typename Request, typename Response>
Rpc Unary(Stub& stub, std::string name, const Request& request,
          grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*)) {
  return {
      std::move(name), std::make_unique<Request>(request), [&stub, method](const Message& sent) {
        Response response;
        return (stub.*method)(NewContext().get(), dynamic_cast<const Request&>(sent), &response);
      }};
}

std::vector<Rpc> Rpcs(Stub& stub) {
  CreateInstanceRequest start;
  start.set_name("o");
  StreamInstanceHistoryRequest history;
  history.set_instanceid("i");
  const auto of = [](auto request) {
    request.set_instanceid("i");
    return request;
  };
  RaiseEventRequest raise = of(RaiseEventRequest());
  raise.set_name("e");
  SkipGracefulOrchestrationTerminationsRequest skip;
  skip.mutable_instancebatch()->add_instanceids("i");
  PurgeInstancesRequest purge;
  purge.mutable_instancebatch()->add_instanceids("i");
  std::vector<Rpc> rpcs;
  rpcs.push_back(Unary(stub, "StartInstance", start, &Stub::StartInstance));
  rpcs.push_back(Unary(stub, "GetInstance", of(GetInstanceRequest()), &Stub::GetInstance));
  rpcs.push_back(
      Unary(stub, "WaitForInstanceStart", of(GetInstanceRequest()), &Stub::WaitForInstanceStart));
  rpcs.push_back(Unary(stub, "RaiseEvent", raise, &Stub::RaiseEvent));
  rpcs.push_back(
      Unary(stub, "TerminateInstance", of(TerminateRequest()), &Stub::TerminateInstance));
  rpcs.push_back(Unary(stub, "SuspendInstance", of(SuspendRequest()), &Stub::SuspendInstance));
  rpcs.push_back(Unary(stub, "ResumeInstance", of(ResumeRequest()), &Stub::ResumeInstance));
  rpcs.push_back(Unary(stub, "RewindInstance", of(RewindInstanceRequest()), &Stub::RewindInstance));
  rpcs.push_back(
      Unary(stub, "RestartInstance", of(RestartInstanceRequest()), &Stub::RestartInstance));
  rpcs.push_back(Unary(stub, "QueryInstances", QueryInstancesRequest(), &Stub::QueryInstances));
  rpcs.push_back(Unary(stub, "ListInstanceIds", ListInstanceIdsRequest(), &Stub::ListInstanceIds));
  rpcs.push_back(Unary(stub, "PurgeInstances", purge, &Stub::PurgeInstances));
  rpcs.push_back(Unary(stub, "SkipGracefulOrchestrationTerminations", skip,
                       &Stub::SkipGracefulOrchestrationTerminations));
  rpcs.push_back({"StreamInstanceHistory", std::make_unique<StreamInstanceHistoryRequest>(history),
                  [&stub](const Message& sent) {
                    const auto context = NewContext();
                    auto reader = stub.StreamInstanceHistory(
                        context.get(), dynamic_cast<const StreamInstanceHistoryRequest&>(sent));
                    for (::HistoryChunk chunk; reader->Read(&chunk);) {
                    }
                    return reader->Finish();
                  }});
  return rpcs;
}

// Calls `visit` with the path of each text field below `message`, while that one holds a NUL.
void ForEachText(Message& root, Message& message, const std::string& prefix,
                 const std::function<void(const std::string& path)>& visit) {
  const std::string nul("a\0b", 3);
  const Descriptor& type = *message.GetDescriptor();
  const auto& reflection = *message.GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string path = absl::StrCat(prefix, prefix.empty() ? "" : ".", field.name());
    const std::unique_ptr<Message> before(message.New());
    before->CopyFrom(message);
    if (field.type() == FieldDescriptor::TYPE_STRING) {
      if (field.is_repeated()) {
        reflection.AddString(&message, &field, nul);
      } else {
        reflection.SetString(&message, &field, nul);
      }
      visit(path);
    } else if (field.type() == FieldDescriptor::TYPE_MESSAGE) {
      Message& part = field.is_repeated() ? *reflection.AddMessage(&message, &field)
                                          : *reflection.MutableMessage(&message, &field);
      ForEachText(root, part, path, visit);
    }
    message.CopyFrom(*before);
  }
}

// What is stored as bytes, or not at all.
const std::set<std::string> kMayHoldNul = {
    "StartInstance.input.value",
    "StartInstance.parentTraceContext.spanID",
    "StartInstance.parentTraceContext.traceParent",
    "StartInstance.parentTraceContext.traceState.value",
    "StartInstance.executionId.value",  // one that is none is replaced
    "RaiseEvent.input.value",
    "TerminateInstance.output.value",
    "SuspendInstance.reason.value",
    "ResumeInstance.reason.value",
    "RewindInstance.reason.value",
    "SkipGracefulOrchestrationTerminations.reason.value",
    "QueryInstances.query.taskHubNames.value",  // compared, by the daemon
};

TEST_CASE("text_fields_with_nul: each is refused by its name, or kept as bytes") {
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("o", "i");
  std::set<std::string> kept;
  for (const Rpc& rpc : Rpcs(server.stub())) {
    ForEachText(*rpc.request, *rpc.request, "", [&](const std::string& path) {
      const grpc::Status status = rpc.call(*rpc.request);
      const std::string name = absl::StrCat(rpc.name, ".", path);
      INFO(name << ": " << status.error_code() << " " << status.error_message());
      if (status.error_code() == grpc::StatusCode::INVALID_ARGUMENT) {
        CHECK((absl::StrContains(status.error_message(), "U+0000") ||
               absl::StrContains(status.error_message(), "is no token of an earlier page")));
      } else {
        kept.insert(name);
        CHECK(kMayHoldNul.contains(name));
      }
    });
  }
  CHECK(kept == kMayHoldNul);
}

}  // namespace
}  // namespace dt::testing
