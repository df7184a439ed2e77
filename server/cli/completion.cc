// The completion of bash, made from the table of verbs.
#include <map>
#include <string>

#include "fmt/format.h"
#include "server/cli/cli.h"

namespace dt::cli {
namespace {

// The verbs of the program that are no verbs for people: completed by their names only.
constexpr std::string_view kOtherVerbs =
    "serve dev schema healthcheck token config version help completion";

// Values that are words of a list, by the name of the flag; else files, where the value is one.
std::string ValuesOf(const Flag& flag) {
  if (flag.name == "output") return "COMPREPLY=($(compgen -W 'table json' -- \"$word\"))";
  if (flag.name == "status") {
    return "COMPREPLY=($(compgen -W 'Pending Running Suspended Completed Failed Terminated "
           "Canceled' -- \"$word\"))";
  }
  if (flag.value == "FILE") return "COMPREPLY=($(compgen -f -- \"$word\"))";
  return "COMPREPLY=()";
}

}  // namespace

std::string BashCompletion() {
  std::map<std::string_view, std::string> names;  // of the verbs of a group
  std::string flags;                              // a line for each verb
  std::map<std::string_view, std::string> values;
  std::string common;
  for (const Flag& flag : CommonFlags()) {
    common += fmt::format(" --{}", flag.name);
    if (!flag.value.empty()) values[flag.name] = ValuesOf(flag);
  }
  for (const Verb& verb : Verbs()) {
    names[verb.group] += fmt::format("{}{}", names[verb.group].empty() ? "" : " ", verb.name);
    std::string own;
    for (const Flag& flag : verb.flags) {
      own += fmt::format(" --{}", flag.name);
      if (!flag.value.empty()) values[flag.name] = ValuesOf(flag);
    }
    flags += fmt::format("    '{} {}') flags='{}' ;;\n", verb.group, verb.name,
                         own.empty() ? own : own.substr(1));
  }
  std::string groups;
  std::string cases;
  for (const auto& [group, verbs] : names) {
    groups += fmt::format(" {}", group);
    cases += fmt::format("    {}) words='{}' ;;\n", group, verbs);
  }
  std::string value_cases;
  for (const auto& [flag, reply] : values) {
    value_cases += fmt::format("    --{}) {}; return ;;\n", flag, reply);
  }
  return fmt::format(R"(# Completion for bash: source <(durabletask-sidecar completion bash)
_durabletask_sidecar() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words='' flags=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{}{}' -- "$word"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{}    completion) words='bash' ;;
    schema) words='up status print drop' ;;
    config) words='check print docs' ;;
  esac
  if [ "$COMP_CWORD" -eq 2 ]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    return
  fi
  case $before in
{}  esac
  case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{}    *) COMPREPLY=(); return ;;
  esac
  COMPREPLY=($(compgen -W "$flags{}" -- "$word"))
}}
complete -F _durabletask_sidecar durabletask-sidecar
)",
                     kOtherVerbs, groups, cases, value_cases, flags, common);
}

}  // namespace dt::cli
