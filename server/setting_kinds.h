// The rows of the table of settings (settings.cc), by the type of their values: how each is read
// from text and written as text.
#ifndef DT_SERVER_SETTING_KINDS_H_
#define DT_SERVER_SETTING_KINDS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "server/config.h"

namespace dt::setting_kinds {

inline absl::Status Malformed(std::string_view value, std::string_view wanted) {
  return absl::InvalidArgumentError(fmt::format("'{}' is not {}", value, wanted));
}

inline absl::StatusOr<int64_t> ParseNumber(std::string_view text, int64_t min, int64_t max) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number) || number < min ||
      number > max) {
    return Malformed(text, fmt::format("a whole number from {} to {}", min, max));
  }
  return number;
}

// Rows of the table by type. `field` maps a Config to the setting's place in it.
template <typename Field>
Setting Number(std::string section, std::string key, Field field, int64_t min, int64_t max,
               std::string help) {
  Setting setting{std::move(section), std::move(key), "",     SettingKind::kNumber, false,
                  std::move(help),    nullptr,        nullptr};
  setting.set = [field, min, max](Config& config, std::string_view text) {
    const absl::StatusOr<int64_t> number = ParseNumber(text, min, max);
    if (number.ok()) field(config) = *number;
    return number.status();
  };
  setting.get = [field](const Config& config) {
    return fmt::format("{}", field(const_cast<Config&>(config)));
  };
  return setting;
}

template <typename Field>
Setting Time(std::string section, std::string key, absl::Duration unit, Field field, int64_t min,
             int64_t max, std::string help) {
  Setting setting{std::move(section), std::move(key), "",     SettingKind::kNumber, false,
                  std::move(help),    nullptr,        nullptr};
  setting.set = [field, unit, min, max](Config& config, std::string_view text) {
    const absl::StatusOr<int64_t> number = ParseNumber(text, min, max);
    if (number.ok()) field(config) = *number * unit;
    return number.status();
  };
  setting.get = [field, unit](const Config& config) {
    return fmt::format("{}", field(const_cast<Config&>(config)) / unit);
  };
  return setting;
}

template <typename Field>
Setting Bool(std::string section, std::string key, Field field, std::string help) {
  Setting setting{std::move(section), std::move(key), "",     SettingKind::kBool, false,
                  std::move(help),    nullptr,        nullptr};
  setting.set = [field](Config& config, std::string_view text) {
    if (text != "true" && text != "false") return Malformed(text, "true or false");
    field(config) = text == "true";
    return absl::OkStatus();
  };
  setting.get = [field](const Config& config) {
    return field(const_cast<Config&>(config)) ? "true" : "false";
  };
  return setting;
}

template <typename Field>
Setting Text(std::string section, std::string key, Field field, std::string help) {
  Setting setting{std::move(section), std::move(key), "",     SettingKind::kText, false,
                  std::move(help),    nullptr,        nullptr};
  setting.set = [field](Config& config, std::string_view text) {
    field(config) = std::string(text);
    return absl::OkStatus();
  };
  setting.get = [field](const Config& config) { return field(const_cast<Config&>(config)); };
  return setting;
}

// The mode of a file, in octal.
template <typename Field>
Setting Mode(std::string section, std::string key, Field field, std::string help) {
  Setting setting{std::move(section), std::move(key), "",     SettingKind::kText, false,
                  std::move(help),    nullptr,        nullptr};
  setting.set = [field](Config& config, std::string_view text) {
    const std::string_view digits = text.substr(text.size() == 4 && text[0] == '0' ? 1 : 0);
    if (digits.size() != 3 || digits.find_first_not_of("01234567") != std::string_view::npos) {
      return Malformed(text, "a mode of three octal digits, such as 660");
    }
    field(config) = (digits[0] - '0') << 6 | (digits[1] - '0') << 3 | (digits[2] - '0');
    return absl::OkStatus();
  };
  setting.get = [field](const Config& config) {
    return fmt::format("{:03o}", field(const_cast<Config&>(config)));
  };
  return setting;
}

template <typename Field>
Setting List(std::string section, std::string key, Field field, std::string help) {
  Setting setting{std::move(section), std::move(key), "",     SettingKind::kList, false,
                  std::move(help),    nullptr,        nullptr};
  setting.set = [field](Config& config, std::string_view text) {
    std::vector<std::string> items;
    for (absl::string_view item :
         absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
      item = absl::StripAsciiWhitespace(item);
      if (!item.empty()) items.emplace_back(item);
    }
    field(config) = std::move(items);
    return absl::OkStatus();
  };
  setting.get = [field](const Config& config) {
    return absl::StrJoin(field(const_cast<Config&>(config)), ",");
  };
  return setting;
}

inline Setting Named(std::string flag, Setting setting) {
  setting.flag = std::move(flag);
  return setting;
}

// A setting that nearly everybody who runs a daemon looks for.
inline Setting Common(Setting setting) {
  setting.common = true;
  return setting;
}

inline Setting Secret(Setting setting) {
  setting.secret = true;
  return setting;
}

}  // namespace dt::setting_kinds

#endif  // DT_SERVER_SETTING_KINDS_H_
