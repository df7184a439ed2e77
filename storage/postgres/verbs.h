// The verbs of PostgresStore: how each encodes its calls and decodes the answer. One class per SQL
// function; the functions and their envelopes are described in sql/logic.
//
// Invariants
//   * A reply per call, in the order of the calls; callbacks run in that order.
//   * After a call whose outcome was unknown and that was sent again, or that failed so, what it
//     left in the inboxes of this daemon's own instances was not told in any reply. `reread` is set
//     then: the next ReadNewMessages reads all of them.
//
// Threads. Encode, Complete and Fail run on the thread of the verb's lane; the context is shared.
#ifndef DT_STORAGE_POSTGRES_VERBS_H_
#define DT_STORAGE_POSTGRES_VERBS_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "storage/management_reads.h"
#include "storage/postgres/codec.h"
#include "storage/postgres/hints.h"
#include "storage/postgres/lane.h"
#include "storage/postgres/lone_form.h"
#include "storage/records.h"
#include "storage/store.h"

namespace dt::postgres {

// What the verbs of one store share.
struct VerbContext {
  std::string schema;
  size_t payload_inline_bytes_max = 0;  // larger values are stored by reference
  bool lone_forms = true;               // false: what comes alone is a batch of one (tests)
  std::atomic<WorkerId> worker{0};
  std::atomic<bool> reread{false};
  // Other daemons share the schema, as far as is known: then hints are worth their commit.
  std::atomic<bool> peers{true};
  // Called with the hub of work that other daemons may do; must not block.
  std::function<void(HubId)> hint = nullptr;
};

// `select * from <schema>.<function>($1, $2, $3)`: hub, envelope, bytes.
Statement BatchStatement(const VerbContext& context, const std::string& function);

template <typename Request, typename Reply>
class Call : public Operation {
 public:
  Call(const Verb* its_verb, VerbContext* context, Request its_request,
       LetterCallback<Request, Reply> done)
      : Operation(its_verb),
        request(std::move(its_request)),
        context_(context),
        done_(std::move(done)) {}

  void Fail(absl::Status status) override {
    if (absl::IsUnavailable(status)) context_->reread.store(true);
    std::move(done_)(std::move(request), std::move(status));
  }
  void Finish(absl::StatusOr<Reply> reply) {
    if (may_have_happened()) context_->reread.store(true);
    if (reply.ok() && context_->peers.load(std::memory_order_relaxed) &&
        LeavesWork(request, *reply, context_->worker.load())) {
      context_->hint(hub);
    }
    std::move(done_)(std::move(request), std::move(reply));
  }

  Request request;  // goes back to the caller at the end

 protected:
  VerbContext* const context_;
  LetterCallback<Request, Reply> done_;
};

// A verb over calls of one kind.
template <typename Request, typename Reply>
class CallVerb : public Verb {
 public:
  using ThisCall = Call<Request, Reply>;
  using Requests = std::vector<const Request*>;
  using Replies = std::vector<absl::StatusOr<Reply>>;

  CallVerb(VerbContext* context, const std::string& function, bool repeatable)
      : context_(context),
        statement_(BatchStatement(*context, function)),
        repeatable_(repeatable) {}
  // For a verb with other parameters than a batch, which encodes them itself.
  CallVerb(VerbContext* context, Statement statement)
      : context_(context), statement_(std::move(statement)), repeatable_(true) {}

  const Statement& statement() const override { return statement_; }
  const Statement& StatementFor(Operations operations) const override {
    const Lone* lone = LoneFor(operations);
    return lone == nullptr ? statement_ : lone->statement;
  }
  bool repeatable() const override { return repeatable_; }

  void Encode(Operations operations, Params* params) const override {
    if (const Lone* lone = LoneFor(operations); lone != nullptr) {
      return lone->Encode(operations.front()->hub, CallOf(operations.front()).request, params);
    }
    Envelope envelope(context_->payload_inline_bytes_max);
    envelope.BeginObject();
    bool again = false;
    for (const auto& operation : operations) again |= operation->may_have_happened();
    envelope.Flag("again", again);
    EncodeCalls(RequestsOf(operations), envelope);
    envelope.EndObject();
    envelope.Fill(operations.front()->hub, params);
  }

  bool Declines(const Result& result, Operations operations) const override {
    return result.rows() == 0 && LoneFor(operations) != nullptr;
  }

  absl::Status Complete(const Result& result, Operations operations) const override {
    Replies replies(operations.size());
    for (absl::StatusOr<Reply>& reply : replies) reply = Reply{};
    if (const Lone* lone = LoneFor(operations); lone != nullptr) {
      lone->Decode(result, CallOf(operations.front()).request, &*replies.front());
    } else {
      const absl::Status status = DecodeReplies(result, RequestsOf(operations), replies);
      if (!status.ok()) return status;
    }
    for (size_t i = 0; i < operations.size(); ++i) {
      CallOf(operations[i]).Finish(std::move(replies[i]));
    }
    return absl::OkStatus();
  }

 protected:
  // Adds the members of the batch object.
  virtual void EncodeCalls(const Requests& requests, Envelope& envelope) const = 0;
  // Fills the replies, which are default values before; an error is a bug in SQL or here.
  virtual absl::Status DecodeReplies(const Result& result, const Requests& requests,
                                     Replies& replies) const = 0;
  VerbContext* context() const { return context_; }

  using Lone = LoneForm<Request, Reply>;
  // The first form that fits a request is taken. For constructors.
  void AddLoneForm(std::unique_ptr<const Lone> form) { lone_forms_.push_back(std::move(form)); }

  static ThisCall& CallOf(const std::unique_ptr<Operation>& operation) {
    return static_cast<ThisCall&>(*operation);
  }
  static Requests RequestsOf(Operations operations) {
    Requests requests;
    requests.reserve(operations.size());
    for (const auto& operation : operations) requests.push_back(&CallOf(operation).request);
    return requests;
  }

 private:
  // null: these go as a batch.
  const Lone* LoneFor(Operations operations) const {
    if (operations.size() != 1 || operations.front()->as_batch() || !context_->lone_forms) {
      return nullptr;
    }
    for (const std::unique_ptr<const Lone>& form : lone_forms_) {
      if (form->Fits(CallOf(operations.front()).request)) return form.get();
    }
    return nullptr;
  }

  VerbContext* const context_;
  const Statement statement_;
  const bool repeatable_;
  std::vector<std::unique_ptr<const Lone>> lone_forms_;
};

// The 0-based position that a 1-based column names; kInternal if it is none of `count`.
absl::StatusOr<size_t> ItemIndex(const Result& result, int row, int column, size_t count);

// Columns key, token, seq, at of a delivery; its outcome is read by the caller.
struct DeliveryColumns {
  explicit DeliveryColumns(const Result& result)
      : outcome(result.Column("outcome")),
        key(result.Column("key")),
        token(result.Column("token")),
        seq(result.Column("seq")),
        at(result.Column("at")) {}
  Delivery Read(const Result& result, int row) const;
  int outcome, key, token, seq, at;
};

// The columns parent_key, parent_generation, parent_task_id and parent_instance_id.
std::optional<ParentLink> ReadParent(const Result& result, int row);

// The members of a batch that say what to search for, as __SearchCondition takes them.
void EncodeSearch(const InstanceSearch& search, Envelope& envelope);
// Filters as __SplitFilters takes them, the value of `key`.
void EncodeFilters(std::string_view key, const std::vector<NameFilter>& filters,
                   Envelope& envelope);
// A new instance as __InsertInstances takes it, with its payloads, without its braces.
void EncodeNewInstance(const NewInstance& instance, Envelope& envelope);
// A termination as __Terminate takes it, with its payloads, without its braces.
void EncodeTermination(const Termination& termination, Envelope& envelope);
size_t BytesOf(const NewMessage& message);
size_t BytesOf(const NewInstance& instance);
size_t BytesOf(const Checkpoint& checkpoint);
size_t RowsOf(const Checkpoint& checkpoint);

// A row of Workers.
struct WorkerRow {
  WorkerId worker = 0;
  std::string process;
  bool swept = false;   // dead, and known to be
  bool due = false;     // to be swept: its lease has run out
  bool silent = false;  // its session is gone
  absl::Time served_at;
  std::optional<std::string> served;  // nullopt = none, or as before
};
struct HubRequest {
  std::string name;
  bool create = false;
};
struct HistoryRequest {
  std::string instance_id;
  std::optional<std::string> execution_id;
  int64_t after_turn = 0;
  int64_t max_bytes = 0;
};
struct InboxRequest {
  InstanceKey key = 0;
  LeaseToken token = 0;
};
struct InstanceRequest {
  std::string instance_id;
  bool payloads = false;
};

struct EntityReadRequest {
  std::string instance_id;
  bool state = false;
};

using CreateVerb = CallVerb<NewInstance, CreateResult>;
using SendVerb = CallVerb<ClientMessage, Delivery>;
using TerminateVerb = CallVerb<ClientTermination, Delivery>;
using CheckpointVerb = CallVerb<Checkpoint, CheckpointResult>;
using DiscardVerb = CallVerb<DiscardRequest, LeaseOutcome>;
using ReleaseInstanceVerb = CallVerb<InstanceRelease, LeaseOutcome>;
using CompleteTaskVerb = CallVerb<TaskCompletion, TaskResult>;
using ReleaseTaskVerb = CallVerb<TaskRelease, LeaseOutcome>;
using ClaimInstancesVerb = CallVerb<ClaimRequest, ClaimResult>;
using ClaimTasksVerb = CallVerb<ClaimRequest, TaskClaimResult>;
using ReadNewMessagesVerb = CallVerb<WorkerId, std::vector<InboxRead>>;
using ReadInboxVerb = CallVerb<InboxRequest, InboxRead>;
using ReadInstanceVerb = CallVerb<InstanceRequest, std::optional<InstanceRow>>;
using ReadEntityVerb = CallVerb<EntityReadRequest, std::optional<EntityInfo>>;
using SearchEntitiesVerb = CallVerb<EntitySearch, EntityPage>;
using CleanEntitiesVerb = CallVerb<EntityCleanup, EntityCleanupResult>;
using ReadStatusVerb = CallVerb<std::string, InstanceStatus>;
using ReadRewindSourcesVerb = CallVerb<std::vector<std::string>, std::vector<RewindSource>>;
using RewindVerb = CallVerb<RewindRequest, RewindOutcome>;
using TerminateNowVerb = CallVerb<ImmediateTermination, std::vector<std::string>>;
using PurgeVerb = CallVerb<PurgeRequest, PurgeResult>;
using RetentionVerb = CallVerb<RetentionRequest, RetentionResult>;
using SearchVerb = CallVerb<InstanceSearch, InstancePage>;
using ResolveHubVerb = CallVerb<HubRequest, HubId>;
using DeleteHubVerb = CallVerb<std::string, bool>;
// Whether any hub is deleted and not all of it gone; the request is not looked at.
using LookForDeletedHubsVerb = CallVerb<bool, bool>;
using CleanHubsVerb = CallVerb<HubCleanupRequest, HubCleanupResult>;
// All workers, also those that are dead. The request: what they serve is told if it was written
// since about then; nullopt = in any case.
using ListWorkersVerb = CallVerb<std::optional<absl::Time>, std::vector<WorkerRow>>;
// The request names workers that are dead; the reply counts what was freed.
using SweepVerb = CallVerb<std::vector<WorkerId>, int64_t>;
using UnacceptedVerb = CallVerb<UnacceptedSearch, UnacceptedWork>;
using SampleVerb = CallVerb<SampleRequest, WorkSample>;
using ReadHistoryVerb = CallVerb<HistoryRequest, HistoryPage>;
using ReadWaitsVerb = CallVerb<std::string, std::vector<InstanceWait>>;
// The request is not looked at.
using HubWorkersVerb = CallVerb<bool, std::vector<HubWorker>>;
// The request: how many names at most.
using ListHubsVerb = CallVerb<int, std::vector<std::string>>;

std::unique_ptr<CreateVerb> MakeCreateVerb(VerbContext* context);
std::unique_ptr<SendVerb> MakeSendVerb(VerbContext* context);
std::unique_ptr<TerminateVerb> MakeTerminateVerb(VerbContext* context);
std::unique_ptr<CheckpointVerb> MakeCheckpointVerb(VerbContext* context);
std::unique_ptr<DiscardVerb> MakeDiscardVerb(VerbContext* context);
std::unique_ptr<ReleaseInstanceVerb> MakeReleaseInstanceVerb(VerbContext* context);
std::unique_ptr<CompleteTaskVerb> MakeCompleteTaskVerb(VerbContext* context);
std::unique_ptr<ReleaseTaskVerb> MakeReleaseTaskVerb(VerbContext* context);
std::unique_ptr<ClaimInstancesVerb> MakeClaimInstancesVerb(VerbContext* context);
std::unique_ptr<ClaimTasksVerb> MakeClaimTasksVerb(VerbContext* context);
std::unique_ptr<ReadNewMessagesVerb> MakeReadNewMessagesVerb(VerbContext* context);
std::unique_ptr<ReadInboxVerb> MakeReadInboxVerb(VerbContext* context);
std::unique_ptr<ReadInstanceVerb> MakeReadInstanceVerb(VerbContext* context);
std::unique_ptr<ReadStatusVerb> MakeReadStatusVerb(VerbContext* context);
std::unique_ptr<ReadRewindSourcesVerb> MakeReadRewindSourcesVerb(VerbContext* context);
std::unique_ptr<RewindVerb> MakeRewindVerb(VerbContext* context);
std::unique_ptr<TerminateNowVerb> MakeTerminateNowVerb(VerbContext* context);
std::unique_ptr<PurgeVerb> MakePurgeVerb(VerbContext* context);
std::unique_ptr<RetentionVerb> MakeRetentionVerb(VerbContext* context);
std::unique_ptr<SearchVerb> MakeSearchVerb(VerbContext* context);
std::unique_ptr<ReadHistoryVerb> MakeReadHistoryVerb(VerbContext* context);
std::unique_ptr<ReadEntityVerb> MakeReadEntityVerb(VerbContext* context);
std::unique_ptr<SearchEntitiesVerb> MakeSearchEntitiesVerb(VerbContext* context);
std::unique_ptr<CleanEntitiesVerb> MakeCleanEntitiesVerb(VerbContext* context);
std::unique_ptr<ResolveHubVerb> MakeResolveHubVerb(VerbContext* context);
std::unique_ptr<UnacceptedVerb> MakeUnacceptedVerb(VerbContext* context);
std::unique_ptr<DeleteHubVerb> MakeDeleteHubVerb(VerbContext* context);
std::unique_ptr<LookForDeletedHubsVerb> MakeLookForDeletedHubsVerb(VerbContext* context);
std::unique_ptr<CleanHubsVerb> MakeCleanHubsVerb(VerbContext* context);
std::unique_ptr<ListWorkersVerb> MakeListWorkersVerb(VerbContext* context);
std::unique_ptr<SweepVerb> MakeSweepVerb(VerbContext* context);
std::unique_ptr<ReadWaitsVerb> MakeReadWaitsVerb(VerbContext* context);
std::unique_ptr<HubWorkersVerb> MakeHubWorkersVerb(VerbContext* context);
std::unique_ptr<ListHubsVerb> MakeListHubsVerb(VerbContext* context);
std::unique_ptr<SampleVerb> MakeSampleVerb(VerbContext* context);

// The shorter forms of checkpoints and creations that come alone.
std::unique_ptr<const LoneForm<Checkpoint, CheckpointResult>> MakeLoneTurn(VerbContext* context);
std::unique_ptr<const LoneForm<Checkpoint, CheckpointResult>> MakeLoneEnd(VerbContext* context);
std::unique_ptr<const LoneForm<NewInstance, CreateResult>> MakeLoneCreation(VerbContext* context);

// Checkpoints as _CheckpointOrchestration takes them: members of the batch object.
void EncodeCheckpoints(const CheckpointVerb::Requests& checkpoints, Envelope& envelope);

// A checkpoint call whose consumed messages are gone alone in its batch (P0D01) has lost its lease.
class CheckpointCall : public Call<Checkpoint, CheckpointResult> {
 public:
  using Call::Call;
  void Fail(absl::Status status) override;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_VERBS_H_
