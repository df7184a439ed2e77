// `instance why` and `instance watch`: what an instance waits for, once and again and again.
#include <unistd.h>

#include <cstdio>

#include "absl/time/clock.h"
#include "fmt/format.h"
#include "server/cli/output.h"
#include "server/cli/verbs.h"

namespace dt::cli {
namespace {

namespace v1 = durabletask::postgres::v1;

absl::StatusOr<v1::GetInstanceWaitsResponse> ReadWaits(Session& session, const std::string& id) {
  v1::GetInstanceWaitsRequest ask;
  ask.set_instance_id(id);
  v1::GetInstanceWaitsResponse response;
  const grpc::Status status =
      session.management().GetInstanceWaits(session.NewContext().get(), ask, &response);
  if (!status.ok()) return session.Explain(status);
  return response;
}

absl::StatusOr<int> Why(Session& session, const Request& request) {
  const absl::StatusOr<v1::GetInstanceWaitsResponse> response =
      ReadWaits(session, request.arguments[0]);
  if (!response.ok()) return response.status();
  if (request.json) {
    fmt::print("{}", JsonArray(response->waits()));
    return 0;
  }
  for (const v1::InstanceWait& wait : response->waits()) {
    fmt::print("{}\n", Printable(wait.sentence()));
  }
  return 0;
}

// One look at an instance.
struct Seen {
  OrchestrationStatus status = ORCHESTRATION_STATUS_PENDING;
  std::vector<std::string> lines;
};

absl::StatusOr<Seen> Look(Session& session, const std::string& id) {
  GetInstanceRequest get;
  get.set_instanceid(id);
  GetInstanceResponse response;
  const grpc::Status status =
      session.sidecar().GetInstance(session.NewContext().get(), get, &response);
  if (!status.ok()) return session.Explain(status);
  if (!response.exists()) {
    return absl::NotFoundError(fmt::format("no instance '{}' in {}", id, session.HubText()));
  }
  Seen seen;
  seen.status = response.orchestrationstate().orchestrationstatus();
  const absl::StatusOr<v1::GetInstanceWaitsResponse> waits = ReadWaits(session, id);
  if (!waits.ok()) return waits.status();
  for (const v1::InstanceWait& wait : waits->waits()) {
    seen.lines.push_back(
        fmt::format("{}  {}", StatusText(seen.status), Printable(wait.sentence())));
  }
  return seen;
}

bool HasEnded(OrchestrationStatus status) {
  return status == ORCHESTRATION_STATUS_COMPLETED || status == ORCHESTRATION_STATUS_FAILED ||
         status == ORCHESTRATION_STATUS_CANCELED || status == ORCHESTRATION_STATUS_TERMINATED;
}

// Shows what is seen: on a terminal in place of what was shown before, else what is new, with the
// time.
class Screen {
 public:
  void Show(const Seen& seen) {
    if (seen.lines == shown_) return;
    if (terminal_) {
      // Up to where it began, and what is below goes. A line that is wider than the terminal would
      // take two.
      if (!shown_.empty()) fmt::print("\x1b[{}A\x1b[J", shown_.size());
      for (const std::string& line : seen.lines) fmt::print("\x1b[?7l{}\x1b[?7h\n", line);
    } else {
      const std::string now =
          absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
      for (const std::string& line : seen.lines) fmt::print("{}  {}\n", now, line);
    }
    std::fflush(stdout);
    shown_ = seen.lines;
  }

 private:
  const bool terminal_ = isatty(STDOUT_FILENO) == 1;
  std::vector<std::string> shown_;
};

absl::StatusOr<int> Watch(Session& session, const Request& request) {
  absl::Duration interval = absl::Seconds(1);
  if (request.Has("interval") &&
      (!absl::ParseDuration(request.Get("interval"), &interval) ||
       interval < absl::Milliseconds(100) || interval > absl::Hours(1))) {
    return absl::InvalidArgumentError(fmt::format(
        "--interval is '{}', which is no duration from 100ms to 1h", request.Get("interval")));
  }
  const std::string& id = request.arguments[0];
  Screen screen;
  for (;;) {
    const absl::StatusOr<Seen> seen = Look(session, id);
    if (!seen.ok()) return seen.status();
    screen.Show(*seen);
    if (HasEnded(seen->status)) {
      return seen->status == ORCHESTRATION_STATUS_COMPLETED ? 0 : kExitEndedBadly;
    }
    // Its end is heard of at once; until then the next look is an interval away.
    GetInstanceRequest wait;
    wait.set_instanceid(id);
    GetInstanceResponse response;
    const grpc::Status status = session.sidecar().WaitForInstanceCompletion(
        session.NewContext(interval).get(), wait, &response);
    if (!status.ok() && status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) {
      return session.Explain(status);
    }
  }
}

}  // namespace

std::vector<Verb> WatchVerbs() {
  return {
      {"instance", "why", {"ID"}, "says what an orchestration or entity waits for", {}, false, Why},
      {"instance",
       "watch",
       {"ID"},
       "shows that until the orchestration ends",
       {{"interval", "TIME", "between two looks (1s)"}},
       false,
       Watch},
  };
}

}  // namespace dt::cli
