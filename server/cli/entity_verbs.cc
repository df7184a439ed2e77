// `entity ...`.
#include <algorithm>

#include "fmt/format.h"
#include "server/cli/output.h"
#include "server/cli/verbs.h"

namespace dt::cli {
namespace {

constexpr int kEntitiesPageMax = 1000;
constexpr size_t kStateCharactersMax = 60;

absl::StatusOr<int> ListEntities(Session& session, const Request& request) {
  int limit = 100;
  if (request.Has("limit")) {
    const absl::StatusOr<int> given = ParseCount("limit", request.Get("limit"), 1'000'000);
    if (!given.ok()) return given.status();
    limit = *given;
  }
  QueryEntitiesRequest query;
  query.mutable_query()->set_includestate(request.Has("states"));
  query.mutable_query()->set_includetransient(request.Has("all"));
  if (request.Has("prefix")) {
    query.mutable_query()->mutable_instanceidstartswith()->set_value(request.Get("prefix"));
  }
  std::vector<EntityMetadata> found;
  for (bool more = true; more && static_cast<int>(found.size()) < limit;) {
    query.mutable_query()->mutable_pagesize()->set_value(
        std::min(kEntitiesPageMax, limit - static_cast<int>(found.size())));
    QueryEntitiesResponse page;
    const grpc::Status status =
        session.sidecar().QueryEntities(session.NewContext().get(), query, &page);
    if (!status.ok()) return session.Explain(status);
    for (EntityMetadata& entity : *page.mutable_entities()) found.push_back(std::move(entity));
    more = page.has_continuationtoken() && !page.continuationtoken().value().empty();
    *query.mutable_query()->mutable_continuationtoken() = page.continuationtoken();
  }
  if (request.json) {
    fmt::print("{}", JsonArray(found));
    return 0;
  }
  Table table({"ID", "MODIFIED", "BACKLOG", "LOCKED BY", "STATE"});
  for (const EntityMetadata& entity : found) {
    table.Add({Printable(entity.instanceid()), TimeText(entity.lastmodifiedtime()),
               std::to_string(entity.backlogqueuesize()), Printable(entity.lockedby().value()),
               Cut(entity.serializedstate().value(), kStateCharactersMax)});
  }
  fmt::print("{}", table.Text());
  return 0;
}

absl::StatusOr<int> GetEntity(Session& session, const Request& request) {
  GetEntityRequest get;
  get.set_instanceid(request.arguments[0]);
  get.set_includestate(true);
  GetEntityResponse response;
  const grpc::Status status =
      session.sidecar().GetEntity(session.NewContext().get(), get, &response);
  if (!status.ok()) return session.Explain(status);
  if (!response.exists()) {
    return absl::NotFoundError(
        fmt::format("no entity '{}' with a state in {}", request.arguments[0], session.HubText()));
  }
  const EntityMetadata& entity = response.entity();
  if (request.json) {
    fmt::print("{}\n", JsonOf(entity));
    return 0;
  }
  fmt::print("id        {}\nmodified  {}\nbacklog   {}\n", Printable(entity.instanceid()),
             TimeText(entity.lastmodifiedtime()), entity.backlogqueuesize());
  if (!entity.lockedby().value().empty()) {
    fmt::print("locked by {}\n", Printable(entity.lockedby().value()));
  }
  fmt::print("state     {}\n", Printable(entity.serializedstate().value()));
  return 0;
}

absl::StatusOr<int> SignalEntity(Session& session, const Request& request) {
  SignalEntityRequest signal;
  signal.set_instanceid(request.arguments[0]);
  signal.set_name(request.arguments[1]);
  if (request.Has("input")) signal.mutable_input()->set_value(request.Get("input"));
  if (request.Has("at")) {
    absl::StatusOr<google::protobuf::Timestamp> at = ParseTime("at", request.Get("at"), false);
    if (!at.ok()) return at.status();
    *signal.mutable_scheduledtime() = *std::move(at);
  }
  SignalEntityResponse response;
  const grpc::Status status =
      session.sidecar().SignalEntity(session.NewContext().get(), signal, &response);
  if (!status.ok()) return session.Explain(status);
  return 0;
}

absl::StatusOr<int> CleanEntities(Session& session, const Request& request) {
  const absl::Status confirmed = Confirm(
      request, fmt::format("remove empty entities and release locks whose owner is gone in {}",
                           session.HubText()));
  if (!confirmed.ok()) return confirmed;
  CleanEntityStorageRequest clean;
  clean.set_removeemptyentities(true);
  clean.set_releaseorphanedlocks(true);
  int64_t removed = 0;
  int64_t released = 0;
  Progress progress;
  for (bool more = true; more;) {
    CleanEntityStorageResponse response;
    const grpc::Status status =
        session.sidecar().CleanEntityStorage(session.NewContext().get(), clean, &response);
    if (!status.ok()) return session.Explain(status);
    removed += response.emptyentitiesremoved();
    released += response.orphanedlocksreleased();
    more = response.has_continuationtoken() && !response.continuationtoken().value().empty();
    *clean.mutable_continuationtoken() = response.continuationtoken();
    progress.Show(fmt::format("{} removed", removed));
  }
  progress.Show("");
  if (request.json) {
    fmt::print("{{\"emptyEntitiesRemoved\":\"{}\",\"orphanedLocksReleased\":\"{}\"}}\n", removed,
               released);
  } else {
    fmt::print("{} empty entities removed, {} locks released\n", removed, released);
  }
  return 0;
}

}  // namespace

std::vector<Verb> EntityVerbs() {
  return {
      {"entity",
       "list",
       {},
       "lists entities by their ids",
       {{"prefix", "TEXT", "only ids that begin so"},
        {"states", "", "with their states"},
        {"all", "", "also those without a state"},
        {"limit", "N", "at most so many (100)"}},
       false,
       ListEntities},
      {"entity", "get", {"ID"}, "shows an entity and its state", {}, false, GetEntity},
      {"entity",
       "signal",
       {"ID", "OPERATION"},
       "sends it an operation and waits for no answer",
       {{"input", "JSON", "what the operation gets"}, {"at", "TIME", "when it runs (now)"}},
       false,
       SignalEntity},
      {"entity",
       "clean",
       {},
       "removes empty entities, and releases locks whose owner is gone",
       {},
       true,
       CleanEntities},
  };
}

}  // namespace dt::cli
