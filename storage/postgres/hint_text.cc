#include "storage/postgres/hint_text.h"

#include <algorithm>
#include <charconv>

#include "fmt/format.h"

namespace dt::postgres {
namespace {

constexpr size_t kNameDigits = 16;

char LetterOf(WaitHintKind kind) {
  switch (kind) {
    case WaitHintKind::kAwaited:
      return 'a';
    case WaitHintKind::kChanged:
      return 'c';
    case WaitHintKind::kTellAgain:
      return 't';
    case WaitHintKind::kWorkersChanged:
      return 'w';
  }
  return '?';
}

std::optional<WaitHintKind> KindOf(char letter) {
  for (const WaitHintKind kind : {WaitHintKind::kAwaited, WaitHintKind::kChanged,
                                  WaitHintKind::kTellAgain, WaitHintKind::kWorkersChanged}) {
    if (LetterOf(kind) == letter) return kind;
  }
  return std::nullopt;
}

// Takes a number from the front of the text.
template <typename Number>
bool Take(std::string_view& text, Number& number, int base = 10) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(rest - text.data()));
  return true;
}

bool TakeSpace(std::string_view& text) {
  if (text.empty() || text.front() != ' ') return false;
  text.remove_prefix(1);
  return true;
}

// All the names of waits that the text consists of.
std::optional<std::vector<uint64_t>> ParseNames(std::string_view text) {
  std::vector<uint64_t> names;
  for (; !text.empty(); text.remove_prefix(kNameDigits)) {
    std::string_view digits = text.substr(0, kNameDigits);
    uint64_t name = 0;
    const bool whole = digits.size() == kNameDigits;
    if (!whole || !Take(digits, name, 16) || !digits.empty()) return std::nullopt;
    names.push_back(name);
  }
  return names;
}

}  // namespace

std::string WorkHintText(HubId hub, WorkerId sender) { return fmt::format("{} {}", hub, sender); }

std::vector<std::string> WaitHintTexts(const WaitHints& hints, WorkerId sender) {
  std::vector<std::string> texts;
  size_t done = 0;
  do {
    std::string text = fmt::format("{} {} {}", hints.hub, sender, LetterOf(hints.kind));
    const size_t end = std::min(done + kWaitsPerHint, hints.waits.size());
    for (; done < end; ++done) {
      fmt::format_to(std::back_inserter(text), "{:016x}", hints.waits[done]);
    }
    texts.push_back(std::move(text));
  } while (done < hints.waits.size());
  return texts;
}

std::optional<ReceivedHint> ParseHint(std::string_view text) {
  ReceivedHint hint;
  if (!Take(text, hint.hub) || !TakeSpace(text) || !Take(text, hint.sender)) return std::nullopt;
  if (text.empty()) return hint;
  if (!TakeSpace(text) || text.empty()) return std::nullopt;
  const std::optional<WaitHintKind> kind = KindOf(text.front());
  std::optional<std::vector<uint64_t>> names = ParseNames(text.substr(1));
  if (!kind.has_value() || !names.has_value()) return std::nullopt;
  hint.waits = WaitHints{hint.hub, *kind, *std::move(names)};
  return hint;
}

}  // namespace dt::postgres
