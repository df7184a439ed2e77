// SignalEntity, GetEntity, QueryEntities, CleanEntityStorage, and RaiseEvent for entities
// (RULES.md 7.31, 7.33-7.36).
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "server/entity/entity_requests.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/random_ids.h"
#include "server/rpc/read_call.h"
#include "server/rpc/sidecar_service.h"
#include "storage/steady_clock.h"

namespace dt::rpc {
namespace {

// How long a call goes on; what is left is for the next one, which has the token (7.36).
constexpr absl::Duration kCallTime = absl::Seconds(5);

// One QueryEntities: goes on as long as nothing was found, for kCallTime.
//
// Threads: Next runs on the thread of the handler and on those of the store, one at a time.
class EntityQueryCall : public std::enable_shared_from_this<EntityQueryCall> {
 public:
  EntityQueryCall(Store* store, EntitySearch search, grpc::CallbackServerContext* context,
                  ReadCall* reactor, QueryEntitiesResponse* response)
      : store_(store),
        search_(std::move(search)),
        context_(context),
        reactor_(reactor),
        response_(response) {}

  void Next() {
    store_->SearchEntities(search_, [self = shared_from_this()](absl::StatusOr<EntityPage> page) {
      self->OnPage(std::move(page));
    });
  }

 private:
  void OnPage(absl::StatusOr<EntityPage> page) {
    if (!page.ok()) return reactor_->Finish(ToGrpc(page.status()));
    if (page->rows.empty() && page->next && SteadyNow() - begin_ < kCallTime &&
        !context_->IsCancelled()) {
      search_.after_id = *page->next;
      return Next();
    }
    for (const EntityInfo& info : page->rows) {
      entity::FillEntityMetadata(info, search_.states, *response_->add_entities());
    }
    if (page->next) {
      response_->mutable_continuationtoken()->set_value(entity::EntityToken(*page->next));
    }
    reactor_->Answer(search_.hub, *response_);
  }

  Store* const store_;
  EntitySearch search_;
  grpc::CallbackServerContext* const context_;
  ReadCall* const reactor_;
  QueryEntitiesResponse* const response_;
  const absl::Time begin_ = SteadyNow();
};

// One CleanEntityStorage: batch after batch, each a transaction of its own, until the walk or the
// time is over or the caller has gone or lost its right. What is done by then stays done.
//
// Threads: as above.
class EntityCleanupCall : public std::enable_shared_from_this<EntityCleanupCall> {
 public:
  EntityCleanupCall(Store* store, ActionLog* actions, Action action, EntityCleanup request,
                    grpc::CallbackServerContext* context, UnaryReactor* reactor,
                    CleanEntityStorageResponse* response, std::unique_ptr<Permit> permit)
      : store_(store),
        actions_(actions),
        action_(std::move(action)),
        request_(std::move(request)),
        context_(context),
        reactor_(reactor),
        response_(response),
        permit_(std::move(permit)) {
    request_.caller_gone = [context] { return context->IsCancelled(); };
  }

  void Next() {
    store_->CleanEntities(request_,
                          [self = shared_from_this()](absl::StatusOr<EntityCleanupResult> result) {
                            self->OnBatch(result);
                          });
  }

 private:
  void OnBatch(const absl::StatusOr<EntityCleanupResult>& result) {
    absl::Status status = result.status();
    if (status.ok()) {
      removed_ += result->removed;
      released_ += result->released;
      if (permit_ != nullptr) status = permit_->Check();
    }
    if (status.ok() && result->next && SteadyNow() - begin_ < kCallTime &&
        !context_->IsCancelled()) {
      request_.after_id = *result->next;
      return Next();
    }
    Log();
    if (!status.ok()) return reactor_->Finish(ToGrpc(status));
    if (result->next) {
      response_->mutable_continuationtoken()->set_value(entity::EntityToken(*result->next));
    }
    response_->set_emptyentitiesremoved(ToCount(removed_));
    response_->set_orphanedlocksreleased(ToCount(released_));
    reactor_->Finish(grpc::Status::OK);
  }

  static int32_t ToCount(int64_t count) {
    constexpr int64_t kCountMax = std::numeric_limits<int32_t>::max();
    return static_cast<int32_t>(std::min(count, kCountMax));
  }

  void Log() const {
    if (removed_ == 0 && released_ == 0) return;
    actions_->Add(action_, fmt::format("{} entities, {} locks in {} ms", removed_, released_,
                                       absl::ToInt64Milliseconds(SteadyNow() - begin_)));
  }

  Store* const store_;
  ActionLog* const actions_;
  const Action action_;
  EntityCleanup request_;
  grpc::CallbackServerContext* const context_;
  UnaryReactor* const reactor_;
  CleanEntityStorageResponse* const response_;
  const std::unique_ptr<Permit> permit_;
  const absl::Time begin_ = SteadyNow();
  int64_t removed_ = 0;
  int64_t released_ = 0;
};

}  // namespace

SidecarService::Unary* SidecarService::SendToEntity(Context* context,
                                                    absl::StatusOr<entity::SignalPlan> plan) {
  Unary* reactor = new SimpleReactor();
  if (!plan.ok()) {
    reactor->Finish(ToGrpc(plan.status()));
    return reactor;
  }
  std::string name(MetadataValue(*context, "taskhub"));
  WithHub(
      context, reactor,
      [this, context, reactor, name = std::move(name), plan = *std::move(plan)](HubId hub) {
        dispatch_->SendMessage(
            ClientMessage{hub, plan.instance_id, plan.message, GoneOf(context), plan.request_id},
            [this, reactor, hub, name](absl::StatusOr<Delivery> delivery) {
              absl::Status status = delivery.status();
              // An entity is there for whoever sends to it, as long as its hub is.
              if (delivery.ok() && delivery->outcome == DeliveryOutcome::kNotFound) {
                hubs_.Forget(name, hub);
                status = absl::NotFoundError("the task hub was deleted");
              }
              reactor->Finish(ToGrpc(status));
            });
      });
  return reactor;
}

SidecarService::Unary* SidecarService::SignalEntity(Context* context,
                                                    const SignalEntityRequest* request,
                                                    SignalEntityResponse*) {
  thread_local orchestration::RandomIds ids;
  return SendToEntity(context,
                      entity::BuildSignal(*request, store_->Now(), ids, options_.requests));
}

SidecarService::Unary* SidecarService::GetEntity(Context* context, const GetEntityRequest* request,
                                                 GetEntityResponse* response) {
  auto* reactor = new ReadCall(&unread_answers_);
  absl::StatusOr<std::string> id =
      orchestration::NormalizeEntityId("instanceId", request->instanceid());
  if (!id.ok()) {
    reactor->Finish(ToGrpc(id.status()));
    return reactor;
  }
  WithHub(
      context, reactor,
      [this, id = *std::move(id), state = request->includestate(), response, reactor](HubId hub) {
        store_->ReadEntity(
            hub, id, state,
            [hub, response, reactor, state](absl::StatusOr<std::optional<EntityInfo>> info) {
              if (!info.ok()) return reactor->Finish(ToGrpc(info.status()));
              response->set_exists(info->has_value());
              if (info->has_value()) {
                entity::FillEntityMetadata(**info, state, *response->mutable_entity());
              }
              reactor->Answer(hub, *response);
            });
      });
  return reactor;
}

SidecarService::Unary* SidecarService::QueryEntities(Context* context,
                                                     const QueryEntitiesRequest* request,
                                                     QueryEntitiesResponse* response) {
  auto* reactor = new ReadCall(&unread_answers_);
  WithHub(context, reactor, [this, context, request, response, reactor](HubId hub) {
    absl::StatusOr<EntitySearch> search =
        entity::BuildEntityQuery(request->query(), hub, options_.pages, options_.requests);
    if (!search.ok()) return reactor->Finish(ToGrpc(search.status()));
    std::make_shared<EntityQueryCall>(store_, *std::move(search), context, reactor, response)
        ->Next();
  });
  return reactor;
}

SidecarService::Unary* SidecarService::CleanEntityStorage(Context* context,
                                                          const CleanEntityStorageRequest* request,
                                                          CleanEntityStorageResponse* response) {
  Unary* reactor = new SimpleReactor();
  WithHub(context, reactor, [this, context, request, response, reactor](HubId hub) {
    absl::StatusOr<std::optional<EntityCleanup>> cleanup =
        entity::BuildEntityCleanup(*request, hub, options_.requests);
    if (!cleanup.ok()) return reactor->Finish(ToGrpc(cleanup.status()));
    if (!cleanup->has_value()) return reactor->Finish(grpc::Status::OK);
    std::make_shared<EntityCleanupCall>(store_, &actions_, ActionOf(*context, "CleanEntityStorage"),
                                        **cleanup, context, reactor, response,
                                        Follow(*context, "CleanEntityStorage"))
        ->Next();
  });
  return reactor;
}

}  // namespace dt::rpc
