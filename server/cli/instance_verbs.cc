// `instance ...`, all but `why` and `watch`.
#include <algorithm>

#include "fmt/format.h"
#include "server/cli/output.h"
#include "server/cli/verbs.h"

namespace dt::cli {
namespace {

constexpr int kInstancesPageMax = 1000;
constexpr size_t kNameCharactersMax = 60;

// Fills in the parts that lists and purges share: status and created time.
template <typename Filter>
absl::Status FillFilter(const Request& request, Filter& filter) {
  const absl::StatusOr<std::vector<OrchestrationStatus>> statuses =
      ParseStatuses(request.Get("status"));
  if (!statuses.ok()) return statuses.status();
  for (const OrchestrationStatus status : *statuses) filter.add_runtimestatus(status);
  for (const auto& [flag, after] : {std::pair("created-after", true), {"created-before", false}}) {
    if (!request.Has(flag)) continue;
    absl::StatusOr<google::protobuf::Timestamp> time = ParseTime(flag, request.Get(flag), true);
    if (!time.ok()) return time.status();
    *(after ? filter.mutable_createdtimefrom() : filter.mutable_createdtimeto()) = *std::move(time);
  }
  return absl::OkStatus();
}

absl::StatusOr<int> ListInstances(Session& session, const Request& request) {
  int limit = 100;
  if (request.Has("limit")) {
    const absl::StatusOr<int> given = ParseCount("limit", request.Get("limit"), 1'000'000);
    if (!given.ok()) return given.status();
    limit = *given;
  }
  QueryInstancesRequest query;
  const absl::Status filled = FillFilter(request, *query.mutable_query());
  if (!filled.ok()) return filled;
  if (request.Has("prefix")) {
    query.mutable_query()->mutable_instanceidprefix()->set_value(request.Get("prefix"));
  }
  std::vector<OrchestrationState> found;
  for (bool more = true; more && static_cast<int>(found.size()) < limit;) {
    query.mutable_query()->set_maxinstancecount(
        std::min(kInstancesPageMax, limit - static_cast<int>(found.size())));
    QueryInstancesResponse page;
    const grpc::Status status =
        session.sidecar().QueryInstances(session.NewContext().get(), query, &page);
    if (!status.ok()) return session.Explain(status);
    for (OrchestrationState& state : *page.mutable_orchestrationstate()) {
      found.push_back(std::move(state));
    }
    more = page.has_continuationtoken() && !page.continuationtoken().value().empty();
    *query.mutable_query()->mutable_continuationtoken() = page.continuationtoken();
  }
  if (request.json) {
    fmt::print("{}", JsonArray(found));
    return 0;
  }
  Table table({"ID", "NAME", "STATUS", "CREATED", "UPDATED"});
  for (const OrchestrationState& state : found) {
    table.Add({Printable(state.instanceid()), Cut(state.name(), kNameCharactersMax),
               StatusText(state.orchestrationstatus()), TimeText(state.createdtimestamp()),
               TimeText(state.lastupdatedtimestamp())});
  }
  fmt::print("{}", table.Text());
  return 0;
}

void PrintState(const OrchestrationState& state) {
  const auto line = [](std::string_view name, const std::string& value) {
    if (!value.empty()) fmt::print("{:<10}  {}\n", name, value);
  };
  line("id", Printable(state.instanceid()));
  line("name", Printable(state.name()));
  line("version", Printable(state.version().value()));
  line("status", StatusText(state.orchestrationstatus()));
  line("execution", Printable(state.executionid().value()));
  line("parent", Printable(state.parentinstanceid().value()));
  line("created", TimeText(state.createdtimestamp()));
  line("starts", TimeText(state.scheduledstarttimestamp()));
  line("updated", TimeText(state.lastupdatedtimestamp()));
  line("ended", TimeText(state.completedtimestamp()));
  for (const auto& [key, value] : state.tags()) {
    line("tag", fmt::format("{}={}", Printable(key), Printable(value)));
  }
  line("custom", Printable(state.customstatus().value()));
  line("input", Printable(state.input().value()));
  line("output", Printable(state.output().value()));
  line("failure", state.has_failuredetails() ? FieldsText(state.failuredetails()) : "");
}

absl::StatusOr<int> GetInstance(Session& session, const Request& request) {
  GetInstanceRequest get;
  get.set_instanceid(request.arguments[0]);
  get.set_getinputsandoutputs(!request.Has("no-payloads"));
  GetInstanceResponse response;
  const grpc::Status status =
      session.sidecar().GetInstance(session.NewContext().get(), get, &response);
  if (!status.ok()) return session.Explain(status);
  if (!response.exists()) {
    return absl::NotFoundError(
        fmt::format("no instance '{}' in {}", request.arguments[0], session.HubText()));
  }
  if (request.json) {
    fmt::print("{}\n", JsonOf(response.orchestrationstate()));
  } else {
    PrintState(response.orchestrationstate());
  }
  return 0;
}

// "taskScheduled" of an event as "TaskScheduled", and its message.
void AddEvent(const HistoryEvent& event, Table& table) {
  const google::protobuf::Reflection& reflection = *event.GetReflection();
  const google::protobuf::FieldDescriptor* field = reflection.GetOneofFieldDescriptor(
      event, HistoryEvent::descriptor()->FindOneofByName("eventType"));
  std::string name = field == nullptr ? "(unknown)" : field->name();
  if (field != nullptr) name[0] = static_cast<char>(name[0] - 'a' + 'A');
  table.Add({event.eventid() < 0 ? "" : std::to_string(event.eventid()),
             TimeText(event.timestamp()), name,
             field == nullptr ? "" : FieldsText(reflection.GetMessage(event, field))});
}

absl::StatusOr<int> ShowHistory(Session& session, const Request& request) {
  StreamInstanceHistoryRequest stream;
  stream.set_instanceid(request.arguments[0]);
  const std::unique_ptr<grpc::ClientContext> context = session.NewContext();
  const auto reader = session.sidecar().StreamInstanceHistory(context.get(), stream);
  std::vector<HistoryEvent> events;
  HistoryChunk chunk;
  while (reader->Read(&chunk)) {
    for (HistoryEvent& event : *chunk.mutable_events()) events.push_back(std::move(event));
  }
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return session.Explain(status);
  if (request.json) {
    fmt::print("{}", JsonArray(events));
    return 0;
  }
  Table table({"ID", "TIME", "EVENT", "DETAILS"});
  for (const HistoryEvent& event : events) AddEvent(event, table);
  fmt::print("{}", table.Text());
  return 0;
}

absl::StatusOr<int> StartInstance(Session& session, const Request& request) {
  CreateInstanceRequest create;
  create.set_name(request.arguments[0]);
  create.set_instanceid(request.Get("id"));
  if (request.Has("version")) create.mutable_version()->set_value(request.Get("version"));
  if (request.Has("input")) create.mutable_input()->set_value(request.Get("input"));
  if (request.Has("at")) {
    absl::StatusOr<google::protobuf::Timestamp> at = ParseTime("at", request.Get("at"), false);
    if (!at.ok()) return at.status();
    *create.mutable_scheduledstarttimestamp() = *std::move(at);
  }
  if (const auto tags = request.flags.find("tag"); tags != request.flags.end()) {
    for (const std::string& tag : tags->second) {
      const size_t equals = tag.find('=');
      if (equals == std::string::npos || equals == 0) {
        return absl::InvalidArgumentError(
            fmt::format("--tag is '{}', which is not KEY=VALUE", tag));
      }
      (*create.mutable_tags())[tag.substr(0, equals)] = tag.substr(equals + 1);
    }
  }
  CreateInstanceResponse response;
  const grpc::Status status =
      session.sidecar().StartInstance(session.NewContext().get(), create, &response);
  if (!status.ok()) return session.Explain(status);
  fmt::print("{}\n", request.json ? JsonOf(response) : Printable(response.instanceid()));
  return 0;
}

absl::StatusOr<int> RaiseEvent(Session& session, const Request& request) {
  RaiseEventRequest raise;
  raise.set_instanceid(request.arguments[0]);
  raise.set_name(request.arguments[1]);
  if (request.Has("input")) raise.mutable_input()->set_value(request.Get("input"));
  RaiseEventResponse response;
  const grpc::Status status =
      session.sidecar().RaiseEvent(session.NewContext().get(), raise, &response);
  if (!status.ok()) return session.Explain(status);
  return 0;
}

absl::StatusOr<int> SuspendInstance(Session& session, const Request& request) {
  SuspendRequest suspend;
  suspend.set_instanceid(request.arguments[0]);
  if (request.Has("reason")) suspend.mutable_reason()->set_value(request.Get("reason"));
  SuspendResponse response;
  const grpc::Status status =
      session.sidecar().SuspendInstance(session.NewContext().get(), suspend, &response);
  if (!status.ok()) return session.Explain(status);
  return 0;
}

absl::StatusOr<int> ResumeInstance(Session& session, const Request& request) {
  ResumeRequest resume;
  resume.set_instanceid(request.arguments[0]);
  if (request.Has("reason")) resume.mutable_reason()->set_value(request.Get("reason"));
  ResumeResponse response;
  const grpc::Status status =
      session.sidecar().ResumeInstance(session.NewContext().get(), resume, &response);
  if (!status.ok()) return session.Explain(status);
  return 0;
}

absl::StatusOr<int> TerminateInstance(Session& session, const Request& request) {
  const bool recursive = request.Has("recursive");
  const absl::Status confirmed =
      Confirm(request, fmt::format("terminate '{}'{} in {}", Printable(request.arguments[0]),
                                   recursive ? " and its children" : "", session.HubText()));
  if (!confirmed.ok()) return confirmed;
  TerminateRequest terminate;
  terminate.set_instanceid(request.arguments[0]);
  terminate.set_recursive(recursive);
  if (request.Has("with-output")) terminate.mutable_output()->set_value(request.Get("with-output"));
  TerminateResponse response;
  const grpc::Status status =
      session.sidecar().TerminateInstance(session.NewContext().get(), terminate, &response);
  if (!status.ok()) return session.Explain(status);
  return 0;
}

absl::StatusOr<int> RewindInstance(Session& session, const Request& request) {
  RewindInstanceRequest rewind;
  rewind.set_instanceid(request.arguments[0]);
  if (request.Has("reason")) rewind.mutable_reason()->set_value(request.Get("reason"));
  RewindInstanceResponse response;
  const grpc::Status status =
      session.sidecar().RewindInstance(session.NewContext().get(), rewind, &response);
  if (!status.ok()) return session.Explain(status);
  return 0;
}

absl::StatusOr<int> RestartInstance(Session& session, const Request& request) {
  RestartInstanceRequest restart;
  restart.set_instanceid(request.arguments[0]);
  restart.set_restartwithnewinstanceid(request.Has("new-id"));
  RestartInstanceResponse response;
  const grpc::Status status =
      session.sidecar().RestartInstance(session.NewContext().get(), restart, &response);
  if (!status.ok()) return session.Explain(status);
  fmt::print("{}\n", request.json ? JsonOf(response) : Printable(response.instanceid()));
  return 0;
}

// Purges batch by batch, as the server wants it for what matches a filter.
absl::StatusOr<int> RunPurge(Session& session, const Request& request,
                             PurgeInstancesRequest purge) {
  int64_t deleted = 0;
  Progress progress;
  for (bool more = true; more;) {
    PurgeInstancesResponse response;
    const grpc::Status status =
        session.sidecar().PurgeInstances(session.NewContext().get(), purge, &response);
    if (!status.ok()) return session.Explain(status);
    deleted += response.deletedinstancecount();
    // What cannot be purged now would be asked for again and again.
    more = response.has_iscomplete() && !response.iscomplete().value() &&
           response.deletedinstancecount() > 0;
    progress.Show(fmt::format("{} purged", deleted));
  }
  progress.Show("");
  if (request.json) {
    fmt::print("{{\"deletedInstanceCount\":\"{}\"}}\n", deleted);
  } else {
    fmt::print("{} {} purged\n", deleted, deleted == 1 ? "instance" : "instances");
  }
  return 0;
}

absl::StatusOr<int> PurgeInstances(Session& session, const Request& request) {
  PurgeInstancesRequest purge;
  purge.set_recursive(request.Has("recursive"));
  std::string what;
  const bool filtered =
      request.Has("status") || request.Has("created-before") || request.Has("created-after");
  if (filtered == !request.arguments.empty()) {
    return absl::InvalidArgumentError(
        "purge what? Give ids, or --status, --created-before or --created-after, and not both; "
        "`hub purge` purges all that has ended");
  }
  if (filtered) {
    const absl::Status filled = FillFilter(request, *purge.mutable_purgeinstancefilter());
    if (!filled.ok()) return filled;
    what = "all ended instances that match";
  } else {
    for (const std::string& id : request.arguments) {
      purge.mutable_instancebatch()->add_instanceids(id);
    }
    what = request.arguments.size() == 1 ? fmt::format("'{}'", Printable(request.arguments[0]))
                                         : fmt::format("{} instances", request.arguments.size());
  }
  const absl::Status confirmed =
      Confirm(request, fmt::format("purge {} with their histories in {}", what, session.HubText()));
  if (!confirmed.ok()) return confirmed;
  return RunPurge(session, request, std::move(purge));
}

absl::StatusOr<int> PurgeHub(Session& session, const Request& request) {
  if (!request.arguments.empty()) session.SetTaskHub(request.arguments[0]);
  PurgeInstancesRequest purge;
  const absl::Status filled = FillFilter(request, *purge.mutable_purgeinstancefilter());
  if (!filled.ok()) return filled;
  const absl::Status confirmed = Confirm(
      request,
      fmt::format("purge all ended instances with their histories in {}", session.HubText()));
  if (!confirmed.ok()) return confirmed;
  return RunPurge(session, request, std::move(purge));
}

constexpr Flag kStatus = {"status", "STATUS,...", "only these statuses"};
constexpr Flag kAfter = {"created-after", "TIME", "only those created at or after this"};
constexpr Flag kBefore = {"created-before", "TIME", "only those created before this"};
constexpr Flag kReason = {"reason", "TEXT", "for the history"};
constexpr Flag kRecursive = {"recursive", "", "its child orchestrations, too"};

}  // namespace

std::vector<Verb> InstanceVerbs() {
  return {
      {"instance",
       "list",
       {},
       "lists orchestrations, oldest first",
       {kStatus,
        kAfter,
        kBefore,
        {"prefix", "TEXT", "only ids that begin so"},
        {"limit", "N", "at most so many (100)"}},
       false,
       ListInstances},
      {"instance",
       "get",
       {"ID"},
       "shows an orchestration",
       {{"no-payloads", "", "without input, output and custom status"}},
       false,
       GetInstance},
      {"instance", "history", {"ID"}, "shows the events of its history", {}, false, ShowHistory},
      {"instance",
       "start",
       {"NAME"},
       "starts an orchestration and prints its id",
       {{"id", "ID", "its id (a random one)"},
        {"input", "JSON", "its input"},
        {"version", "TEXT", "its version"},
        {"at", "TIME", "when it starts (now)"},
        {"tag", "KEY=VALUE", "a tag; may be given more than once"}},
       false,
       StartInstance},
      {"instance",
       "raise",
       {"ID", "EVENT"},
       "raises an event for it",
       {{"input", "JSON", "what the event brings"}},
       false,
       RaiseEvent},
      {"instance", "suspend", {"ID"}, "suspends it", {kReason}, false, SuspendInstance},
      {"instance", "resume", {"ID"}, "lets it go on", {kReason}, false, ResumeInstance},
      {"instance",
       "terminate",
       {"ID"},
       "ends it",
       {{"with-output", "JSON", "its output"}, kRecursive},
       true,
       TerminateInstance},
      {"instance",
       "rewind",
       {"ID"},
       "runs the failed parts of a failed one again",
       {kReason},
       false,
       RewindInstance},
      {"instance",
       "restart",
       {"ID"},
       "runs an ended one again from its start and prints the id",
       {{"new-id", "", "under a new id"}},
       false,
       RestartInstance},
      {"instance",
       "purge",
       {"[ID...]"},
       "removes ended ones with their histories",
       {kStatus, kAfter, kBefore, kRecursive},
       true,
       PurgeInstances},
      {"hub",
       "purge",
       {"[NAME]"},
       "removes all ended instances of a task hub",
       {kStatus, kAfter, kBefore},
       true,
       PurgeHub},
  };
}

}  // namespace dt::cli
