// What people write as values of flags, and how statuses are called.
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "fmt/format.h"
#include "server/cli/verbs.h"
#include "server/orchestration/timestamps.h"

namespace dt::cli {
namespace {

constexpr absl::string_view kStatusPrefix = "ORCHESTRATION_STATUS_";

// Whole days; absl's durations end at hours.
bool ParseDuration(const std::string& text, absl::Duration* duration) {
  int days = 0;
  if (absl::EndsWith(text, "d") && absl::SimpleAtoi(text.substr(0, text.size() - 1), &days)) {
    *duration = absl::Hours(24) * days;
  } else if (!absl::ParseDuration(text, duration)) {
    return false;
  }
  return *duration >= absl::ZeroDuration() && *duration < absl::InfiniteDuration();
}

}  // namespace

absl::StatusOr<google::protobuf::Timestamp> ParseTime(std::string_view flag,
                                                      const std::string& text, bool past) {
  absl::Time time;
  absl::Duration duration;
  std::string error;
  if (ParseDuration(text, &duration)) {
    time = past ? absl::Now() - duration : absl::Now() + duration;
  } else if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    return absl::InvalidArgumentError(fmt::format(
        "--{} is '{}', which is no time such as 2026-12-01T03:00:00Z and no duration such as 90s, "
        "2h or 30d",
        flag, text));
  }
  return orchestration::ToTimestamp(time);
}

absl::StatusOr<int> ParseCount(std::string_view flag, const std::string& text, int max) {
  int count = 0;
  if (absl::SimpleAtoi(text, &count) && count >= 1 && count <= max) return count;
  return absl::InvalidArgumentError(
      fmt::format("--{} is '{}', which is no whole number from 1 to {}", flag, text, max));
}

std::string StatusText(OrchestrationStatus status) {
  const std::string name = OrchestrationStatus_Name(status).substr(kStatusPrefix.size());
  std::string text;
  for (const absl::string_view word : absl::StrSplit(name, '_')) {
    std::string part = absl::AsciiStrToLower(word);
    part[0] = absl::ascii_toupper(static_cast<unsigned char>(part[0]));
    text += part;
  }
  return text;
}

absl::StatusOr<std::vector<OrchestrationStatus>> ParseStatuses(const std::string& text) {
  std::vector<OrchestrationStatus> statuses;
  std::vector<std::string> known;
  for (int i = OrchestrationStatus_MIN; i <= OrchestrationStatus_MAX; ++i) {
    known.push_back(StatusText(static_cast<OrchestrationStatus>(i)));
  }
  for (const absl::string_view one : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const size_t before = statuses.size();
    for (size_t i = 0; i < known.size(); ++i) {
      if (!absl::EqualsIgnoreCase(known[i], absl::StripAsciiWhitespace(one))) continue;
      statuses.push_back(static_cast<OrchestrationStatus>(i));
    }
    if (statuses.size() == before) {
      return absl::InvalidArgumentError(fmt::format("--status names '{}'; known are {}",
                                                    std::string(one), absl::StrJoin(known, ", ")));
    }
  }
  return statuses;
}

}  // namespace dt::cli
