// Trace contexts pass through unchanged (RULES.md 8.1-8.4).

#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

TraceContext Trace(const std::string& parent) {
  TraceContext trace;
  trace.set_traceparent(parent);
  trace.mutable_tracestate()->set_value("");
  return trace;
}

OrchestratorResponse WithSpan(std::vector<OrchestratorAction> actions, const std::string& span) {
  OrchestratorResponse response = Response(std::move(actions));
  response.mutable_orchestrationtracecontext()->mutable_spanid()->set_value(span);
  *response.mutable_orchestrationtracecontext()->mutable_spanstarttime() = Seconds(999, 1);
  return response;
}

ActivityRequest TaskRequest(const Orchestration& order) {
  ActivityRequest request;
  REQUIRE(request.ParseFromString(*order.checkpoint.tasks.at(0).request));
  return request;
}

ExecutionStartedEvent ChildStart(const Orchestration& order) {
  return ParseEvent(*order.checkpoint.children.at(0).instance.started.event).executionstarted();
}

}  // namespace

TEST_CASE("trace_passthrough: byte for byte, valid or not") {
  const std::string own = GENERATE("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                   "no trace context at all", "");
  CreateInstanceRequest request = StartRequest();
  *request.mutable_parenttracecontext() = Trace(own);
  Orchestration order(request);
  OrchestratorAction task = Task(1, "A");
  *task.mutable_scheduletask()->mutable_parenttracecontext() = Trace("task " + own);
  OrchestratorAction child = Child(2, "kid", "Kid");
  *child.mutable_createsuborchestration()->mutable_parenttracecontext() = Trace("child " + own);
  order.Run({task, child});
  const auto events = ParseChunk(*order.checkpoint.history);
  const auto bytes = [](const TraceContext& trace) { return trace.SerializeAsString(); };
  CHECK(bytes(events[1].executionstarted().parenttracecontext()) == bytes(Trace(own)));
  CHECK(bytes(events[2].taskscheduled().parenttracecontext()) == bytes(Trace("task " + own)));
  CHECK(bytes(TaskRequest(order).parenttracecontext()) == bytes(Trace("task " + own)));
  CHECK(bytes(events[3].suborchestrationinstancecreated().parenttracecontext()) ==
        bytes(Trace("child " + own)));
  CHECK(bytes(ChildStart(order).parenttracecontext()) == bytes(Trace("child " + own)));
  CHECK(order.checkpoint.children[0].instance.trace_context == bytes(Trace("child " + own)));
}

TEST_CASE("trace_fallback: requests get the instance's context, the history none") {
  CreateInstanceRequest request = StartRequest();
  *request.mutable_parenttracecontext() = Trace("own");
  Orchestration order(request);
  order.Run({Task(1, "A"), Child(2, "kid", "Kid")});
  const auto events = ParseChunk(*order.checkpoint.history);
  CHECK_FALSE(events[2].taskscheduled().has_parenttracecontext());
  CHECK_FALSE(events[3].suborchestrationinstancecreated().has_parenttracecontext());
  CHECK(TaskRequest(order).parenttracecontext().traceparent() == "own");
  CHECK(ChildStart(order).parenttracecontext().traceparent() == "own");
}

TEST_CASE("trace_context_persisted: sent back each turn, cleared by ContinueAsNew") {
  Orchestration order;
  order.Request();
  CHECK_FALSE(order.ParsedRequest().has_orchestrationtracecontext());
  order.AnswerWith(WithSpan({}, "span-1"));
  const std::string expected = "spanID=\"span-1\" spanStartTime=999.000000001";
  for (const char* event : {"a", "b"}) {
    order.Raise(event);
    order.Request();
    CHECK(RenderFields(order.ParsedRequest().orchestrationtracecontext()) == expected);
    order.AnswerWith(WithSpan({}, ""));  // an empty span id changes nothing
    CHECK_FALSE(order.checkpoint.update);
  }
  order.Raise("c");
  order.Request();
  order.AnswerWith(WithSpan({ContinueAsNew("next")}, "span-2"));
  CHECK(order.checkpoint.update->orchestration_trace_context.kind ==
        Change<std::string>::Kind::kClear);
  order.Request();
  CHECK_FALSE(order.ParsedRequest().has_orchestrationtracecontext());
}

}  // namespace dt::orchestration
