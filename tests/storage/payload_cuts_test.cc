// How large values are cut out of serialized messages, and put back by SQL.
#include "storage/postgres/payload_cuts.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "storage/postgres/migrator.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

using postgres::CutMessage;
using postgres::CutPayloads;

// A field of bytes. Its length may take several bytes.
std::string Field(int number, const std::string& value) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  size_t length = value.size();
  for (; length >= 128; length >>= 7) out.push_back(static_cast<char>(length | 128));
  out.push_back(static_cast<char>(length));
  return out + value;
}

// A number of one byte.
std::string Number(int field, int value) {
  return {static_cast<char>(field << 3), static_cast<char>(value)};
}

const std::string kLargeValue(100, 'x');
const std::string kOtherValue(70, 'y');

TEST_CASE("cut_nothing_of_small_values") {
  const std::string message = Field(4, Field(2, Field(1, "small")) + Field(9, kLargeValue));
  CHECK_FALSE(CutPayloads(message, 3, 200).has_value());
  // A large value above the depth of payloads stays, as does one below it.
  CHECK_FALSE(CutPayloads(message, 3, 64).has_value());
  CHECK_FALSE(CutPayloads("", 3, 64).has_value());
}

TEST_CASE("cut_no_message") {
  CHECK_FALSE(CutPayloads(kLargeValue, 1, 64).has_value());
  std::string truncated = Field(1, kLargeValue);
  truncated.pop_back();
  CHECK_FALSE(CutPayloads(truncated, 1, 64).has_value());
}

TEST_CASE("cut_form") {
  const std::string message = Number(1, 7) + Field(2, Field(1, kLargeValue)) + Number(3, 9);
  const auto cut = CutPayloads(message, 2, 64);
  REQUIRE(cut.has_value());
  REQUIRE(cut->cuts.size() == 1);
  CHECK(cut->cuts[0].data == kLargeValue);
  CHECK(cut->cuts[0].id == postgres::PayloadId(kLargeValue));
  CHECK(cut->cuts[0].id.size() == 32);
  // 0, the length of the whole, one cut, at byte 6 of the rest; the id; the rest.
  const std::string head = cut->bytes.substr(0, 13);
  CHECK(head == std::string("\0\0\0\0\x6c\0\0\0\x01\0\0\0\x06", 13));
  CHECK(message.size() == 0x6c);
  CHECK(cut->bytes.substr(29) == message.substr(0, 6) + message.substr(106));
}

TEST_CASE("cut_the_same_value_under_one_id") {
  const std::string event = Field(6, Field(3, Field(1, kLargeValue)));
  const std::string request = Field(5, Field(1, kLargeValue));
  const auto of_event = CutPayloads(event, postgres::kEventDepth, 64);
  const auto of_request = CutPayloads(request, postgres::kRequestDepth, 64);
  const auto of_chunk = CutPayloads(Field(3, event), postgres::kChunkDepth, 64);
  REQUIRE(of_event.has_value());
  REQUIRE(of_request.has_value());
  REQUIRE(of_chunk.has_value());
  CHECK(of_event->cuts[0].id == of_request->cuts[0].id);
  CHECK(of_event->cuts[0].id == of_chunk->cuts[0].id);
}

TEST_CASE("cut_and_put_back") {
  auto connection = PostgresFixture::Connect(PostgresFixture::Shared().NewDatabase());
  MustBeOk(postgres::MigrateSchema(*connection, "dt").status());
  const auto event = [](const std::string& value) { return Field(7, Field(2, Field(1, value))); };
  std::string chunk;
  for (const std::string& value : {kLargeValue, std::string("small"), kOtherValue, kLargeValue}) {
    absl::StrAppend(&chunk, Field(3, Number(1, 5) + event(value)));
  }
  const auto cut = CutPayloads(chunk, postgres::kChunkDepth, 64);
  REQUIRE(cut.has_value());
  CHECK(cut->cuts.size() == 3);
  for (const postgres::PayloadCut& payload : cut->cuts) {
    postgres::Params params;
    params.Text(payload.id);
    params.Bytea(std::string(payload.data));
    MustBeOk(connection
                 ->ExecuteOnce("insert into dt.Payloads values (1, $1::uuid, $2) "
                               "on conflict do nothing",
                               params)
                 .status());
  }
  postgres::Params params;
  params.Bytea(cut->bytes);
  params.Bytea(chunk);
  const postgres::Result read = ValueOf(connection->ExecuteOnce(
      "select dt.__Read(1, $1), dt.__WholeLength($1), dt.__Read(1, $2), dt.__WholeLength($2), "
      "       (select count(*) from dt.Payloads)::int",
      params));
  CHECK(read.Bytes(0, 0) == chunk);
  CHECK(read.Int(0, 1) == static_cast<int64_t>(chunk.size()));
  CHECK(read.Bytes(0, 2) == chunk);
  CHECK(read.Int(0, 3) == static_cast<int64_t>(chunk.size()));
  CHECK(read.Int(0, 4) == 2);

  // A payload that is not there is an error, and no message with a hole in it.
  MustBeOk(connection->RunScript("delete from dt.Payloads where length(data) = 70"));
  postgres::Params again;
  again.Bytea(cut->bytes);
  const auto hole = connection->ExecuteOnce("select dt.__Read(1, $1)", again);
  CHECK_FALSE(hole.ok());
}

}  // namespace
}  // namespace dt::testing
