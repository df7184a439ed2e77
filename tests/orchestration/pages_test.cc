// Lists of instances: requests, tokens and answers (RULES.md 5.2, 5.3, 5.23-5.25).
#include "server/orchestration/pages.h"

#include <limits>

#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

absl::StatusOr<InstanceSearch> Query(const InstanceQuery& query) {
  return BuildQuery(query, 7, {}, {});
}

InstancePage PageOf(const std::string& last_id, bool more) {
  InstancePage page;
  page.rows.resize(2);
  page.rows[1].instance_id = last_id;
  page.rows[1].created_at = absl::FromUnixMicros(1'234'567'890'123'456);
  page.rows[1].completed_at = absl::FromUnixMicros(-5);
  page.more = more;
  return page;
}

TEST_CASE("query_request_defaults: empty fields mean unset") {
  InstanceQuery query;
  query.mutable_continuationtoken();
  query.mutable_instanceidprefix();
  query.add_taskhubnames()->set_value("ignored");
  const auto search = Query(query);
  REQUIRE(search.ok());
  CHECK(search->hub == 7);
  CHECK(search->statuses == 0);
  CHECK_FALSE(search->from.has_value());
  CHECK_FALSE(search->to.has_value());
  CHECK_FALSE(search->after.has_value());
  CHECK(search->id_prefix.empty());
  CHECK(search->max_rows == 100);
  CHECK_FALSE(search->payloads);
}

TEST_CASE("query_request_page_size: bounded, whatever is asked for") {
  InstanceQuery query;
  query.set_maxinstancecount(std::numeric_limits<int32_t>::max());
  CHECK(Query(query)->max_rows == 1000);
  query.set_maxinstancecount(-1);
  CHECK(Query(query)->max_rows == 100);
  query.set_maxinstancecount(5);
  CHECK(Query(query)->max_rows == 5);
}

TEST_CASE("query_request_times: bounds are rounded up to microseconds") {
  InstanceQuery query;
  query.mutable_createdtimefrom()->set_seconds(10);
  query.mutable_createdtimefrom()->set_nanos(1);
  query.mutable_createdtimeto()->set_seconds(11);
  CHECK(Query(query)->from == absl::FromUnixMicros(10'000'001));
  CHECK(Query(query)->to == absl::FromUnixSeconds(11));
}

TEST_CASE("query_request_malformed: each field is named") {
  const auto error = [](const InstanceQuery& query) {
    const auto search = Query(query);
    CHECK(search.status().code() == absl::StatusCode::kInvalidArgument);
    return std::string(search.status().message());
  };
  InstanceQuery query;
  query.add_runtimestatus(static_cast<OrchestrationStatus>(99));
  CHECK(error(query) == "runtimeStatus contains the unknown status 99");
  query.Clear();
  query.mutable_createdtimeto()->set_nanos(-1);
  CHECK(error(query).find("createdTimeTo is 0 s and -1 ns") == 0);
  query.Clear();
  query.mutable_instanceidprefix()->set_value(std::string(513, 'x'));
  CHECK(error(query).find("instanceIdPrefix") != std::string::npos);
  query.Clear();
  // No base64, "123", a time that is none, and "01:a", which no page answers.
  for (const char* token : {"?", "MTIz", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OmE", "MDE6YQ"}) {
    query.mutable_continuationtoken()->set_value(token);
    CHECK(error(query).find("continuationToken (") == 0);
  }
  query.mutable_continuationtoken()->set_value("LTE6YQ");
  CHECK(Query(query)->after->time == absl::FromUnixMicros(-1));

  ListInstanceIdsRequest list;
  list.mutable_lastinstancekey()->set_value("12:");
  CHECK(BuildList(list, 7, {}, {}).status().message().find("lastInstanceKey (3 bytes)") == 0);
}

TEST_CASE("query_tokens: come back as the position after which the next page begins") {
  const std::string id = "a:b \xC3\xA4";
  QueryInstancesResponse answer;
  FillQueryResponse(PageOf(id, true), false, answer);
  REQUIRE(answer.has_continuationtoken());
  InstanceQuery query;
  *query.mutable_continuationtoken() = answer.continuationtoken();
  auto search = Query(query);
  REQUIRE(search.ok());
  CHECK(search->after->instance_id == id);
  CHECK(search->after->time == absl::FromUnixMicros(1'234'567'890'123'456));

  ListInstanceIdsResponse list;
  FillListResponse(PageOf(id, true), /*until_empty=*/false, list);
  CHECK(list.lastinstancekey().value() == "-5:" + id);
  ListInstanceIdsRequest next;
  *next.mutable_lastinstancekey() = list.lastinstancekey();
  search = BuildList(next, 7, {}, {});
  REQUIRE(search.ok());
  CHECK(search->after->instance_id == id);
  CHECK(search->after->time == absl::FromUnixMicros(-5));
  CHECK(search->by_completion);

  answer.Clear();
  FillQueryResponse(PageOf(id, false), false, answer);
  CHECK_FALSE(answer.has_continuationtoken());
  list.Clear();
  FillListResponse(PageOf(id, false), /*until_empty=*/false, list);
  CHECK_FALSE(list.has_lastinstancekey());

  // The .NET SDK's export job pages on until a page is empty.
  FillListResponse(PageOf(id, false), /*until_empty=*/true, list);
  CHECK(list.lastinstancekey().value() == "-5:" + id);
  list.Clear();
  FillListResponse(InstancePage(), /*until_empty=*/true, list);
  CHECK_FALSE(list.has_lastinstancekey());
}

}  // namespace
}  // namespace dt::orchestration
