#include "server/dispatch/tokens.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "fmt/format.h"

namespace dt::dispatch {
namespace {

constexpr char kLetters[kWorkTypes] = {'o', 'a', 'e'};

// Takes a positive decimal number without sign or leading zero off the front of `text`.
std::optional<int64_t> TakeNumber(std::string_view& text) {
  if (text.empty() || text.front() < '1' || text.front() > '9') return std::nullopt;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

bool TakeColon(std::string_view& text) {
  if (text.empty() || text.front() != ':') return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::string FormatToken(const CompletionToken& token) {
  return fmt::format("{}:{}:{}", kLetters[Index(token.type)], token.lease, token.dispatch);
}

std::optional<CompletionToken> ParseToken(std::string_view text) {
  CompletionToken token;
  const auto* letter =
      std::find(std::begin(kLetters), std::end(kLetters), text.empty() ? ' ' : text.front());
  if (letter == std::end(kLetters)) return std::nullopt;
  token.type = kAllWorkTypes[letter - std::begin(kLetters)];
  text.remove_prefix(1);
  for (int64_t* number : {&token.lease, &token.dispatch}) {
    if (!TakeColon(text)) return std::nullopt;
    const std::optional<int64_t> taken = TakeNumber(text);
    if (!taken.has_value()) return std::nullopt;
    *number = *taken;
  }
  if (!text.empty()) return std::nullopt;
  return token;
}

}  // namespace dt::dispatch
