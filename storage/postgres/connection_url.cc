#include "storage/postgres/connection_url.h"

#include <libpq-fe.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace dt::postgres {
namespace {

constexpr char kMask[] = "***";
constexpr char kEncode[] =
    "write special characters in user name, password and database percent-encoded (% as %25, @ as "
    "%40, / as %2F, : as %3A, ? as %3F)";

absl::Status Malformed(std::string_view why, std::string_view advice) {
  return absl::InvalidArgumentError(
      absl::StrCat("the database URL is malformed: ", absl::string_view(why.data(), why.size()),
                   "; ", absl::string_view(advice.data(), advice.size())));
}

// What follows the scheme; nullopt for what libpq takes for no URI.
std::optional<std::string_view> AfterScheme(std::string_view url) {
  for (const std::string_view scheme : {"postgresql://", "postgres://"}) {
    if (url.substr(0, scheme.size()) == scheme) return url.substr(scheme.size());
  }
  return std::nullopt;
}

// libpq ends the password at the first '@' and looks for none after the first '/'. A second one, or
// one behind that, is in the password, or in another part, whose form is the same.
bool HasStrayAt(std::string_view rest) {
  const size_t at = rest.find('@');
  if (at < rest.find('/')) rest.remove_prefix(at + 1);
  return rest.substr(0, rest.find('?')).find('@') != std::string_view::npos;
}

// Ports of the hosts of a list; an empty one is the default.
bool ArePorts(std::string_view text) {
  for (const absl::string_view port :
       absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    int number = 0;
    if (port.empty()) continue;
    if (!absl::SimpleAtoi(port, &number) || number < 1 || number > 65535) return false;
  }
  return true;
}

// libpq's words up to the first that it quotes, unless nothing here is secret.
std::string WithoutQuotes(std::string_view message, bool secret) {
  std::string text(absl::StripAsciiWhitespace(absl::string_view(message.data(), message.size())));
  if (!secret) return text;
  text = absl::StrReplaceAll(text, {{"\"=\"", "'='"}});
  text.resize(std::min(text.size(), text.find('"')));
  for (const char* word : {":", "after"}) {
    text = std::string(absl::StripSuffix(absl::StripTrailingAsciiWhitespace(text), word));
  }
  return std::string(absl::StripTrailingAsciiWhitespace(text));
}

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

absl::Status CheckByLibpq(const std::string& url, bool uri) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, FreeOptions> options(
      PQconninfoParse(url.c_str(), &error));
  if (options == nullptr) {
    const std::string message = error == nullptr ? "no memory" : error;
    PQfreemem(error);
    const bool secret = absl::StrContains(url, "@") || absl::StrContains(url, "pass");
    return Malformed(WithoutQuotes(message, secret),
                     uri ? std::string_view(kEncode)
                         : "put values that hold spaces in single quotes, with \\ before ' and \\");
  }
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const std::string_view value = option->val == nullptr ? "" : option->val;
    if (option->keyword == std::string_view("port") && !ArePorts(value)) {
      return Malformed("the port is no number from 1 to 65535", kEncode);
    }
    if (option->keyword == std::string_view("dbname") &&
        value.find("://") != std::string_view::npos) {
      return Malformed("the name of the database is a URL", "give the URL alone");
    }
  }
  return absl::OkStatus();
}

// The end of a value of a key=value string.
size_t EndOfValue(std::string_view text, size_t begin) {
  if (begin < text.size() && text[begin] == '\'') {
    for (size_t i = begin + 1; i < text.size(); ++i) {
      if (text[i] == '\\')
        ++i;
      else if (text[i] == '\'')
        return i + 1;
    }
    return text.size();
  }
  return std::min(text.find_first_of(" \t\n&", begin), text.size());
}

}  // namespace

absl::Status CheckConnectionUrl(std::string_view url) {
  if (url.empty()) return absl::OkStatus();
  if (url.find('\0') != std::string_view::npos) return Malformed("it holds a zero byte", kEncode);
  const std::optional<std::string_view> rest = AfterScheme(url);
  if (rest.has_value()) {
    if (HasStrayAt(*rest)) {
      return Malformed("there is an @ that does not stand between password and host", kEncode);
    }
    return CheckByLibpq(std::string(url), /*uri=*/true);
  }
  const std::string_view first = url.substr(0, url.find('='));
  if (first.find_first_of(":/@") != std::string_view::npos) {
    return Malformed("it begins neither with postgresql:// nor with key=",
                     "write postgresql://user:password@host:port/database or host=... dbname=...");
  }
  if (first.size() == url.size()) return absl::OkStatus();  // the bare name of a database
  return CheckByLibpq(std::string(url), /*uri=*/false);
}

std::string MaskPasswords(std::string_view text) {
  std::string out;
  for (size_t next = 0; !text.empty(); text.remove_prefix(next)) {
    const size_t scheme = text.find("://");
    size_t key = text.find("password=");
    if (scheme == std::string_view::npos && key == std::string_view::npos) {
      next = text.size();
      out += text;
    } else if (key < scheme) {
      key += std::string_view("password=").size();
      next = EndOfValue(text, key);
      out += absl::StrCat(std::string(text.substr(0, key)), kMask);
    } else {
      const size_t begin = scheme + 3;
      next = std::min(text.find("://", begin), text.size());
      const size_t colon = text.find(':', begin);
      const size_t at = text.substr(0, next).rfind('@');
      if (at == std::string_view::npos || colon >= at) {
        next = begin;
        out += text.substr(0, begin);
      } else {
        next = at;
        out += absl::StrCat(std::string(text.substr(0, colon + 1)), kMask);
      }
    }
  }
  return out;
}

}  // namespace dt::postgres
