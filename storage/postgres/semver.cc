#include "storage/postgres/semver.h"

#include <algorithm>
#include <charconv>

namespace dt::postgres {
namespace {

bool IsNumber(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// A number of semver has no leading zeros.
bool ParseNumber(std::string_view text, uint32_t* number) {
  if (!IsNumber(text) || (text.size() > 1 && text[0] == '0')) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

std::vector<std::string_view> Split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (size_t dot = text.find('.'); dot != std::string_view::npos; dot = text.find('.')) {
    parts.push_back(text.substr(0, dot));
    text.remove_prefix(dot + 1);
  }
  parts.push_back(text);
  return parts;
}

bool IsIdentifier(std::string_view text) {
  auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  };
  if (text.empty() || !std::all_of(text.begin(), text.end(), allowed)) return false;
  return !IsNumber(text) || text.size() == 1 || text[0] != '0';
}

int Sign(bool below, bool above) { return below ? -1 : above ? 1 : 0; }

// Numbers by value and below words; words byte by byte.
int CompareIdentifiers(const std::string& a, const std::string& b) {
  bool a_number = IsNumber(a);
  bool b_number = IsNumber(b);
  if (a_number != b_number) return a_number ? -1 : 1;
  if (a_number && a.size() != b.size()) return Sign(a.size() < b.size(), true);
  return Sign(a<b, a> b);
}

}  // namespace

std::optional<Semver> ParseSemver(std::string_view text) {
  Semver version;
  text = text.substr(0, text.find('+'));
  size_t dash = text.find('-');
  std::vector<std::string_view> numbers = Split(text.substr(0, dash));
  if (numbers.size() != 3) return std::nullopt;
  for (size_t i = 0; i < 3; ++i) {
    if (!ParseNumber(numbers[i], &version.numbers[i])) return std::nullopt;
  }
  if (dash == std::string_view::npos) return version;
  for (std::string_view identifier : Split(text.substr(dash + 1))) {
    if (!IsIdentifier(identifier)) return std::nullopt;
    version.prerelease.emplace_back(identifier);
  }
  return version;
}

int CompareSemver(const Semver& a, const Semver& b) {
  for (int i = 0; i < 3; ++i) {
    if (a.numbers[i] != b.numbers[i]) return a.numbers[i] < b.numbers[i] ? -1 : 1;
  }
  if (a.prerelease.empty() || b.prerelease.empty()) {
    return Sign(b.prerelease.empty() && !a.prerelease.empty(),
                a.prerelease.empty() && !b.prerelease.empty());
  }
  size_t both = std::min(a.prerelease.size(), b.prerelease.size());
  for (size_t i = 0; i < both; ++i) {
    int order = CompareIdentifiers(a.prerelease[i], b.prerelease[i]);
    if (order != 0) return order;
  }
  return Sign(a.prerelease.size() < b.prerelease.size(), a.prerelease.size() > b.prerelease.size());
}

}  // namespace dt::postgres
