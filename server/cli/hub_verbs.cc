// `hub ...` but for `hub purge`, and `worker list`.
#include "absl/strings/str_join.h"
#include "fmt/format.h"
#include "server/cli/output.h"
#include "server/cli/verbs.h"

namespace dt::cli {
namespace {

namespace v1 = durabletask::postgres::v1;

constexpr size_t kNamesCharactersMax = 60;

absl::StatusOr<int> ListHubs(Session& session, const Request& request) {
  v1::ListTaskHubsResponse response;
  const grpc::Status status =
      session.management().ListTaskHubs(session.NewContext().get(), {}, &response);
  if (!status.ok()) return session.Explain(status);
  if (request.json) {
    fmt::print("{}\n", JsonOf(response));
    return 0;
  }
  for (const std::string& name : response.names()) fmt::print("{}\n", Printable(name));
  return 0;
}

absl::StatusOr<int> CreateHub(Session& session, const Request& request) {
  session.SetTaskHub(request.arguments[0]);
  CreateTaskHubResponse response;
  const grpc::Status status =
      session.sidecar().CreateTaskHub(session.NewContext().get(), {}, &response);
  if (!status.ok()) return session.Explain(status);
  return 0;
}

absl::StatusOr<int> DeleteHub(Session& session, const Request& request) {
  session.SetTaskHub(request.arguments[0]);
  const absl::Status confirmed =
      Confirm(request, fmt::format("delete {} with everything in it", session.HubText()));
  if (!confirmed.ok()) return confirmed;
  DeleteTaskHubResponse response;
  const grpc::Status status =
      session.sidecar().DeleteTaskHub(session.NewContext().get(), {}, &response);
  if (!status.ok()) return session.Explain(status);
  return 0;
}

absl::StatusOr<int> ListWorkers(Session& session, const Request& request) {
  v1::ListWorkersResponse response;
  const grpc::Status status =
      session.management().ListWorkers(session.NewContext().get(), {}, &response);
  if (!status.ok()) return session.Explain(status);
  if (request.json) {
    fmt::print("{}", JsonArray(response.workers()));
    return 0;
  }
  Table table({"DAEMON", "HOST", "STATE", "WORK", "STREAMS", "CREDITS", "IN FLIGHT", "NAMES"});
  for (const v1::Worker& worker : response.workers()) {
    table.Add({std::to_string(worker.worker_id()), Printable(worker.host()), worker.state(),
               worker.work(), std::to_string(worker.streams()), std::to_string(worker.credits()),
               std::to_string(worker.in_flight()),
               worker.takes_all_names()
                   ? "all"
                   : Cut(absl::StrJoin(worker.names(), ", "), kNamesCharactersMax)});
  }
  fmt::print("{}", table.Text());
  return 0;
}

}  // namespace

std::vector<Verb> HubVerbs() {
  return {
      {"hub", "list", {}, "lists the task hubs in which the caller may read", {}, false, ListHubs},
      {"hub", "create", {"NAME"}, "creates a task hub, if it is not there", {}, false, CreateHub},
      {"hub", "delete", {"NAME"}, "deletes a task hub with everything in it", {}, true, DeleteHub},
      {"worker",
       "list",
       {},
       "lists the daemons that have workers for the task hub, and what those take",
       {},
       false,
       ListWorkers},
  };
}

}  // namespace dt::cli
