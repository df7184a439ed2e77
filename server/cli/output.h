// What the verbs print: tables for people, JSON for programs. Pure.
//
// JSON is that of protocol buffers: names in camelCase as in the .proto files, 64-bit numbers as
// strings, so that they stay exact, and times in RFC 3339. A list is an array.
#ifndef DT_SERVER_CLI_OUTPUT_H_
#define DT_SERVER_CLI_OUTPUT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "google/protobuf/timestamp.pb.h"

namespace dt::cli {

// Text of others as one line that moves no cursor: controls are escaped.
std::string Printable(std::string_view text);
// The same, cut after so many characters.
std::string Cut(std::string_view text, size_t characters_max);

// In RFC 3339, UTC, whole seconds; empty for an unset one.
std::string TimeText(const google::protobuf::Timestamp& time);

// Columns are as wide as their longest cell; cells are Printable already.
class Table {
 public:
  explicit Table(std::vector<std::string> heads) : rows_{std::move(heads)} {}
  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string Text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string JsonOf(const google::protobuf::Message& message);
template <typename Messages>
std::string JsonArray(const Messages& messages) {
  std::string text = "[";
  for (const auto& message : messages) text += (text.size() > 1 ? ",\n " : "") + JsonOf(message);
  return text + "]\n";
}

// What is set of an event, or of any message, in one line: "name=Charge taskId=3".
std::string FieldsText(const google::protobuf::Message& message);

}  // namespace dt::cli

#endif  // DT_SERVER_CLI_OUTPUT_H_
