// What the log says while this lives, instead of being printed. Threads that log may run before and
// after: the logger stays, as spdlog lets nobody replace it under them, and only its sink changes.
#ifndef DT_TESTS_SUPPORT_LOG_CAPTURE_H_
#define DT_TESTS_SUPPORT_LOG_CAPTURE_H_

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "spdlog/sinks/dist_sink.h"
#include "spdlog/sinks/ringbuffer_sink.h"
#include "spdlog/spdlog.h"

namespace dt::testing {

// The one sink of the tests' logger; made before main, so before any thread.
inline const std::shared_ptr<spdlog::sinks::dist_sink_mt> kLogSwitch = [] {
  auto made = std::make_shared<spdlog::sinks::dist_sink_mt>(spdlog::default_logger()->sinks());
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("", made));
  return made;
}();

class LogCapture {
 public:
  // With a formatter the lines are as it makes them.
  explicit LogCapture(std::unique_ptr<spdlog::formatter> formatter = nullptr) {
    if (formatter != nullptr) sink_->set_formatter(std::move(formatter));
    kLogSwitch->set_sinks({sink_});
  }
  ~LogCapture() { kLogSwitch->set_sinks(before_); }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  std::vector<std::string> Lines() const { return sink_->last_formatted(); }
  // How many lines contain these words.
  int Count(const std::string& words) const {
    const std::vector<std::string> lines = Lines();
    return static_cast<int>(std::count_if(
        lines.begin(), lines.end(),
        [&words](const std::string& line) { return line.find(words) != std::string::npos; }));
  }
  bool Has(const std::string& words) const { return Count(words) > 0; }

 private:
  static constexpr size_t kLinesMax = 10000;
  const std::vector<std::shared_ptr<spdlog::sinks::sink>> before_ = kLogSwitch->sinks();
  const std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> sink_ =
      std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(kLinesMax);
};

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_LOG_CAPTURE_H_
