// Logging of the whole process: spdlog on stderr, as text or as one JSON object per line, and
// gRPC's own messages through it. Nothing that is logged holds payloads or secrets.
#ifndef DT_SERVER_LOGGING_H_
#define DT_SERVER_LOGGING_H_

#include <string>

#include "server/config.h"

namespace dt {

// `level` is one of Config::log_level. Call once, before other threads start.
void SetUpLogging(const std::string& level, LogFormat format);

// `text` as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD.
std::string JsonString(std::string_view text);

}  // namespace dt

#endif  // DT_SERVER_LOGGING_H_
