// The binary format of parameters and results (connection.h): big-endian integers, times in
// microseconds since 2000, arrays with a header of dimensions.
#include <libpq-fe.h>

#include <limits>

#include "absl/base/casts.h"
#include "storage/postgres/check.h"
#include "storage/postgres/connection.h"

namespace dt::postgres {
namespace {

// The OIDs of built-in types never change.
constexpr uint32_t kBool = 16;
constexpr uint32_t kBytea = 17;
constexpr uint32_t kName = 19;
constexpr uint32_t kInt8 = 20;
constexpr uint32_t kInt2 = 21;
constexpr uint32_t kInt4 = 23;
constexpr uint32_t kText = 25;
constexpr uint32_t kOid = 26;
constexpr uint32_t kJson = 114;
constexpr uint32_t kVarchar = 1043;
constexpr uint32_t kTimestamptz = 1184;
constexpr uint32_t kByteaArray = 1001;
constexpr uint32_t kInt2Array = 1005;
constexpr uint32_t kInt4Array = 1007;
constexpr uint32_t kTextArray = 1009;
constexpr uint32_t kInt8Array = 1016;
constexpr uint32_t kJsonb = 3802;

constexpr int64_t kEpoch2000Micros = 946'684'800'000'000;

template <typename Integer>
void AppendInteger(std::string* out, Integer value) {
  using Unsigned = std::make_unsigned_t<Integer>;
  auto bits = static_cast<Unsigned>(value);
  for (int shift = 8 * (static_cast<int>(sizeof(Integer)) - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>((bits >> shift) & 0xff));
  }
}

template <typename Integer>
Integer ReadInteger(std::string_view bytes) {
  DT_CHECK(bytes.size() >= sizeof(Integer), "a binary integer is shorter than its type");
  std::make_unsigned_t<Integer> bits = 0;
  for (size_t i = 0; i < sizeof(Integer); ++i) {
    bits = static_cast<decltype(bits)>((static_cast<uint64_t>(bits) << 8) |
                                       static_cast<unsigned char>(bytes[i]));
  }
  return static_cast<Integer>(bits);
}

template <typename Integer>
std::string Encoded(Integer value) {
  std::string out;
  AppendInteger(&out, value);
  return out;
}

// Rounded up, so that nothing fires early; the ends of time are PostgreSQL's infinities.
int64_t MicrosSince2000(absl::Time time) {
  if (time == absl::InfinitePast()) return std::numeric_limits<int64_t>::min();
  if (time == absl::InfiniteFuture()) return std::numeric_limits<int64_t>::max();
  int64_t micros = absl::ToUnixMicros(time);
  if (absl::FromUnixMicros(micros) < time) ++micros;
  return micros - kEpoch2000Micros;
}

std::string ArrayHeader(uint32_t element, bool has_null, size_t size) {
  std::string out;
  AppendInteger<int32_t>(&out, size == 0 ? 0 : 1);
  AppendInteger<int32_t>(&out, has_null ? 1 : 0);
  AppendInteger<int32_t>(&out, static_cast<int32_t>(element));
  if (size == 0) return out;
  AppendInteger<int32_t>(&out, static_cast<int32_t>(size));
  AppendInteger<int32_t>(&out, 1);  // the first index
  return out;
}

void AppendElement(std::string* out, std::string_view bytes) {
  AppendInteger<int32_t>(out, static_cast<int32_t>(bytes.size()));
  out->append(bytes);
}

// The elements of a one-dimensional array.
std::vector<std::optional<std::string_view>> Elements(std::string_view raw) {
  std::vector<std::optional<std::string_view>> elements;
  int32_t dimensions = ReadInteger<int32_t>(raw);
  if (dimensions == 0) return elements;
  DT_CHECK(dimensions == 1 && raw.size() >= 20, "an array of one dimension was expected");
  int32_t size = ReadInteger<int32_t>(raw.substr(12));
  elements.reserve(size);
  raw.remove_prefix(20);
  for (int32_t i = 0; i < size; ++i) {
    int32_t length = ReadInteger<int32_t>(raw);
    raw.remove_prefix(4);
    if (length < 0) {
      elements.push_back(std::nullopt);
      continue;
    }
    DT_CHECK(raw.size() >= static_cast<size_t>(length), "an array ends in an element");
    elements.push_back(raw.substr(0, length));
    raw.remove_prefix(length);
  }
  return elements;
}

}  // namespace

// ---------------------------------------------------------------------------------------------
// Parameters

Params& Params::Add(uint32_t type, std::string data) {
  bytes_ += data.size();
  values_.push_back({type, false, std::move(data)});
  return *this;
}

Params& Params::AddNull(uint32_t type) {
  values_.push_back({type, true, {}});
  return *this;
}

Params& Params::Bool(bool value) { return Add(kBool, std::string(1, value ? '\1' : '\0')); }
Params& Params::Int4(int32_t value) { return Add(kInt4, Encoded(value)); }
Params& Params::Int8(int64_t value) { return Add(kInt8, Encoded(value)); }
Params& Params::Text(std::string value) { return Add(kText, std::move(value)); }
Params& Params::Bytea(std::string value) { return Add(kBytea, std::move(value)); }

// The binary form of jsonb is its text after a version number.
Params& Params::Jsonb(std::string value) {
  value.insert(value.begin(), '\1');
  return Add(kJsonb, std::move(value));
}

Params& Params::Timestamp(absl::Time value) {
  return Add(kTimestamptz, Encoded(MicrosSince2000(value)));
}

Params& Params::Int8Array(absl::Span<const int64_t> values) {
  std::string out = ArrayHeader(kInt8, false, values.size());
  for (int64_t value : values) AppendElement(&out, Encoded(value));
  return Add(kInt8Array, std::move(out));
}

Params& Params::TextArray(absl::Span<const std::string> values) {
  std::string out = ArrayHeader(kText, false, values.size());
  for (const std::string& value : values) AppendElement(&out, value);
  return Add(kTextArray, std::move(out));
}

Params& Params::ByteaArray(absl::Span<const std::optional<std::string_view>> values) {
  bool has_null = false;
  size_t total = 20;
  for (const auto& value : values) {
    if (!value.has_value()) has_null = true;
    total += 4 + value.value_or(std::string_view()).size();
  }
  std::string out = ArrayHeader(kBytea, has_null, values.size());
  out.reserve(total);
  for (const auto& value : values) {
    if (value.has_value()) {
      AppendElement(&out, *value);
    } else {
      AppendInteger<int32_t>(&out, -1);
    }
  }
  return Add(kByteaArray, std::move(out));
}

Params& Params::OptionalInt4(std::optional<int32_t> value) {
  return value.has_value() ? Int4(*value) : AddNull(kInt4);
}
Params& Params::OptionalInt8(std::optional<int64_t> value) {
  return value.has_value() ? Int8(*value) : AddNull(kInt8);
}
Params& Params::OptionalText(std::optional<std::string> value) {
  return value.has_value() ? Text(*std::move(value)) : AddNull(kText);
}
Params& Params::OptionalJsonb(std::optional<std::string> value) {
  return value.has_value() ? Jsonb(*std::move(value)) : AddNull(kJsonb);
}
Params& Params::OptionalBytea(std::optional<std::string> value) {
  return value.has_value() ? Bytea(*std::move(value)) : AddNull(kBytea);
}
Params& Params::OptionalTimestamp(std::optional<absl::Time> value) {
  return value.has_value() ? Timestamp(*value) : AddNull(kTimestamptz);
}

// ---------------------------------------------------------------------------------------------
// Results

void Result::Free::operator()(pg_result* result) const { PQclear(result); }

int Result::rows() const { return PQntuples(result_.get()); }
int Result::columns() const { return PQnfields(result_.get()); }

int Result::Column(std::string_view name) const {
  for (int column = 0; column < columns(); ++column) {
    if (PQfname(result_.get(), column) == name) return column;
  }
  DT_CHECK(false, "the statement yields no column of this name");
  return -1;
}

uint32_t Result::Type(int column) const { return PQftype(result_.get(), column); }

bool Result::IsNull(int row, int column) const {
  DT_CHECK(row >= 0 && row < rows() && column >= 0 && column < columns(), "no such row or column");
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view Result::Raw(int row, int column, uint32_t type) const {
  DT_CHECK(!IsNull(row, column), "a NULL was read as a value");
  DT_CHECK(type == 0 || Type(column) == type, "a column was read as another type than it has");
  return {PQgetvalue(result_.get(), row, column),
          static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

bool Result::Bool(int row, int column) const { return Raw(row, column, kBool)[0] != '\0'; }

int64_t Result::Int(int row, int column) const {
  std::string_view raw = Raw(row, column, 0);
  switch (Type(column)) {
    case kInt2:
      return ReadInteger<int16_t>(raw);
    case kInt4:
      return ReadInteger<int32_t>(raw);
    case kInt8:
      return ReadInteger<int64_t>(raw);
    case kOid:
      return ReadInteger<uint32_t>(raw);
    default:
      DT_CHECK(false, "a column was read as an integer but is none");
      return 0;
  }
}

std::string_view Result::Text(int row, int column) const {
  std::string_view raw = Raw(row, column, 0);
  switch (Type(column)) {
    case kText:
    case kVarchar:
    case kName:
    case kJson:
      return raw;
    case kJsonb:
      return raw.substr(1);
    default:
      DT_CHECK(false, "a column was read as text but is none");
      return {};
  }
}

std::string_view Result::Bytes(int row, int column) const { return Raw(row, column, kBytea); }

absl::Time Result::Timestamp(int row, int column) const {
  int64_t micros = ReadInteger<int64_t>(Raw(row, column, kTimestamptz));
  if (micros == std::numeric_limits<int64_t>::min()) return absl::InfinitePast();
  if (micros == std::numeric_limits<int64_t>::max()) return absl::InfiniteFuture();
  return absl::FromUnixMicros(kEpoch2000Micros) + absl::Microseconds(micros);
}

std::vector<int64_t> Result::IntArray(int row, int column) const {
  std::string_view raw = Raw(row, column, 0);
  uint32_t type = Type(column);
  DT_CHECK(type == kInt2Array || type == kInt4Array || type == kInt8Array,
           "a column was read as an array of integers but is none");
  std::vector<int64_t> values;
  for (const auto& element : Elements(raw)) {
    DT_CHECK(element.has_value(), "a NULL in an array was read as a value");
    values.push_back(type == kInt2Array   ? ReadInteger<int16_t>(*element)
                     : type == kInt4Array ? ReadInteger<int32_t>(*element)
                                          : ReadInteger<int64_t>(*element));
  }
  return values;
}

std::vector<std::string_view> Result::TextArray(int row, int column) const {
  std::vector<std::string_view> values;
  for (const auto& element : Elements(Raw(row, column, kTextArray))) {
    DT_CHECK(element.has_value(), "a NULL in an array was read as a value");
    values.push_back(*element);
  }
  return values;
}

std::vector<std::optional<std::string_view>> Result::ByteaArray(int row, int column) const {
  return Elements(Raw(row, column, kByteaArray));
}

std::optional<int64_t> Result::OptionalInt(int row, int column) const {
  if (IsNull(row, column)) return std::nullopt;
  return Int(row, column);
}
std::optional<std::string> Result::OptionalText(int row, int column) const {
  if (IsNull(row, column)) return std::nullopt;
  return std::string(Text(row, column));
}
std::optional<std::string> Result::OptionalBytes(int row, int column) const {
  if (IsNull(row, column)) return std::nullopt;
  return std::string(Bytes(row, column));
}
std::optional<absl::Time> Result::OptionalTimestamp(int row, int column) const {
  if (IsNull(row, column)) return std::nullopt;
  return Timestamp(row, column);
}

}  // namespace dt::postgres
