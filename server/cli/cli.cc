#include "server/cli/cli.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "fmt/format.h"

namespace dt::cli {
namespace {

constexpr std::string_view kCompletion = "completion";

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kExitNotAllowed;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
      return kExitWrongState;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
      return kExitUnavailable;
    default:
      return kExitFailed;
  }
}

int Fail(const absl::Status& status) {
  fmt::print(stderr, "durabletask-sidecar: {}\n", std::string(status.message()));
  return ExitCodeOf(status);
}

std::string UsageOf(const Verb& verb) {
  std::string text = fmt::format("{} {}", verb.group, verb.name);
  for (const std::string_view argument : verb.arguments) text += fmt::format(" {}", argument);
  return text;
}

std::string FlagsText(const std::vector<Flag>& flags) {
  std::string text;
  for (const Flag& flag : flags) {
    const std::string name =
        fmt::format("--{}{}{}", flag.name, flag.value.empty() ? "" : " ", flag.value);
    text += fmt::format("  {:<28}  {}\n", name, flag.help);
  }
  return text;
}

std::string HelpOf(const Verb& verb) {
  return fmt::format("durabletask-sidecar {}\n  {}{}\n\n{}{}Flags of all verbs:\n{}", UsageOf(verb),
                     verb.help, verb.asks ? "; asks first, unless --yes" : "",
                     FlagsText(verb.flags), verb.flags.empty() ? "" : "\n",
                     FlagsText(CommonFlags()));
}

std::string HelpOfGroup(std::string_view group) {
  std::string text;
  for (const Verb& verb : Verbs()) {
    if (verb.group != group) continue;
    text += fmt::format("  {:<28}  {}\n", UsageOf(verb), verb.help);
  }
  return text;
}

const Verb* FindVerb(std::string_view group, std::string_view name) {
  for (const Verb& verb : Verbs()) {
    if (verb.group == group && verb.name == name) return &verb;
  }
  return nullptr;
}

// A file holds the token and perhaps a line end.
absl::StatusOr<std::string> ReadToken(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) return absl::InvalidArgumentError(fmt::format("cannot read the file '{}'", path));
  return std::string(absl::StripAsciiWhitespace(text.str()));
}

// The flags that are about the connection; what is not given comes from the environment.
absl::Status FillSession(const Request& request,
                         const std::function<std::string(const char*)>& variable,
                         SessionOptions& session) {
  const auto given = [&](std::string_view flag, const char* name) {
    return request.Has(flag) ? request.Get(flag) : variable(name);
  };
  if (std::string address = given("address", "DTPG_ADDRESS"); !address.empty()) {
    session.address = std::move(address);
  }
  session.task_hub = given("taskhub", "DTPG_TASKHUB");
  session.token = variable("DTPG_TOKEN");
  if (const std::string file = given("token-file", "DTPG_TOKEN_FILE"); !file.empty()) {
    absl::StatusOr<std::string> token = ReadToken(file);
    if (!token.ok()) return token.status();
    session.token = *std::move(token);
  }
  session.ca_file = given("tls-ca-file", "DTPG_TLS_CA_FILE");
  session.certificate_file = given("tls-certificate-file", "DTPG_TLS_CERTIFICATE_FILE");
  session.key_file = given("tls-key-file", "DTPG_TLS_KEY_FILE");
  session.tls = request.Has("tls");
  if (request.Has("timeout") &&
      (!absl::ParseDuration(request.Get("timeout"), &session.timeout) ||
       session.timeout <= absl::ZeroDuration() || session.timeout > absl::Hours(24))) {
    return absl::InvalidArgumentError(
        fmt::format("--timeout is '{}', which is no duration such as 5s", request.Get("timeout")));
  }
  return absl::OkStatus();
}

// A flag or argument as CLI11 fills it in.
struct Slot {
  std::string name;
  std::vector<std::string> values;
  CLI::Option* option = nullptr;
};

void AddFlags(CLI::App& app, const std::vector<Flag>& flags, std::vector<Slot>& slots) {
  for (const Flag& flag : flags) {
    Slot& slot = slots.emplace_back();
    slot.name = std::string(flag.name);
    const std::string spelled = (flag.name == "output" ? "-o,--" : "--") + slot.name;
    slot.option = flag.value.empty() ? app.add_flag(spelled)
                                     : app.add_option(spelled, slot.values)
                                           ->allow_extra_args(false)
                                           ->expected(1)
                                           ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
}

absl::Status CheckArguments(const Verb& verb, const std::vector<std::string>& given) {
  size_t least = 0;
  bool more = false;
  for (const std::string_view argument : verb.arguments) {
    if (argument.front() != '[') ++least;
    more |= absl::StrContains(absl::string_view(argument.data(), argument.size()), "...");
  }
  if (given.size() < least || (!more && given.size() > verb.arguments.size())) {
    return absl::InvalidArgumentError(fmt::format(
        "this is `{}`: {} arguments too {}", UsageOf(verb),
        given.size() < least ? least - given.size() : given.size() - verb.arguments.size(),
        given.size() < least ? "few" : "many"));
  }
  for (const std::string& argument : given) {
    if (argument.empty()) {
      return absl::InvalidArgumentError(fmt::format("an argument of `{}` is empty", UsageOf(verb)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Request> ParseRequest(const Verb& verb, int argc, const char* const* argv) {
  CLI::App app;
  app.set_help_flag();
  std::vector<Slot> slots;
  // The options keep references to the values.
  slots.reserve(verb.flags.size() + CommonFlags().size() + 1);
  AddFlags(app, verb.flags, slots);
  AddFlags(app, CommonFlags(), slots);
  Request request;
  app.add_option("arguments", request.arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(
        fmt::format("{}; `durabletask-sidecar {} {} --help` lists the flags", error.what(),
                    verb.group, verb.name));
  }
  for (Slot& slot : slots) {
    if (slot.option->count() > 0) request.flags[slot.name] = std::move(slot.values);
  }
  const std::string output = request.Has("output") ? request.Get("output") : "table";
  if (output != "table" && output != "json") {
    return absl::InvalidArgumentError(
        fmt::format("--output is '{}'; known are table and json", output));
  }
  request.json = output == "json";
  request.yes = request.Has("yes");
  const absl::Status checked = CheckArguments(verb, request.arguments);
  if (!checked.ok()) return checked;
  return request;
}

}  // namespace

std::string Request::Get(std::string_view flag) const {
  const auto found = flags.find(flag);
  return found == flags.end() || found->second.empty() ? std::string() : found->second.back();
}

const std::vector<Verb>& Verbs() {
  static const auto* const verbs = [] {
    auto* const all = new std::vector<Verb>(InstanceVerbs());
    for (const std::vector<Verb>& more : {WatchVerbs(), HubVerbs(), EntityVerbs()}) {
      all->insert(all->end(), more.begin(), more.end());
    }
    return all;
  }();
  return *verbs;
}

const std::vector<Flag>& CommonFlags() {
  static const auto* const flags = new std::vector<Flag>{
      {"address", "HOST:PORT", "of the daemon (DTPG_ADDRESS, 127.0.0.1:4001)"},
      {"taskhub", "NAME", "task hub (DTPG_TASKHUB, the daemon's default one)"},
      {"token-file", "FILE", "holds the bearer token (DTPG_TOKEN_FILE, or DTPG_TOKEN itself)"},
      {"tls", "", "speaks TLS; so do the next three"},
      {"tls-ca-file", "FILE", "authorities of the daemon's certificate (DTPG_TLS_CA_FILE)"},
      {"tls-certificate-file", "FILE", "of the caller (DTPG_TLS_CERTIFICATE_FILE)"},
      {"tls-key-file", "FILE", "of that (DTPG_TLS_KEY_FILE)"},
      {"output", "table|json", "also -o (table)"},
      {"timeout", "TIME", "of each call (30s)"},
      {"yes", "", "asks nothing"},
      {"help", "", "this text"},
  };
  return *flags;
}

absl::Status Confirm(const Request& request, const std::string& what) {
  if (request.yes) return absl::OkStatus();
  if (isatty(STDIN_FILENO) != 1 || isatty(STDERR_FILENO) != 1) {
    return absl::InvalidArgumentError(fmt::format("this would {}; add --yes if you mean it", what));
  }
  fmt::print(stderr, "This will {}. Go on? [y/N] ", what);
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "y" || answer == "Y" || answer == "yes") return absl::OkStatus();
  return absl::FailedPreconditionError("nothing was done");
}

void Progress::Show(const std::string& text) {
  if (text.empty() && !shown_) return;
  if (isatty(STDERR_FILENO) != 1) return;
  fmt::print(stderr, "\r\x1b[K{}", text);
  std::fflush(stderr);
  shown_ = !text.empty();
}

bool IsForPeople(int argc, const char* const* argv) {
  if (argc < 2) return false;
  if (argv[1] == kCompletion) return true;
  return std::any_of(Verbs().begin(), Verbs().end(),
                     [argv](const Verb& verb) { return verb.group == argv[1]; });
}

absl::StatusOr<Parsed> Parse(int argc, const char* const* argv,
                             const std::function<std::string(const char*)>& variable) {
  const std::string_view group = argc > 1 ? argv[1] : "";
  const std::string_view name = argc > 2 ? argv[2] : "";
  Parsed parsed;
  if (group == kCompletion) {
    if (name != "bash" || argc > 3) {
      return absl::InvalidArgumentError("this is `completion bash`; there is no other shell yet");
    }
    parsed.help = BashCompletion();
    return parsed;
  }
  const Verb* verb = FindVerb(group, name);
  if (name == "--help" || name == "-h") {
    parsed.help = HelpOfGroup(group);
    return parsed;
  }
  if (verb == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("{}; there are\n\n{}",
                    name.empty() ? fmt::format("what of {}?", group)
                                 : fmt::format("'{} {}' is no verb", group, name),
                    HelpOfGroup(group)));
  }
  for (int i = 3; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--help") {
      parsed.help = HelpOf(*verb);
      return parsed;
    }
  }
  // From the verb on, which stands where CLI11 expects the name of the program.
  absl::StatusOr<Request> request = ParseRequest(*verb, argc - 2, argv + 2);
  if (!request.ok()) return request.status();
  parsed.request = *std::move(request);
  const absl::Status filled = FillSession(parsed.request, variable, parsed.session);
  if (!filled.ok()) return filled;
  parsed.verb = verb;
  return parsed;
}

int Run(int argc, const char* const* argv) {
  const absl::StatusOr<Parsed> parsed = Parse(argc, argv, [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  });
  if (!parsed.ok()) return Fail(parsed.status());
  if (parsed->verb == nullptr) {
    fmt::print("{}", parsed->help);
    return 0;
  }
  absl::StatusOr<std::unique_ptr<Session>> session = Session::Open(parsed->session);
  if (!session.ok()) return Fail(session.status());
  const absl::StatusOr<int> code = parsed->verb->run(**session, parsed->request);
  if (!code.ok()) return Fail(code.status());
  return *code;
}

}  // namespace dt::cli
