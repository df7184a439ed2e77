// Logging of the whole process: spdlog on stderr, as text or as one JSON object per line, and the
// messages of gRPC and protobuf through it. Nothing that is logged holds payloads or secrets.
//
// Ids, names and errors come from outside. What could end a line, steer a terminal or is no text at
// all is escaped here, in the formatter of every line, so that nobody who logs needs to think of
// it. A line has an end, too: kLineBytesMax.
//
// Lines that a caller can bring about as often as it likes, and before it has shown who it is, are
// those of the libraries. Of each kind one is logged in kRepeatInterval, with how many were left
// out.
#ifndef DT_SERVER_LOGGING_H_
#define DT_SERVER_LOGGING_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "server/config.h"
#include "spdlog/formatter.h"

namespace dt {

// Bytes of the message of one line; the rest is cut.
inline constexpr size_t kLineBytesMax = 8192;
inline constexpr absl::Duration kRepeatInterval = absl::Seconds(10);

// `level` is one of Config::log_level. Call once, before other threads start.
void SetUpLogging(const std::string& level, LogFormat format);

// The parts of it, for tests. What the libraries log goes to spdlog's default logger from now on;
// what was counted so far is forgotten.
void RouteLibraryLogs();
std::unique_ptr<spdlog::formatter> MakeLogFormatter(LogFormat format);

// `text` as a part of one line of text: newlines and tabs as \n and \t, other control characters
// and bytes that are no UTF-8 as \x1b, invisible ones that change lines or their direction as
// \u202e. A backslash stays as it is.
std::string LineText(std::string_view text);
// `text` as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD.
std::string JsonString(std::string_view text);

}  // namespace dt

#endif  // DT_SERVER_LOGGING_H_
