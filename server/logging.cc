#include "server/logging.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "fmt/format.h"
#include "google/protobuf/stubs/logging.h"
#include "grpc/support/log.h"
#include "server/rpc/repeat_limiter.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"
#include "storage/log_fields.h"
#include "storage/steady_clock.h"

namespace dt {
namespace {

// The length of the UTF-8 character at the start of `text`, or 0 if there is none.
size_t CharacterBytes(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  size_t size = 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) size = 2;
  if (first >= 0xE0 && first < 0xF0) size = 3;
  if (first >= 0xF0 && first < 0xF5) size = 4;
  if (size == 0 || size > text.size()) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and what lies above U+10FFFF.
  if (first == 0xE0 && byte(1) < 0xA0) return 0;
  if (first == 0xED && byte(1) > 0x9F) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) > 0x8F) return 0;
  return size;
}

// The code point of one valid character.
uint32_t CodePoint(std::string_view character) {
  const auto byte = [character](size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return byte(0);
  uint32_t point = byte(0) & (0xFFU >> (character.size() + 1));
  for (size_t i = 1; i < character.size(); ++i) point = (point << 6) | (byte(i) & 0x3FU);
  return point;
}

// Control characters of both sets (the second begins terminal escapes as well), what ends a line
// for some readers, and what turns the direction of text, so that it reads as what it is not.
bool IsUnsafe(uint32_t point) {
  return point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0x061C ||
         (point >= 0x200E && point <= 0x200F) || (point >= 0x2028 && point <= 0x202E) ||
         (point >= 0x2066 && point <= 0x2069);
}

std::string_view View(const spdlog::string_view_t& text) { return {text.data(), text.size()}; }

// The message of a line, no longer than a line may be.
std::string Shortened(std::string_view message) {
  if (message.size() <= kLineBytesMax) return std::string(message);
  return fmt::format("{}... ({} bytes more)", message.substr(0, kLineBytesMax),
                     message.size() - kLineBytesMax);
}

class EscapedMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string text = LineText(Shortened(View(message.payload)));
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<EscapedMessage>();
  }
};

struct LogEvent {
  std::string_view name;
  std::string_view id;
};

// A line of an event begins with "Name (123): " (log_events.h).
std::optional<LogEvent> EventOf(std::string_view text) {
  size_t name_end = 0;
  while (name_end < text.size() && absl::ascii_isalpha(text[name_end])) ++name_end;
  if (name_end == 0 || text.substr(name_end, 2) != " (") return std::nullopt;
  const size_t id = name_end + 2;
  size_t id_end = id;
  while (id_end < text.size() && absl::ascii_isdigit(text[id_end])) ++id_end;
  if (id_end == id || text.substr(id_end, 2) != "):") return std::nullopt;
  return LogEvent{text.substr(0, name_end), text.substr(id, id_end - id)};
}

// Errors of PostgreSQL end with it (storage/postgres/connection.cc).
std::string_view SqlstateIn(std::string_view text) {
  constexpr std::string_view kBefore = "[SQLSTATE ";
  constexpr size_t kLength = 5;
  const size_t at = text.rfind(kBefore);
  if (at == std::string_view::npos) return {};
  const std::string_view code = text.substr(at + kBefore.size(), kLength);
  const bool good = code.size() == kLength && std::all_of(code.begin(), code.end(), [](char c) {
                      return absl::ascii_isdigit(c) || absl::ascii_isupper(c);
                    });
  return good ? code : std::string_view();
}

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::string time = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ",
                                              absl::FromChrono(message.time), absl::UTCTimeZone());
    const auto put = std::back_inserter(out);
    fmt::format_to(put, R"({{"ts":"{}","level":"{}")", time,
                   View(spdlog::level::to_string_view(message.level)));
    const std::string_view text = View(message.payload);
    if (const std::optional<LogEvent> event = EventOf(text)) {
      fmt::format_to(put, R"(,"event_id":{},"name":"{}")", event->id, event->name);
    }
    LogFields::Visit([&](std::string_view name, const std::string& value) {
      const bool number = name == log_field::kDurationMs;
      fmt::format_to(put, R"(,"{}":{})", name, number ? value : JsonString(value));
    });
    if (const std::string_view sqlstate = SqlstateIn(text); !sqlstate.empty()) {
      fmt::format_to(put, R"(,"sqlstate":"{}")", sqlstate);
    }
    fmt::format_to(put, ",\"msg\":{}}}\n", JsonString(Shortened(text)));
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

// ---------------------------------------------------------------------------------------------
// Messages of libraries

// Never freed, as threads of gRPC may log to the very end of the process.
rpc::RepeatLimiter& LibraryLines() {
  static auto& lines = *new rpc::RepeatLimiter(kRepeatInterval, /*lines_max=*/1);
  return lines;
}

void ReportLeftOut(absl::Time now) {
  for (const rpc::RepeatLimiter::LeftOut& left_out : LibraryLines().TakeLeftOut(now)) {
    spdlog::warn("{}: {}: {} more lines like the last were left out", log_event::kGenericWarning,
                 left_out.kind, left_out.lines);
  }
}

// Tells what was left out of a flood that has ended, as no further line of its kind does. spdlog's
// timer flushes all sinks.
class LeftOutReporter final : public spdlog::sinks::sink {
 public:
  void log(const spdlog::details::log_msg&) override {}
  void flush() override { ReportLeftOut(SteadyNow()); }
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}
};

// Only once there is something to tell: most processes never need the thread of the timer.
void StartReporting() {
  static std::once_flag once;
  std::call_once(once, [] {
    spdlog::flush_every(std::chrono::seconds(absl::ToInt64Seconds(kRepeatInterval)));
    std::atexit([] {
      spdlog::flush_every(std::chrono::seconds(0));
      ReportLeftOut(absl::InfiniteFuture());
    });
  });
}

void LogOfLibrary(std::string_view library, const char* file, int line, std::string_view message) {
  const char* slash = std::strrchr(file, '/');
  const std::string kind =
      fmt::format("{} at {}:{}", library, slash == nullptr ? file : slash + 1, line);
  const std::optional<int64_t> left_out = LibraryLines().Admit(kind, SteadyNow());
  if (!left_out.has_value()) return StartReporting();
  spdlog::warn("{}: {}: {}{}", log_event::kGenericWarning, kind, message,
               rpc::LeftOutNote(*left_out));
}

void LogOfGrpc(gpr_log_func_args* args) {
  if (args->severity == GPR_LOG_SEVERITY_ERROR) {
    return LogOfLibrary("grpc", args->file, args->line, args->message);
  }
  // Off unless GRPC_VERBOSITY asks for them, and then all are wanted.
  spdlog::debug("grpc: {}", args->message);
}

// Protobuf's errors are about messages of callers. After a fatal one it ends the process itself.
void LogOfProtobuf(google::protobuf::LogLevel level, const char* file, int line,
                   const std::string& message) {
  if (level == google::protobuf::LOGLEVEL_FATAL) {
    return spdlog::critical("{}: protobuf at {}:{}: {}", log_event::kProcessingFailure, file, line,
                            message);
  }
  if (level == google::protobuf::LOGLEVEL_INFO) return spdlog::debug("protobuf: {}", message);
  LogOfLibrary("protobuf", file, line, message);
}

// Appends each character as it is or escaped; `escape` gets what is unsafe, or a byte that is no
// text (`valid` false).
template <typename Escape>
std::string Escaped(std::string_view text, Escape escape) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t size = CharacterBytes(text);
    const std::string_view character = text.substr(0, size == 0 ? 1 : size);
    if (size == 0) {
      escape(out, static_cast<unsigned char>(text[0]), /*valid=*/false);
    } else if (const uint32_t point = CodePoint(character);
               IsUnsafe(point) || point == '"' || point == '\\') {
      escape(out, point, /*valid=*/true);
    } else {
      out += character;
    }
    text.remove_prefix(character.size());
  }
  return out;
}

}  // namespace

std::string LineText(std::string_view text) {
  return Escaped(text, [](std::string& out, uint32_t point, bool valid) {
    if (valid && point == '\n') {
      out += "\\n";
    } else if (valid && point == '\r') {
      out += "\\r";
    } else if (valid && point == '\t') {
      out += "\\t";
    } else if (valid && (point == '"' || point == '\\')) {
      out += static_cast<char>(point);
    } else {
      out += point < 0x80 || !valid ? fmt::format("\\x{:02x}", point)
                                    : fmt::format("\\u{:04x}", point);
    }
  });
}

std::string JsonString(std::string_view text) {
  return '"' +
         Escaped(text,
                 [](std::string& out, uint32_t point, bool valid) {
                   if (!valid) {
                     out += "\\ufffd";
                   } else if (point == '"' || point == '\\') {
                     out += '\\';
                     out += static_cast<char>(point);
                   } else {
                     out += fmt::format("\\u{:04x}", point);
                   }
                 }) +
         '"';
}

std::unique_ptr<spdlog::formatter> MakeLogFormatter(LogFormat format) {
  if (format == LogFormat::kJson) return std::make_unique<JsonFormatter>();
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<EscapedMessage>('*').set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %*");
  return formatter;
}

void RouteLibraryLogs() {
  LibraryLines().Forget();
  gpr_set_log_function(LogOfGrpc);
  google::protobuf::SetLogHandler(LogOfProtobuf);
}

void SetUpLogging(const std::string& level, LogFormat format) {
  auto logger = spdlog::stderr_color_mt("durabletask");
  logger->set_formatter(MakeLogFormatter(format));
  logger->sinks().push_back(std::make_shared<LeftOutReporter>());
  logger->set_level(spdlog::level::from_str(level));
  spdlog::set_default_logger(std::move(logger));
  RouteLibraryLogs();
}

}  // namespace dt
