// RunEffects: the only place where the dispatcher's wishes meet the store, the sinks and the
// callers.
#include <memory>
#include <utility>
#include <variant>

#include "server/dispatch/events.h"
#include "server/dispatch/rewind_call.h"

namespace dt::dispatch {
namespace {

struct Runner {
  Store* store;
  const std::function<void(Event)>& post;

  // Posts the letter with its answer as an event of this kind, with the context if it has one.
  template <typename Answered>
  auto Letter() {
    return [post = post](auto letter, auto result) {
      post(Answered{std::move(letter), std::move(result)});
    };
  }
  template <typename Answered, typename Context>
  auto Letter(std::unique_ptr<Context> context) {
    return [post = post, context = std::move(context)](auto letter, auto result) mutable {
      post(Answered{std::move(letter), std::move(result), std::move(context)});
    };
  }

  void operator()(WriteItem& effect) { effect.sink->Write(std::move(effect.frame)); }
  void operator()(FinishStream& effect) { effect.sink->Finish(std::move(effect.status)); }
  void operator()(Answer& effect) { std::move(effect.done)(std::move(effect.status)); }
  void operator()(AnswerHistory& effect) { std::move(effect.done)(std::move(effect.result)); }
  void operator()(AnswerCreate& effect) { std::move(effect.done)(std::move(effect.result)); }
  void operator()(AnswerWait& effect) { std::move(effect.done)(std::move(effect.result)); }

  void operator()(ClaimInstances& effect) {
    store->ClaimInstances(
        std::move(effect.request),
        [post = post](const ClaimRequest& request, absl::StatusOr<ClaimResult> result) {
          post(InstancesClaimed{WorkTypeOf(request.kind), request.hub, request.lease_token,
                                std::move(result)});
        });
  }
  void operator()(ClaimTasks& effect) {
    store->ClaimTasks(
        std::move(effect.request),
        [post = post](const ClaimRequest& request, absl::StatusOr<TaskClaimResult> result) {
          post(TasksClaimed{request.hub, request.lease_token, std::move(result)});
        });
  }
  void operator()(Commit& effect) {
    store->CommitCheckpoint(std::move(effect.checkpoint),
                            Letter<Committed>(std::move(effect.context)));
  }
  void operator()(RewindTurn& effect) {
    TurnRewound answer{effect.turn.hub,         effect.turn.key,        effect.turn.lease_token,
                       effect.turn.instance_id, std::move(effect.done), absl::OkStatus()};
    const HubId hub = effect.turn.hub;
    std::make_shared<RewindCall>(
        store, hub, std::move(effect.request), std::move(effect.turn),
        [post = post, answer = std::move(answer)](absl::Status status) mutable {
          answer.status = std::move(status);
          post(std::move(answer));
        })
        ->Begin();
  }
  void operator()(Discard& effect) {
    store->DiscardMessages(std::move(effect.request), Letter<Discarded>());
  }
  void operator()(Create& effect) {
    store->CreateInstance(std::move(effect.instance), Letter<Created>(std::move(effect.context)));
  }
  void operator()(EndTask& effect) {
    store->CompleteTask(std::move(effect.completion), Letter<TaskEnded>(std::move(effect.context)));
  }
  void operator()(ReadNewMessages& effect) {
    store->ReadNewMessages(effect.worker, [post = post, worker = effect.worker](
                                              absl::StatusOr<std::vector<InboxRead>> result) {
      post(NewMessagesRead{worker, std::move(result)});
    });
  }
  void operator()(ReadInbox& effect) {
    store->ReadInbox(effect.hub, std::move(effect.instance_id), effect.key, effect.lease_token,
                     [post = post, key = effect.key,
                      token = effect.lease_token](absl::StatusOr<InboxRead> result) {
                       post(InboxReadDone{key, token, std::move(result)});
                     });
  }
  void operator()(ReleaseInstance& effect) {
    store->ReleaseInstance(std::move(effect.release), Letter<InstanceReleased>());
  }
  void operator()(ReleaseTask& effect) {
    store->ReleaseTask(std::move(effect.release), Letter<TaskReleased>());
  }
  void operator()(Sweep&) {
    store->SweepDeadWorkers(
        [post = post](absl::StatusOr<SweepResult> result) { post(Swept{std::move(result)}); });
  }
  void operator()(FindUnaccepted& effect) {
    store->FindUnacceptedWork(std::move(effect.search), Letter<UnacceptedFound>());
  }
  void operator()(ReportWork& effect) {
    store->ReportWork(std::move(effect.report), effect.at_once);
  }
  void operator()(TellOthers& effect) { store->TellOthers(std::move(effect.hints)); }
  void operator()(ReadStatus& effect) {
    std::string copy = effect.instance_id;
    store->ReadStatus(effect.hub, std::move(effect.instance_id),
                      [post = post, hub = effect.hub,
                       id = std::move(copy)](absl::StatusOr<InstanceStatus> result) mutable {
                        post(StatusRead{hub, std::move(id), std::move(result)});
                      });
  }
};

}  // namespace

void RunEffects(std::vector<Effect>& effects, Store* store,
                const std::function<void(Event)>& post) {
  Runner runner{store, post};
  // Workers and the store go on by the others; nothing goes on by an acknowledgement.
  const auto waits = [](const Effect& effect) { return std::holds_alternative<Answer>(effect); };
  for (Effect& effect : effects) {
    if (!waits(effect)) std::visit(runner, effect);
  }
  for (Effect& effect : effects) {
    if (waits(effect)) std::visit(runner, effect);
  }
  effects.clear();
}

}  // namespace dt::dispatch
