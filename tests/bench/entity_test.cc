// dtbench's entity without a server: what it counts, and what it refuses.
#include "tests/bench/entity.h"

#include <string>

#include "tests/bench/payload.h"
#include "tests/support/catch.h"

namespace dt::bench {
namespace {

EntityRequest BatchOf(std::initializer_list<uint64_t> signals, uint64_t call) {
  EntityRequest request;
  request.set_instanceid("@dtbenchentity@one");
  for (const uint64_t value : signals) {
    EntityOperationSignaledEvent* signal =
        request.add_operationrequests()->mutable_entityoperationsignaled();
    signal->set_operation(std::string(kOperationName));
    signal->mutable_input()->set_value(EncodeValue(value, 22));
  }
  EntityOperationCalledEvent* called =
      request.add_operationrequests()->mutable_entityoperationcalled();
  called->set_operation(std::string(kOperationName));
  called->mutable_input()->set_value(EncodeValue(call, 30));
  return request;
}

bool IsRefused(const EntityRequest& request, const std::string& text) {
  EntityBatchResult result;
  const absl::Status status = RunEntity(request, result);
  INFO(status);
  CHECK(result.results_size() == request.operationrequests_size());
  for (const OperationResult& failed : result.results()) CHECK(failed.has_failure());
  CHECK(result.entitystate().value() == request.entitystate().value());
  return status.message().find(text) != std::string::npos;
}

TEST_CASE("an entity counts and sums over its batches, and answers each call") {
  EntityRequest request = BatchOf({1, 2}, 4);
  EntityBatchResult result;
  REQUIRE(RunEntity(request, result).ok());
  REQUIRE(result.results_size() == 3);
  CHECK_FALSE(result.results(0).success().has_result());
  CHECK(result.results(2).success().result().value() == EncodeValue(Mix(4), 30));
  EntityTotals totals;
  REQUIRE(DecodeTotals(result.entitystate().value(), totals));
  CHECK(totals.operations == 3);
  CHECK(totals.sum == 7);
  request = BatchOf({}, 8);
  *request.mutable_entitystate() = result.entitystate();
  REQUIRE(RunEntity(request, result).ok());
  REQUIRE(DecodeTotals(result.entitystate().value(), totals));
  CHECK(totals.operations == 4);
  CHECK(totals.sum == 15);
}

TEST_CASE("a batch with another state, operation, input or event fails in words") {
  EntityRequest request = BatchOf({1}, 2);
  request.mutable_entitystate()->set_value("3");
  CHECK(IsRefused(request, "state '3'"));
  request = BatchOf({1}, 2);
  request.mutable_operationrequests(1)->mutable_entityoperationcalled()->set_operation("other");
  CHECK(IsRefused(request, "operation 'other'"));
  request = BatchOf({1}, 2);
  request.mutable_operationrequests(0)->mutable_entityoperationsignaled()->clear_input();
  CHECK(IsRefused(request, "input ''"));
  request.mutable_operationrequests(0)->mutable_entitylockrequested();
  CHECK(IsRefused(request, "operation ''"));
}

TEST_CASE("ids of entities and requests say what they are about") {
  CHECK(EntityId("dtbench-1-2-77", 5) == "@dtbenchentity@dtbench-1-2-5");
  CHECK(EntityId("dtbench-1-2-77", 5) == EntityPrefix("dtbench-1-2-") + "5");
  const std::string id = RequestId("dtbench-1-2-77", 300);
  CHECK(id.size() == 36);
  CHECK(id[8] == '-');
  CHECK(id[23] == '-');
  uint64_t action = 0;
  REQUIRE(ActionOfRequest("dtbench-1-2-77", id, action));
  CHECK(action == 300);
  CHECK_FALSE(ActionOfRequest("dtbench-1-2-78", id, action));
  CHECK_FALSE(ActionOfRequest("dtbench-1-2-77", "", action));
}

}  // namespace
}  // namespace dt::bench
