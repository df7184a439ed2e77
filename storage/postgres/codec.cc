#include "storage/postgres/codec.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/postgres/check.h"
#include "storage/postgres/payload_cuts.h"

namespace dt::postgres {
namespace {

// The end of the year 9999, where the protocol's timestamps end.
constexpr int64_t kMicrosMax = 253'402'300'799'999'999;

// Appends a code point in UTF-8.
void AppendUtf8(uint32_t point, std::string* out) {
  if (point < 0x80) {
    out->push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (point >> 6)));
    out->push_back(static_cast<char>(0x80 | (point & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xE0 | (point >> 12)));
    out->push_back(static_cast<char>(0x80 | ((point >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (point & 0x3F)));
  }
}

// Reads the flat objects that jsonb prints. It escapes control characters, quotes and backslashes
// only, so \u stands for one character below 0x80.
class TagReader {
 public:
  explicit TagReader(std::string_view text) : text_(text) {}

  bool Read(Tags* tags) {
    if (!Take('{')) return false;
    if (Take('}')) return AtEnd();
    do {
      std::string key;
      std::string value;
      if (!ReadString(&key) || !Take(':') || !ReadString(&value)) return false;
      tags->emplace_back(std::move(key), std::move(value));
    } while (Take(','));
    return Take('}') && AtEnd();
  }

 private:
  void SkipSpace() {
    while (position_ < text_.size() && text_[position_] == ' ') ++position_;
  }
  bool AtEnd() {
    SkipSpace();
    return position_ == text_.size();
  }
  bool Take(char wanted) {
    SkipSpace();
    if (position_ == text_.size() || text_[position_] != wanted) return false;
    ++position_;
    return true;
  }
  bool ReadString(std::string* out) {
    if (!Take('"')) return false;
    while (position_ < text_.size()) {
      const char c = text_[position_++];
      if (c == '"') return true;
      if (c != '\\') {
        out->push_back(c);
      } else if (!ReadEscape(out)) {
        return false;
      }
    }
    return false;
  }
  bool ReadEscape(std::string* out) {
    static constexpr std::string_view kNames = "\"\\/bfnrt";
    static constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    if (position_ == text_.size()) return false;
    const char name = text_[position_++];
    if (const size_t index = kNames.find(name); index != std::string_view::npos) {
      out->push_back(kValues[index]);
      return true;
    }
    if (name != 'u' || position_ + 4 > text_.size()) return false;
    uint32_t point = 0;
    for (const char digit : text_.substr(position_, 4)) {
      point <<= 4;
      if (digit >= '0' && digit <= '9') {
        point |= static_cast<uint32_t>(digit - '0');
      } else if (digit >= 'a' && digit <= 'f') {
        point |= static_cast<uint32_t>(digit - 'a' + 10);
      } else if (digit >= 'A' && digit <= 'F') {
        point |= static_cast<uint32_t>(digit - 'A' + 10);
      } else {
        return false;
      }
    }
    position_ += 4;
    AppendUtf8(point, out);
    return true;
  }

  const std::string_view text_;
  size_t position_ = 0;
};

}  // namespace

Column& Column::Add(int64_t value) {
  absl::StrAppend(&text_, text_.empty() ? "" : ",", value);
  return *this;
}

Column& Column::AddNull() {
  text_.append(text_.empty() ? "NULL" : ",NULL");
  return *this;
}

std::optional<std::string> SetText(std::vector<int32_t> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  std::string text = "{";
  for (auto run = values.begin(); run != values.end();) {
    auto last = run;
    while (last + 1 != values.end() && last[1] <= int64_t{*last} + 1) ++last;
    absl::StrAppend(&text, run == values.begin() ? "[" : ",[", *run, ",", *last, "]");
    run = last + 1;
  }
  text.push_back('}');
  return text;
}

Column& Column::AddSet(std::vector<int32_t> values) {
  const std::optional<std::string> text = SetText(std::move(values));
  if (!text.has_value()) return AddNull();
  // Quotes of an array's element, within those of JSON.
  absl::StrAppend(&text_, text_.empty() ? "" : ",", "\\\"", *text, "\\\"");
  return *this;
}

Envelope& Envelope::Numbers(std::string_view key, const Column& column) {
  Key(key);
  absl::StrAppend(&text_, "\"{", column.text_, "}\"");
  return *this;
}

int64_t Envelope::Position(std::string_view value) {
  bytes_.emplace_back(value);
  return static_cast<int64_t>(bytes_.size());
}

std::optional<int64_t> Envelope::Position(const std::optional<std::string>& value) {
  if (!value.has_value()) return std::nullopt;
  return Position(std::string_view(*value));
}

std::optional<int64_t> Envelope::Stored(const SharedBytes& message, int depth,
                                        PayloadSet& payloads) {
  if (message == nullptr) return std::nullopt;
  DT_CHECK(message->empty() || message->front() != '\0',
           "a serialized message does not begin with 0, which marks the cut form");
  std::optional<CutMessage> cut = CutPayloads(*message, depth, inline_bytes_max_);
  if (!cut) return Position(std::string_view(*message));
  for (const PayloadCut& payload : cut->cuts) AddPayload(payload.id, payload.data, payloads);
  return Position(std::string_view(cut_messages_.emplace_back(std::move(cut->bytes))));
}

void Envelope::AddPayload(const std::string& id, std::string_view data, PayloadSet& payloads) {
  const auto [entry, inserted] = payload_positions_.try_emplace(id, 0);
  if (inserted) entry->second = Position(data);
  payloads.emplace(id, entry->second);
}

void Envelope::Key(std::string_view key) {
  if (!text_.empty() && text_.back() != '{' && text_.back() != '[') text_.push_back(',');
  if (key.empty()) return;
  text_.push_back('"');
  text_.append(key);  // keys are our own identifiers
  text_.append("\":");
}

void Envelope::Quoted(std::string_view value) {
  static constexpr char kHex[] = "0123456789abcdef";
  text_.push_back('"');
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      text_.push_back('\\');
      text_.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      text_.append("\\u00");
      text_.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
      text_.push_back(kHex[c & 15]);
    } else {
      text_.push_back(c);
    }
  }
  text_.push_back('"');
}

Envelope& Envelope::BeginObject(std::string_view key) {
  Key(key);
  text_.push_back('{');
  return *this;
}

Envelope& Envelope::EndObject() {
  text_.push_back('}');
  return *this;
}

Envelope& Envelope::BeginArray(std::string_view key) {
  Key(key);
  text_.push_back('[');
  return *this;
}

Envelope& Envelope::EndArray() {
  text_.push_back(']');
  return *this;
}

Envelope& Envelope::Int(std::string_view key, int64_t value) {
  Key(key);
  absl::StrAppend(&text_, value);
  return *this;
}

Envelope& Envelope::OptionalInt(std::string_view key, std::optional<int64_t> value) {
  return value.has_value() ? Int(key, *value) : *this;
}

Envelope& Envelope::Flag(std::string_view key, bool value) {
  if (!value) return *this;
  Key(key);
  text_.append("true");
  return *this;
}

Envelope& Envelope::String(std::string_view key, std::string_view value) {
  Key(key);
  Quoted(value);
  return *this;
}

Envelope& Envelope::IntList(std::string_view key, const std::vector<int64_t>& values) {
  BeginArray(key);
  for (const int64_t value : values) Int({}, value);
  return EndArray();
}

Envelope& Envelope::Time(std::string_view key, absl::Time value) {
  return value == absl::InfinitePast() ? *this : Int(key, ToMicrosRoundedUp(value));
}

Envelope& Envelope::OptionalTime(std::string_view key, const std::optional<absl::Time>& value) {
  return value.has_value() ? Time(key, *value) : *this;
}

Envelope& Envelope::TagObject(std::string_view key, const Tags& tags) {
  if (tags.empty()) return *this;
  BeginObject(key);
  for (const auto& [name, value] : tags) {
    if (text_.back() != '{') text_.push_back(',');
    Quoted(name);
    text_.push_back(':');
    Quoted(value);
  }
  return EndObject();
}

Envelope& Envelope::Bytes(std::string_view key, std::string_view value) {
  return Int(key, Position(value));
}

Envelope& Envelope::OptionalBytes(std::string_view key, const std::optional<std::string>& value) {
  return OptionalInt(key, Position(value));
}

Envelope& Envelope::Value(std::string_view key, const Payload& value, PayloadSet& payloads) {
  return value ? PresentValue(key, *value, payloads) : *this;
}

Envelope& Envelope::PresentValue(std::string_view key, std::string_view value,
                                 PayloadSet& payloads) {
  if (value.size() <= inline_bytes_max_) return Bytes(key, value);
  const std::string id = PayloadId(value);
  AddPayload(id, value, payloads);
  return String(absl::StrCat(absl::string_view(key.data(), key.size()), "_payload"), id);
}

Envelope& Envelope::Message(const NewMessage& message, PayloadSet& payloads) {
  if (message.generation != kAnyGeneration) Int("generation", message.generation);
  Time("at", message.visible_at);
  Int("type", message.event_type);
  return OptionalInt("event", Stored(message.event, kEventDepth, payloads));
}

Envelope& Envelope::Payloads(const PayloadSet& payloads) {
  if (payloads.empty()) return *this;
  BeginObject("payloads");
  for (const auto& [id, position] : payloads) Int(id, position);
  return EndObject();
}

Envelope& Envelope::PayloadList(std::string_view key, const std::vector<PayloadSet>& payloads) {
  bool begun = false;
  for (size_t i = 0; i < payloads.size(); ++i) {
    for (const auto& [id, position] : payloads[i]) {
      if (!begun) BeginArray(key);
      begun = true;
      BeginObject()
          .Int("item", static_cast<int64_t>(i) + 1)
          .String("id", id)
          .Int("data", position)
          .EndObject();
    }
  }
  return begun ? EndArray() : *this;
}

void Envelope::Fill(HubId hub, Params* params) {
  params->Int4(hub);
  params->Jsonb(std::move(text_));
  params->ByteaArray(bytes_);
}

int64_t ToMicrosRoundedUp(absl::Time time) {
  const absl::Duration since = time - absl::UnixEpoch();
  if (since >= absl::Microseconds(kMicrosMax)) return kMicrosMax;
  if (since <= -absl::Microseconds(kMicrosMax)) return -kMicrosMax;
  return absl::ToInt64Microseconds(absl::Ceil(since, absl::Microseconds(1)));
}

absl::StatusOr<Tags> ParseTags(std::string_view json) {
  Tags tags;
  if (!TagReader(json).Read(&tags)) {
    return absl::DataLossError("the stored tags are not an object of strings");
  }
  std::sort(tags.begin(), tags.end());
  return tags;
}

}  // namespace dt::postgres
