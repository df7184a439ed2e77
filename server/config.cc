#include "server/config.h"

#include <algorithm>
#include <fstream>
#include <numeric>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "fmt/format.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include "toml++/toml.h"

namespace dt {
namespace {

constexpr char kEnvironmentPrefix[] = "DURABLETASK_";
constexpr char kConfigFileVariable[] = "DURABLETASK_CONFIG";

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above + 1, row[j - 1] + 1, change});
      diagonal = above;
    }
  }
  return row[b.size()];
}

absl::StatusOr<std::string> ReadSecretFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) return absl::InvalidArgumentError(fmt::format("cannot read the file '{}'", path));
  return std::string(absl::StripTrailingAsciiWhitespace(text.str()));
}

// Kubernetes puts variables like DURABLETASK_SERVICE_HOST into every pod when a service is named
// "durabletask"; they are no settings.
bool IsServiceLink(std::string_view name) {
  const absl::string_view text(name.data(), name.size());
  return absl::EndsWith(text, "_SERVICE_HOST") || absl::StrContains(text, "_SERVICE_PORT") ||
         absl::EndsWith(text, "_PORT") || absl::StrContains(text, "_PORT_");
}

class Loader {
 public:
  absl::Status Set(const Setting& setting, std::string_view value, const std::string& origin) {
    const absl::Status set = setting.set(loaded_.config, value);
    if (!set.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("{} ({}): {}", setting.name(), origin, std::string(set.message())));
    }
    loaded_.origins[setting.name()] = origin;
    return absl::OkStatus();
  }

  // One source of names and values. `name_of` is how the source calls a setting, `file_suffix` how
  // it marks the file of a secret.
  template <typename NameOf>
  absl::Status Apply(const std::string& name, std::string_view value, std::string_view what,
                     std::string_view file_suffix, const std::string& origin, NameOf name_of) {
    std::vector<std::string> names;
    for (const Setting& setting : Settings()) {
      names.push_back(name_of(setting));
      if (names.back() == name) return Set(setting, value, origin);
      if (!setting.secret) continue;
      names.push_back(names.back() + std::string(file_suffix));
      if (names.back() != name) continue;
      const absl::StatusOr<std::string> secret = ReadSecretFile(std::string(value));
      if (!secret.ok()) return secret.status();
      return Set(setting, *secret, origin);
    }
    return absl::InvalidArgumentError(UnknownKeyMessage(what, name, names));
  }

  absl::Status ApplyFile(const ConfigSources& sources);
  absl::Status ApplyEnvironment(const ConfigSources& sources);
  absl::Status ApplyFlags(const ConfigSources& sources);
  absl::Status ApplyDefaults(const ConfigSources& sources);

  LoadedConfig Take() { return std::move(loaded_); }

 private:
  LoadedConfig loaded_;
};

// The value of a TOML node as settings take it; nullopt for types that no setting has.
std::optional<std::string> NodeText(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  const auto* list = node.as_array();
  if (list == nullptr) return std::nullopt;
  std::vector<std::string> items;
  for (const toml::node& item : *list) {
    const auto* text = item.as_string();
    if (text == nullptr) return std::nullopt;
    items.push_back(text->get());
  }
  return absl::StrJoin(items, ",");
}

absl::Status Loader::ApplyFile(const ConfigSources& sources) {
  const toml::parse_result parsed = toml::parse(sources.file_text, sources.file_name);
  if (!parsed) {
    const auto& where = parsed.error().source().begin;
    return absl::InvalidArgumentError(fmt::format("{}, line {}, column {}: {}", sources.file_name,
                                                  where.line, where.column,
                                                  parsed.error().description()));
  }
  const auto name_of = [](const Setting& setting) { return setting.name(); };
  for (const auto& [section, node] : parsed.table()) {
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      return absl::InvalidArgumentError(
          fmt::format("{}: '{}' stands outside of a section", sources.file_name, section.str()));
    }
    for (const auto& [key, value] : *table) {
      const std::string name = fmt::format("{}.{}", section.str(), key.str());
      const std::optional<std::string> text = NodeText(value);
      if (!text.has_value()) {
        return absl::InvalidArgumentError(
            fmt::format("{}: {} must be a text, a whole number, true, false or a list of texts",
                        sources.file_name, name));
      }
      absl::Status applied =
          Apply(name, *text, sources.file_name + ": setting", "-file", sources.file_name, name_of);
      if (!applied.ok()) return applied;
    }
  }
  return absl::OkStatus();
}

absl::Status Loader::ApplyEnvironment(const ConfigSources& sources) {
  for (const auto& [name, value] : sources.environment) {
    if (!absl::StartsWith(name, kEnvironmentPrefix) || name == kConfigFileVariable) continue;
    if (IsServiceLink(name)) continue;
    absl::Status applied = Apply(name, value, "environment variable", "_FILE", name,
                                 [](const Setting& setting) { return setting.environment(); });
    if (!applied.ok()) return applied;
  }
  return absl::OkStatus();
}

absl::Status Loader::ApplyFlags(const ConfigSources& sources) {
  for (const auto& [name, value] : sources.flags) {
    absl::Status applied = Apply("--" + name, value, "flag", "-file", "--" + name,
                                 [](const Setting& setting) { return "--" + setting.flag; });
    if (!applied.ok()) return applied;
  }
  return absl::OkStatus();
}

absl::Status Loader::ApplyDefaults(const ConfigSources& sources) {
  for (const auto& [name, value] : sources.defaults) {
    absl::Status applied = Apply(name, value, "setting", "-file", "default of the verb",
                                 [](const Setting& setting) { return setting.name(); });
    if (!applied.ok()) return applied;
  }
  return absl::OkStatus();
}

// A value as TOML writes it.
std::string TomlValue(const Setting& setting, const std::string& value) {
  const auto quoted = [](std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + "\"";
  };
  if (setting.kind == SettingKind::kNumber || setting.kind == SettingKind::kBool) return value;
  if (setting.kind == SettingKind::kText) return quoted(value);
  std::vector<std::string> items;
  std::stringstream list(value);
  for (std::string item; std::getline(list, item, ',');) items.push_back(quoted(item));
  return "[" + absl::StrJoin(items, ", ") + "]";
}

}  // namespace

std::string UnknownKeyMessage(std::string_view what, std::string_view key,
                              const std::vector<std::string>& candidates) {
  const auto nearest = std::min_element(candidates.begin(), candidates.end(),
                                        [key](const std::string& a, const std::string& b) {
                                          return EditDistance(a, key) < EditDistance(b, key);
                                        });
  std::string message = fmt::format("{} '{}' is unknown", what, key);
  // What needs more changes than a slip of the keys is another word.
  const size_t slips_max = std::max<size_t>(2, key.size() / 4);
  if (nearest != candidates.end() && EditDistance(*nearest, key) <= slips_max) {
    message += fmt::format("; did you mean '{}'?", *nearest);
  }
  return message;
}

absl::StatusOr<LoadedConfig> LoadConfig(const ConfigSources& sources) {
  Loader loader;
  absl::Status status = loader.ApplyDefaults(sources);
  if (status.ok()) status = loader.ApplyFile(sources);
  if (status.ok()) status = loader.ApplyEnvironment(sources);
  if (status.ok()) status = loader.ApplyFlags(sources);
  if (!status.ok()) return status;
  return loader.Take();
}

std::string PrintConfig(const LoadedConfig& loaded) {
  std::string out;
  std::string section;
  for (const Setting& setting : Settings()) {
    if (setting.section != section) {
      out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", setting.section);
      section = setting.section;
    }
    std::string value = setting.get(loaded.config);
    if (setting.secret && !value.empty()) value = "***";
    out += fmt::format("{} = {}", setting.key, TomlValue(setting, value));
    const auto origin = loaded.origins.find(setting.name());
    if (origin != loaded.origins.end()) out += fmt::format("  # {}", origin->second);
    out += '\n';
  }
  return out;
}

std::string SettingsHelp(SettingsShown shown) {
  const Config defaults;
  std::string out;
  for (const Setting& setting : Settings()) {
    if (shown == SettingsShown::kCommon && !setting.common) continue;
    const std::string value = setting.get(defaults);
    out += fmt::format("  --{}{}\n      {}\n      environment {}, file [{}] {}{}\n", setting.flag,
                       setting.kind == SettingKind::kBool ? "[=true|false]" : " VALUE",
                       setting.help, setting.environment(), setting.section, setting.key,
                       value.empty() ? "" : fmt::format(", default {}", value));
  }
  return out;
}

std::string SettingsMarkdown() {
  const Config defaults;
  std::string out =
      "| file | flag | environment | default | meaning |\n"
      "|---|---|---|---|---|\n";
  for (const Setting& setting : Settings()) {
    const std::string value = setting.get(defaults);
    out += fmt::format("| `{}` | `--{}` | `{}` | {} | {}{} |\n", setting.name(), setting.flag,
                       setting.environment(), value.empty() ? "" : fmt::format("`{}`", value),
                       setting.help,
                       setting.secret ? "; also `" + setting.environment() + "_FILE`" : "");
  }
  return out;
}

}  // namespace dt
