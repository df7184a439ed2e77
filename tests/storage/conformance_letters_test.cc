// Store behaviour, the same for every implementation: verbs with a LetterCallback give back what
// they were given, whatever came of it (store.h, Letters).
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"
#include "tests/support/fault_store.h"

namespace dt::testing {
namespace {

template <typename Request, typename Reply>
using LetterVerb = void (Store::*)(Request, LetterCallback<Request, Reply>);

// All that a request says, to compare it.
class Printer {
 public:
  template <typename... Fields>
  Printer& All(const Fields&... fields) {
    (Add(fields), ...);
    return *this;
  }
  template <typename Number, std::enable_if_t<std::is_arithmetic_v<Number>, int> = 0>
  void Add(Number value) {
    absl::StrAppend(&text_, value, "|");
  }
  template <typename Enum, std::enable_if_t<std::is_enum_v<Enum>, int> = 0>
  void Add(Enum value) {
    Add(static_cast<int>(value));
  }
  void Add(const std::string& value) { absl::StrAppend(&text_, value, "|"); }
  void Add(absl::Time value) { Add(absl::FormatTime(value)); }
  void Add(absl::Duration value) { Add(absl::FormatDuration(value)); }
  void Add(const SharedBytes& value) { Add(value == nullptr ? "null" : *value); }
  template <typename T>
  void Add(const std::optional<T>& value) {
    Add(value.has_value());
    if (value.has_value()) Add(*value);
  }
  template <typename T>
  void Add(const std::vector<T>& values) {
    Add(values.size());
    for (const T& value : values) Add(value);
  }
  template <typename A, typename B>
  void Add(const std::pair<A, B>& value) {
    All(value.first, value.second);
  }
  template <typename T>
  void Add(const Change<T>& value) {
    All(value.kind, value.value);
  }
  void Add(const NewMessage& m) { All(m.generation, m.visible_at, m.event_type, m.event); }
  void Add(const AddressedMessage& m) {
    All(m.instance_id, m.message, m.after_children, m.execution_id, m.front);
  }
  void Add(const LockRequest& r) { All(r.critical_section, r.entity_ids, r.request); }
  void Add(const LockArrival& a) { All(a.request_seq, a.grant); }
  void Add(const LockWithdrawal& w) { All(w.owner_id, w.critical_section); }
  void Add(const EntityUpdate& e) { All(e.state, e.worked, e.unlock, e.arrival, e.withdrawals); }
  void Add(const Termination& t) { All(t.instance_id, t.reason, t.message, t.after_children); }
  void Add(const SubtreeTermination& t) { All(t.reason, t.message); }
  void Add(const ParentLink& p) { All(p.key, p.generation, p.task_id, p.instance_id); }
  void Add(const KeptTask& t) { All(t.task_id, t.key, t.lease_token); }
  void Add(const CompletedTask& t) { All(t.key, t.lease_token); }
  void Add(const InlinePlace& p) { All(p.instance_lease, p.task_id); }
  void Add(const HistoryChunk& c) { All(c.turn, c.first_event, c.event_count, c.events); }
  void Add(const NewTask& t) {
    All(t.task_id, t.name, t.version, t.request, t.lease_token, t.execution_id, t.in_history,
        t.is_inline);
  }
  void Add(const NewChild& c) { All(c.instance, c.conflict); }
  void Add(const InstanceUpdate& u) {
    All(u.status, u.custom_status, u.orchestration_trace_context, u.output, u.failure);
  }
  void Add(const NextGeneration& n) {
    All(n.execution_id, n.version, n.input, n.saved_custom_status);
  }
  void Add(const NameFilter& f) { All(f.lower_name, f.versions, f.spellings); }
  void Add(const ClaimGroup& g) { All(g.max_items, g.filters, g.excluded); }

  void Add(const NewInstance& i) {
    All(i.hub, i.instance_id, i.execution_id, i.name, i.version, i.input, i.tags, i.scheduled_start,
        i.parent, i.trace_context, i.started, i.replaceable, i.lease_token);
  }
  void Add(const Checkpoint& c) {
    All(c.key, c.hub, c.instance_id, c.lease_token, c.turn, c.generation, c.consumed,
        c.completed_tasks, c.completed_inline_tasks, c.kept_tasks, c.history, c.update,
        c.next_generation, c.ends, c.release)
        .All(c.own_messages, c.messages, c.parent_message, c.parent_key, c.parent_generation,
             c.terminations, c.subtree_termination, c.children, c.tasks, c.lock_requests,
             c.releases_locks, c.entity);
  }
  void Add(const DiscardRequest& r) {
    All(r.key, r.hub, r.instance_id, r.lease_token, r.seqs, r.release);
  }
  void Add(const InstanceRelease& r) {
    All(r.key, r.hub, r.instance_id, r.lease_token, r.delay, r.lost, r.kept_tasks);
  }
  void Add(const TaskCompletion& c) {
    All(c.key, c.lease_token, c.instance_key, c.generation, c.message, c.place, c.hub,
        c.instance_id);
  }
  void Add(const TaskRelease& r) {
    All(r.key, r.instance_key, r.hub, r.instance_id, r.lease_token, r.delay, r.lost, r.place);
  }
  void Add(const ClaimRequest& r) {
    All(r.hub, r.kind, r.lease_token, r.groups, r.repeat, r.max_messages, r.max_message_bytes,
        r.max_total_bytes);
  }
  void Add(const UnacceptedSearch& s) {
    All(s.hub, s.turns, s.tasks, s.entities, s.age_min, s.groups_max, s.count_max, s.names_max);
  }

  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

template <typename Request>
std::string TextOfRequest(const Request& request) {
  Printer printer;
  printer.Add(request);
  return printer.text();
}

// Sends a letter and checks what comes back with the answer, which it returns.
template <typename Request, typename Reply>
absl::StatusOr<Reply> Exchange(Store& store, LetterVerb<Request, Reply> verb, Request request) {
  std::optional<Request> back;
  std::optional<absl::StatusOr<Reply>> reply;
  absl::Notification answered;
  (store.*verb)(request, [&](Request its_request, absl::StatusOr<Reply> its_reply) {
    back = std::move(its_request);
    reply = std::move(its_reply);
    answered.Notify();
  });
  answered.WaitForNotification();
  CHECK((TextOfRequest(*back) == TextOfRequest(request)));  // without megabytes in the report
  return *std::move(reply);
}

// A checkpoint with something of every kind, small and large.
Checkpoint FullTurn(Harness& h, const Claim& claim) {
  Checkpoint turn = TurnOf(claim);
  turn.update = InstanceUpdate{};
  turn.update->custom_status = Change<std::string>::Set(std::string(100'000, 's'));
  turn.own_messages = {Event("own")};
  turn.messages = {{"other", Event(std::string(50'000, 'm'))}};
  turn.terminations = {{"nobody", "enough", Event("terminate", 5)}};
  turn.tasks.push_back({5, "Act", Payload("1"), Bytes("request"), h.a().NewToken()});
  NewChild child;
  child.instance = h.Instance("child of " + claim.instance_id);
  child.instance.parent = ParentLink{claim.key, 0, 3, claim.instance_id};
  child.instance.input = std::string(20'000, 'i');
  child.conflict = Event("conflict", 11);
  turn.children.push_back(child);
  return turn;
}

InstanceRelease ReleaseOf(const Claim& claim) {
  InstanceRelease release;
  release.key = claim.key;
  release.hub = claim.hub;
  release.instance_id = claim.instance_id;
  release.lease_token = claim.lease_token;
  return release;
}

TEST_CASE("store_letters_of_an_instance_come_back_with_their_answers") {
  Harness h(AnyKind());
  Store& store = h.a().store();
  NewInstance instance = h.Instance("one");
  instance.input = std::string(100'000, 'i');
  instance.version = "1.2";
  instance.tags = {{"color", "red"}};
  CHECK(Exchange(store, &Store::CreateInstance, instance)->outcome == CreateOutcome::kCreated);
  CHECK(Exchange(store, &Store::CreateInstance, instance)->outcome == CreateOutcome::kAlready);

  ClaimRequest request = h.Request();
  request.lease_token = h.a().NewToken();
  request.groups = {{1, std::vector<NameFilter>{{"work", {"1.2"}}}}};
  const auto claimed = Exchange(store, &Store::ClaimInstances, request);
  REQUIRE(claimed.ok());
  REQUIRE(claimed->claims.size() == 1);
  const Claim& claim = claimed->claims[0];
  const Checkpoint turn = FullTurn(h, claim);
  CHECK(Exchange(store, &Store::CommitCheckpoint, turn)->outcome == CheckpointOutcome::kCommitted);
  CHECK(Exchange(store, &Store::CommitCheckpoint, turn)->outcome == CheckpointOutcome::kAlready);
  Checkpoint missing = TurnOf(After(turn, claim));
  missing.consumed = {1'000'000'000};
  CHECK(Exchange(store, &Store::CommitCheckpoint, missing)->outcome ==
        CheckpointOutcome::kLeaseLost);

  const Delivery sent = h.a().Send(h.hub, "one", Event("unwanted"));
  CHECK(*Exchange(store, &Store::DiscardMessages,
                  DiscardRequest{claim.key, h.hub, "one", claim.lease_token, {sent.seq}}) ==
        LeaseOutcome::kReleased);
  const InstanceRelease release = ReleaseOf(claim);
  CHECK(*Exchange(store, &Store::ReleaseInstance, release) == LeaseOutcome::kReleased);
  CHECK(*Exchange(store, &Store::ReleaseInstance, release) == LeaseOutcome::kLeaseLost);
  UnacceptedSearch search;
  search.hub = h.hub;
  search.turns = std::vector<NameFilter>{{"other", {}}};
  CHECK(Exchange(store, &Store::FindUnacceptedWork, search).ok());
}

TEST_CASE("store_letters_of_a_task_come_back_with_their_answers") {
  Harness h(AnyKind());
  Store& store = h.a().store();
  const Claim claim = Started(h, "one");
  Checkpoint turn = TurnOf(claim);
  for (int32_t id = 0; id < 2; ++id) turn.tasks.push_back({id, "Act", {}, Bytes("request")});
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  ClaimRequest request = h.Request();
  request.lease_token = h.a().NewToken();
  request.groups = {{2, std::nullopt}};
  const auto claimed = Exchange(store, &Store::ClaimTasks, request);
  REQUIRE(claimed.ok());
  REQUIRE(claimed->tasks.size() == 2);
  const ActivityTask& first = claimed->tasks[0];
  TaskCompletion completion{first.key, first.lease_token, claim.key, 0,
                            Event(std::string(100'000, 'r'), 6)};
  completion.hub = h.hub;
  completion.instance_id = "one";
  CHECK(Exchange(store, &Store::CompleteTask, completion)->outcome == TaskOutcome::kOk);
  CHECK(Exchange(store, &Store::CompleteTask, completion)->outcome == TaskOutcome::kLeaseLost);
  TaskRelease release;
  release.key = claimed->tasks[1].key;
  release.instance_key = claim.key;
  release.hub = h.hub;
  release.instance_id = "one";
  release.lease_token = claimed->tasks[1].lease_token;
  CHECK(*Exchange(store, &Store::ReleaseTask, release) == LeaseOutcome::kReleased);
}

TEST_CASE("store_letters_of_a_batch_come_back_each_with_its_own_answer") {
  Harness h(AnyKind());
  constexpr int kLetters = 100;
  struct {
    absl::Mutex mutex;
    int answers ABSL_GUARDED_BY(mutex) = 0;
    std::vector<std::string> wrong ABSL_GUARDED_BY(mutex);
  } seen;
  // All for one id: only one of them makes an instance, and it says which execution that is.
  std::vector<NewInstance> instances;
  for (int i = 0; i < kLetters; ++i) instances.push_back(h.Instance(absl::StrCat("i", i % 10)));
  for (const NewInstance& instance : instances) {
    h.a().store().CreateInstance(
        instance, [&seen, wanted = instance.execution_id](const NewInstance& back,
                                                          const absl::StatusOr<CreateResult>&) {
          absl::MutexLock lock(&seen.mutex);
          ++seen.answers;
          if (back.execution_id != wanted) seen.wrong.push_back(back.execution_id);
        });
  }
  absl::MutexLock lock(&seen.mutex);
  seen.mutex.Await(absl::Condition(
      +[](int* answers) { return *answers == kLetters; }, &seen.answers));
  CHECK(seen.wrong.empty());
}

TEST_CASE("store_letters_come_back_from_a_store_that_has_stopped") {
  Harness h(AnyKind());
  const Claim claim = Started(h, "one");
  h.a().Stop();
  Store& store = h.a().store();
  CHECK(absl::IsUnavailable(Exchange(store, &Store::CreateInstance, h.Instance("two")).status()));
  CHECK(
      absl::IsUnavailable(Exchange(store, &Store::CommitCheckpoint, FullTurn(h, claim)).status()));
  CHECK(absl::IsUnavailable(Exchange(store, &Store::ReleaseInstance, ReleaseOf(claim)).status()));
}

TEST_CASE("fault_store_gives_letters_back_that_it_refused_or_whose_answers_it_lost") {
  Harness h(StoreKind::kMemory);
  FaultStore faults(&h.a().store(), /*seed=*/1);
  const Claim claim = Started(h, "one");
  const Checkpoint turn = FullTurn(h, claim);
  const auto commit = [&] { return Exchange<Checkpoint>(faults, &Store::CommitCheckpoint, turn); };
  faults.FailNext(FaultStore::Verb::kCheckpoint, absl::UnavailableError("refused"));
  CHECK(absl::IsUnavailable(commit().status()));
  faults.FailNext(FaultStore::Verb::kCheckpoint, absl::UnavailableError("lost"), /*applied=*/true);
  CHECK(absl::IsUnavailable(commit().status()));
  CHECK(commit()->outcome == CheckpointOutcome::kAlready);
}

}  // namespace
}  // namespace dt::testing
