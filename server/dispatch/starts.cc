#include "server/dispatch/starts.h"

#include <utility>

#include "server/orchestration/random_ids.h"

namespace dt::dispatch {

void Starts::On(StartAsked& event) {
  NewInstance& instance = event.instance;
  Hub& hub = *matcher_.table().HubOf(instance.hub);
  auto context = std::make_unique<CreateContext>();
  context->done = std::move(event.done);
  if (!instance.scheduled_start.has_value()) {
    context->reservation = matcher_.Reserve(hub, WorkType::kTurn, instance.name, instance.version,
                                            instance.started.event);
  }
  if (context->reservation.has_value()) {
    instance.lease_token = step_.NewToken();
    claimer_.arrivals().Expect(instance.lease_token);
    context->early = StartEarly(instance, *context);
  }
  ++in_flight_;
  step_.Do(Create{std::move(instance), std::move(context)});
}

int64_t Starts::StartEarly(const NewInstance& instance, CreateContext& context) {
  Hub& hub = *matcher_.table().HubOf(instance.hub);
  const bool is_large =
      static_cast<int64_t>(instance.started.event->size()) > LargeItems::kReceiveBytes;
  if (step_.draining || is_large || !orchestration::IsRandomId(instance.instance_id) ||
      ResidentTable::FindById(hub, instance.instance_id) != nullptr || hub.early_starts.Skip()) {
    return 0;
  }
  matcher_.Unreserve(*context.reservation);  // the turn takes the credit
  context.reservation.reset();
  Resident& resident = residency_.AdoptUnconfirmed(instance);
  const int64_t number = resident.number;
  residency_.Reconsider(resident);
  return number;
}

void Starts::On(Created& event) {
  CreateContext& context = *event.context;
  const NewInstance& instance = event.instance;
  --in_flight_;
  if (context.reservation.has_value()) matcher_.Unreserve(*context.reservation);
  Resident* early = residency_.table().FindByNumber(context.early);
  if (!event.result.ok()) {
    OnFailed(event, early);
    return;
  }
  const CreateResult result = *event.result;
  step_.Do(AnswerCreate{std::move(context.done), std::move(event.result)});
  if (result.parent_notice.has_value()) mail_.ReadAgain(result.parent_notice->key);
  if (result.outcome == CreateOutcome::kReplaced) {
    Resident* replaced = residency_.FindById(instance.hub, instance.instance_id);
    if (replaced != nullptr && replaced != early) residency_.Drop(*replaced, /*release=*/false);
  }
  const bool created =
      result.outcome == CreateOutcome::kCreated || result.outcome == CreateOutcome::kReplaced;
  if (created) matcher_.table().HubOf(instance.hub)->metrics->instances_started.Add();
  if (created && instance.lease_token == 0) {
    claimer_.WorkFree(instance.hub, WorkType::kTurn);
  } else if (created && early != nullptr) {
    early->hub->early_starts.Succeeded();
    residency_.Confirm(*early, result);
    early = residency_.table().FindByNumber(context.early);
    if (early != nullptr) turns_.EndParked(*early);
  } else if (created) {
    residency_.AdoptNew(instance, result.key, result.started_seq, result.created_at);
  } else {
    if (early != nullptr) Refuse(*early);
    // An earlier try of the store made it, under this token, and its answer got lost.
    const bool lost = result.outcome == CreateOutcome::kAlready && instance.lease_token != 0;
    if (lost) claimer_.Recover(instance.hub, WorkType::kTurn, instance.lease_token);
  }
  claimer_.arrivals().Forget(instance.lease_token);
}

void Starts::OnFailed(Created& event, Resident* early) {
  const NewInstance& instance = event.instance;
  if (early != nullptr) Refuse(*early);
  if (instance.lease_token != 0 && !absl::IsInvalidArgument(event.result.status())) {
    claimer_.Recover(instance.hub, WorkType::kTurn, instance.lease_token);
  }
  claimer_.arrivals().Forget(instance.lease_token);
  step_.Do(AnswerCreate{std::move(event.context->done), std::move(event.result)});
}

void Starts::Refuse(Resident& early) {
  early.hub->early_starts.Failed();
  residency_.Drop(early, /*release=*/false);
}

}  // namespace dt::dispatch
