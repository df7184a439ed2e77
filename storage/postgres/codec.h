// The envelope of a call: JSON text for what SQL looks at, and a list of byte strings that the JSON
// refers to by 1-based position. Bytes travel beside the JSON because jsonb refuses NUL and because
// they must come back exactly as they were.
//
// Conventions (sql/RULES.md 4): an absent value is no member; an absent payload is no position, an
// empty one is the position of an empty element. Times are microseconds since 1970, rounded up, so
// that nothing fires early; InfinitePast is no member.
//
// Large values of messages travel, and are stored, beside them (payload_cuts.h).
//
// Threads. An Envelope is used by one thread. It keeps views: what was added must outlive Fill.
#ifndef DT_STORAGE_POSTGRES_CODEC_H_
#define DT_STORAGE_POSTGRES_CODEC_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/postgres/connection.h"
#include "storage/records.h"

namespace dt::postgres {

// A set of numbers as an int4multirange in text form; nullopt if it is empty. Below INT32_MAX,
// since PostgreSQL stores the number behind each range.
std::optional<std::string> SetText(std::vector<int32_t> values);

// A column of numbers in PostgreSQL's text form of an array, for lists that every call has: much
// cheaper for the server than a list of JSON objects.
class Column {
 public:
  Column& Add(int64_t value);
  Column& AddNull();
  // As SetText.
  Column& AddSet(std::vector<int32_t> values);
  Column& AddOptional(std::optional<int64_t> value) { return value ? Add(*value) : AddNull(); }
  bool empty() const { return text_.empty(); }

 private:
  friend class Envelope;
  std::string text_;  // "1,2,NULL"
};

// The large values that one instance is given, each once: id -> position in the list of bytes.
using PayloadSet = std::map<std::string, int64_t>;

class Envelope {
 public:
  // Values of more than `inline_bytes_max` bytes are cut out of what SQL stores.
  explicit Envelope(size_t inline_bytes_max) : inline_bytes_max_(inline_bytes_max) {
    text_.reserve(4096);
  }

  // Structure. A key goes before every value inside an object, none inside an array.
  Envelope& BeginObject(std::string_view key = {});
  Envelope& EndObject();
  Envelope& BeginArray(std::string_view key = {});
  Envelope& EndArray();

  Envelope& Int(std::string_view key, int64_t value);
  Envelope& OptionalInt(std::string_view key, std::optional<int64_t> value);
  // Only true is written; SQL reads an absent flag as null and treats it as false.
  Envelope& Flag(std::string_view key, bool value);
  Envelope& String(std::string_view key, std::string_view value);
  Envelope& IntList(std::string_view key, const std::vector<int64_t>& values);
  Envelope& Time(std::string_view key, absl::Time value);
  Envelope& OptionalTime(std::string_view key, const std::optional<absl::Time>& value);
  Envelope& TagObject(std::string_view key, const Tags& tags);

  Envelope& Numbers(std::string_view key, const Column& column);

  // Adds an element to the list of bytes and returns its position; nullopt for an absent one.
  int64_t Position(std::string_view value);
  std::optional<int64_t> Position(const std::optional<std::string>& value);
  // The same as the value of a key.
  Envelope& Bytes(std::string_view key, std::string_view value);
  Envelope& OptionalBytes(std::string_view key, const std::optional<std::string>& value);
  // The position of a serialized message whose payloads lie at `depth`, as it is stored: whole, or
  // cut, with what was cut out added to `payloads`.
  std::optional<int64_t> Stored(const SharedBytes& message, int depth, PayloadSet& payloads);
  // A payload as the value of `key`, or, when it is large, its id as the value of `key`_payload.
  Envelope& Value(std::string_view key, const Payload& value, PayloadSet& payloads);
  Envelope& PresentValue(std::string_view key, std::string_view value, PayloadSet& payloads);
  // A message that is to be stored: generation, at, type, event.
  Envelope& Message(const NewMessage& message, PayloadSet& payloads);
  // What an entry of a list refers to: payloads: {id: position}. No member if there is none.
  Envelope& Payloads(const PayloadSet& payloads);
  // The same of all items of a batch: a list of {item, id, data} named `key`; none if all are
  // empty.
  Envelope& PayloadList(std::string_view key, const std::vector<PayloadSet>& payloads);

  // ($hub, $batch, $bytes) of every batch verb.
  void Fill(HubId hub, Params* params);
  const std::string& text() const { return text_; }

 private:
  void Key(std::string_view key);
  void Quoted(std::string_view value);

  void AddPayload(const std::string& id, std::string_view data, PayloadSet& payloads);

  const size_t inline_bytes_max_;
  std::string text_;
  std::vector<std::optional<std::string_view>> bytes_;
  std::deque<std::string> cut_messages_;  // views of bytes_ point into them
  absl::flat_hash_map<std::string, int64_t> payload_positions_;
};

// Microseconds since 1970, rounded up and kept inside what the server can store.
int64_t ToMicrosRoundedUp(absl::Time time);

// A flat JSON object of strings, as jsonb prints it, sorted by key. kDataLoss if it is anything
// else.
absl::StatusOr<Tags> ParseTags(std::string_view json);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_CODEC_H_
