#include "tests/support/fake_daemon.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_format.h"
#include "server/entity/entity_requests.h"
#include "server/orchestration/requests.h"
#include "server/orchestration/timestamps.h"

namespace dt::testing {
namespace {

constexpr int kTurnsMax = 1'000'000;  // more without time passing is a hot loop

template <typename T>
T Checked(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "fake daemon: %s\n", value.status().ToString().c_str());
  std::abort();
}

}  // namespace

std::string CountedIds::NewExecutionId() { return absl::StrFormat("%016x%016x", seed_, ++last_); }

FakeDaemon::FakeDaemon(Store* store, MemoryStore* steps, dispatch::DispatchLimits limits,
                       uint64_t seed)
    : store_(store),
      steps_(steps),
      ids_(seed),
      dispatcher_(std::move(limits), &ids_, seed, &metrics_) {
  store_->Start(this);
}

bool FakeDaemon::Turn() {
  const absl::Time now = store_->Now();
  const absl::Time steady = now + steady_ahead_;
  if (events_.empty() && dispatcher_.NextDeadline() > steady && dispatcher_.NextDue() > now) {
    return false;
  }
  std::vector<dispatch::Event> events;
  events.swap(events_);
  dispatcher_.Step(events, now, steady, effects_);
  if (transcript_ != nullptr) transcript_->Add(now, name_, effects_);
  dispatch::RunEffects(effects_, store_, [this](dispatch::Event event) { Post(std::move(event)); });
  return true;
}

void FakeDaemon::Settle() {
  for (int turns = 0; turns < kTurnsMax; ++turns) {
    const bool turned = Turn();
    const bool stepped = steps_->Step();
    if (!turned && !stepped) return;
  }
  std::fprintf(stderr, "fake daemon: it works without end although no time passes\n");
  std::abort();
}

FakeStream FakeDaemon::Open(HubId hub, dispatch::StreamOptions options) {
  FakeStream stream;
  stream.id = ++last_id_;
  stream.hub = hub;
  stream.sink = std::make_shared<FakeSink>();
  options.hub = hub;
  Post(dispatch::StreamOpened{stream.id, std::move(options), stream.sink});
  return stream;
}

void FakeDaemon::Close(const FakeStream& stream) { Post(dispatch::StreamClosed{stream.id}); }

void FakeDaemon::Start(HubId hub, const std::string& instance_id, const std::string& name,
                       const std::string& input, absl::StatusOr<CreateResult>* answer,
                       const std::string& version) {
  CreateInstanceRequest request;
  request.set_instanceid(instance_id);
  request.set_name(name);
  request.mutable_input()->set_value(input);
  if (!version.empty()) request.mutable_version()->set_value(version);
  orchestration::StartPlan plan =
      Checked(orchestration::BuildStart(request, hub, store_->Now(), ids_, {}));
  Post(dispatch::StartAsked{std::move(plan.instance),
                            [this, answer](absl::StatusOr<CreateResult> result) {
                              ++answers_;
                              if (answer != nullptr) *answer = std::move(result);
                            }});
}

void FakeDaemon::Send(ClientMessage message) {
  dispatch::ClientDelivered event{message.hub, message.instance_id, message.message, Delivery()};
  store_->SendMessage(std::move(message),
                      [this, event = std::move(event)](absl::StatusOr<Delivery> result) mutable {
                        ++answers_;
                        event.result = std::move(result);
                        Post(std::move(event));
                      });
}

void FakeDaemon::Raise(HubId hub, const std::string& instance_id, const std::string& name,
                       const std::string& input) {
  RaiseEventRequest request;
  request.set_instanceid(instance_id);
  request.set_name(name);
  request.mutable_input()->set_value(input);
  auto plan = Checked(orchestration::BuildRaiseEvent(request, store_->Now(), {}));
  Send({hub, plan.instance_id, std::move(plan.message)});
}

void FakeDaemon::Signal(HubId hub, const std::string& entity, const std::string& operation,
                        const std::string& input, std::optional<absl::Time> at) {
  SignalEntityRequest request;
  request.set_instanceid(entity);
  request.set_name(operation);
  request.mutable_input()->set_value(input);
  if (at.has_value()) *request.mutable_scheduledtime() = orchestration::ToTimestamp(*at);
  auto plan = Checked(entity::BuildSignal(request, store_->Now(), ids_, {}));
  Send({hub, plan.instance_id, std::move(plan.message)});
}

void FakeDaemon::Suspend(HubId hub, const std::string& instance_id) {
  SuspendRequest request;
  request.set_instanceid(instance_id);
  auto plan = Checked(orchestration::BuildSuspend(request, store_->Now(), {}));
  Send({hub, plan.instance_id, std::move(plan.message)});
}

void FakeDaemon::Resume(HubId hub, const std::string& instance_id) {
  ResumeRequest request;
  request.set_instanceid(instance_id);
  auto plan = Checked(orchestration::BuildResume(request, store_->Now(), {}));
  Send({hub, plan.instance_id, std::move(plan.message)});
}

void FakeDaemon::Terminate(HubId hub, const std::string& instance_id, const std::string& reason,
                           bool recurse) {
  TerminateRequest request;
  request.set_instanceid(instance_id);
  request.mutable_output()->set_value(reason);
  request.set_recursive(recurse);
  ClientTermination termination;
  termination.hub = hub;
  termination.termination = Checked(orchestration::BuildTerminate(request, store_->Now(), {}));
  dispatch::ClientDelivered event{hub, instance_id, termination.termination.message, Delivery()};
  store_->Terminate(std::move(termination),
                    [this, event = std::move(event)](absl::StatusOr<Delivery> result) mutable {
                      ++answers_;
                      event.result = std::move(result);
                      Post(std::move(event));
                    });
}

DoneCallback FakeDaemon::Keep(std::optional<absl::Status>* answer) {
  return [this, answer](absl::Status status) {
    ++answers_;
    if (answer != nullptr) *answer = std::move(status);
  };
}

dispatch::WaitId FakeDaemon::Wait(HubId hub, const std::string& instance_id,
                                  dispatch::DispatchThread::WaitFor wait_for,
                                  std::optional<absl::Status>* answer, dispatch::KnownRow* row,
                                  std::optional<dispatch::WaitSoFar> so_far) {
  const dispatch::WaitId id = ++last_id_;
  Post(dispatch::WaitAsked{
      id, hub, instance_id, wait_for,
      [row, done = Keep(answer)](absl::StatusOr<dispatch::KnownRow> result) mutable {
        if (row != nullptr && result.ok()) *row = *result;
        std::move(done)(result.status());
      },
      so_far});
  return id;
}

void FakeDaemon::Answer(HubId hub, OrchestratorResponse response,
                        std::optional<absl::Status>* answer) {
  Post(dispatch::TurnAnswered{hub, std::move(response), Keep(answer)});
}

void FakeDaemon::Answer(HubId hub, ActivityResponse response, std::optional<absl::Status>* answer) {
  Post(dispatch::ActivityAnswered{hub, std::move(response), Keep(answer)});
}

void FakeDaemon::Answer(HubId hub, EntityBatchResult result, std::optional<absl::Status>* answer) {
  Post(dispatch::EntityAnswered{hub, std::move(result), Keep(answer)});
}

void FakeDaemon::Abandon(HubId hub, const WorkItem& item) {
  dispatch::WorkType type = dispatch::WorkType::kTurn;
  if (item.has_activityrequest()) type = dispatch::WorkType::kActivity;
  if (item.has_entityrequestv2()) type = dispatch::WorkType::kEntity;
  Post(dispatch::Abandoned{type, hub, item.completiontoken(), Keep(nullptr)});
}

bool FakeDaemon::Work(const FakeStream& stream, const Functions& functions) {
  const std::optional<WorkItem> item = stream.sink->Take();
  if (!item.has_value()) return false;
  if (item->has_orchestratorrequest()) {
    Answer(stream.hub, RunTurn(functions, *item));
  } else if (item->has_entityrequestv2()) {
    Answer(stream.hub, RunBatch(functions, *item));
  } else {
    Answer(stream.hub, RunActivity(functions, *item));
  }
  return true;
}

void FakeDaemon::RunWorkers(const std::vector<FakeStream>& streams, const Functions& functions) {
  for (bool worked = true; worked;) {
    Settle();
    worked = false;
    for (const FakeStream& stream : streams) {
      while (Work(stream, functions)) worked = true;
    }
  }
}

}  // namespace dt::testing
