// Verbs of clients: create, send, terminate. And what all verbs share.
#include "absl/container/btree_set.h"
#include "absl/strings/str_cat.h"
#include "storage/postgres/verbs.h"

namespace dt::postgres {

Statement BatchStatement(const VerbContext& context, const std::string& function) {
  return {function, absl::StrCat("select * from ", Connection::QuoteIdentifier(context.schema), ".",
                                 function, "($1, $2, $3)")};
}

absl::StatusOr<size_t> ItemIndex(const Result& result, int row, int column, size_t count) {
  const int64_t item = result.Int(row, column);
  if (item < 1 || static_cast<size_t>(item) > count) {
    return absl::InternalError(
        absl::StrCat("the answer names item ", item, " of a call with ", count, " items"));
  }
  return static_cast<size_t>(item - 1);
}

// The outcome of __Deliver for Delivery::unread; no DeliveryOutcome has this number.
constexpr int64_t kOkButUnread = 6;

Delivery DeliveryColumns::Read(const Result& result, int row) const {
  Delivery delivery;
  const int64_t code = result.Int(row, outcome);
  delivery.unread = code == kOkButUnread;
  delivery.outcome = delivery.unread ? DeliveryOutcome::kOk : static_cast<DeliveryOutcome>(code);
  delivery.key = result.OptionalInt(row, key).value_or(0);
  delivery.lease_token = result.OptionalInt(row, token).value_or(0);
  delivery.seq = result.OptionalInt(row, seq).value_or(0);
  if (!result.IsNull(row, at)) delivery.visible_at = result.Timestamp(row, at);
  return delivery;
}

std::optional<ParentLink> ReadParent(const Result& result, int row) {
  const std::optional<int64_t> key = result.OptionalInt(row, result.Column("parent_key"));
  if (!key) return std::nullopt;
  ParentLink parent;
  parent.key = *key;
  parent.generation = static_cast<Generation>(result.Int(row, result.Column("parent_generation")));
  if (const auto task = result.OptionalInt(row, result.Column("parent_task_id"))) {
    parent.task_id = static_cast<int32_t>(*task);
  }
  parent.instance_id = result.OptionalText(row, result.Column("parent_instance_id")).value_or("");
  return parent;
}

void EncodeNewInstance(const NewInstance& instance, Envelope& envelope) {
  PayloadSet payloads;
  envelope.String("id", instance.instance_id)
      .String("execution_id", instance.execution_id)
      .String("name", instance.name)
      .OptionalBytes("version", instance.version)
      .Value("input", instance.input, payloads)
      .TagObject("tags", instance.tags)
      .OptionalTime("start", instance.scheduled_start)
      .OptionalBytes("trace_context", instance.trace_context)
      .Int("replaceable", instance.replaceable)
      .Message(instance.started, payloads)
      .Payloads(payloads);
  if (instance.parent.has_value()) {
    envelope.Int("parent_key", instance.parent->key)
        .Int("parent_generation", instance.parent->generation)
        .OptionalInt("parent_task_id", instance.parent->task_id)
        .String("parent_instance_id", instance.parent->instance_id);
  }
  if (instance.lease_token != 0) envelope.Int("token", instance.lease_token);
}

void EncodeTermination(const Termination& termination, Envelope& envelope) {
  PayloadSet payloads;
  envelope.String("id", termination.instance_id)
      .OptionalBytes("reason", termination.reason)
      .Message(termination.message, payloads)
      .Payloads(payloads);
}

size_t BytesOf(const NewMessage& message) {
  return 64 + (message.event == nullptr ? 0 : message.event->size());
}

size_t BytesOf(const NewInstance& instance) {
  size_t bytes =
      256 + instance.instance_id.size() + instance.name.size() + BytesOf(instance.started);
  if (instance.input.has_value()) bytes += instance.input->size();
  for (const auto& [name, value] : instance.tags) bytes += name.size() + value.size();
  return bytes;
}

namespace {

class Create : public CreateVerb {
 public:
  explicit Create(VerbContext* context) : CallVerb(context, "_CreateInstances", true) {
    AddLoneForm(MakeLoneCreation(context));
  }
  // Two creations of one id in one statement could not see each other.
  bool one_per_key() const override { return true; }

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.BeginArray("items");
    for (const NewInstance* instance : requests) {
      envelope.BeginObject();
      EncodeNewInstance(*instance, envelope);
      envelope.EndObject();
    }
    envelope.EndArray();
  }

  absl::Status DecodeReplies(const Result& result, const Requests& requests,
                             Replies& replies) const override {
    const int item = result.Column("item");
    const int outcome = result.Column("outcome");
    const int status = result.Column("status");
    const int key = result.Column("key");
    const int seq = result.Column("seq");
    const int at = result.Column("at");
    for (int row = 0; row < result.rows(); ++row) {
      if (result.IsNull(row, item)) continue;
      const absl::StatusOr<size_t> index = ItemIndex(result, row, item, requests.size());
      if (!index.ok()) return index.status();
      if (result.Int(row, outcome) == kNoHub) {
        replies[*index] =
            absl::NotFoundError("the task hub was deleted; create it again, or use another one");
        continue;
      }
      CreateResult& reply = *replies[*index];
      reply.outcome = static_cast<CreateOutcome>(result.Int(row, outcome));
      if (!result.IsNull(row, status)) {
        reply.existing_status = static_cast<RuntimeStatus>(result.Int(row, status));
      }
      reply.key = result.Int(row, key);
      reply.started_seq = result.OptionalInt(row, seq).value_or(0);
      reply.created_at = result.Timestamp(row, at);
    }
    return DecodeNotices(result, requests, replies);
  }

 private:
  static constexpr int64_t kNoHub = 4;  // outcome

  // Rows without item: a replaced child told its parent. The id of the replaced instance is that of
  // one request, and "notice_item" names it.
  absl::Status DecodeNotices(const Result& result, const Requests& requests,
                             Replies& replies) const {
    const int notice_item = result.Column("notice_item");
    for (int row = 0; row < result.rows(); ++row) {
      if (result.IsNull(row, notice_item)) continue;
      const absl::StatusOr<size_t> index = ItemIndex(result, row, notice_item, requests.size());
      if (!index.ok()) return index.status();
      Delivery delivery;
      delivery.key = result.Int(row, result.Column("notice_key"));
      delivery.lease_token = result.OptionalInt(row, result.Column("notice_token")).value_or(0);
      delivery.seq = result.Int(row, result.Column("seq"));
      delivery.visible_at = result.Timestamp(row, result.Column("at"));
      CreateResult& reply = *replies[*index];
      reply.parent_notice = delivery;
      reply.parent_notice_event =
          std::make_shared<const std::string>(result.Bytes(row, result.Column("notice_event")));
    }
    return absl::OkStatus();
  }
};

// Deliveries with an outcome row per item.
absl::Status DecodeDeliveries(const Result& result,
                              std::vector<absl::StatusOr<Delivery>>& replies) {
  const int item = result.Column("item");
  const DeliveryColumns columns(result);
  for (int row = 0; row < result.rows(); ++row) {
    if (result.IsNull(row, item)) continue;
    const absl::StatusOr<size_t> index = ItemIndex(result, row, item, replies.size());
    if (!index.ok()) return index.status();
    replies[*index] = columns.Read(result, row);
  }
  return absl::OkStatus();
}

class Send : public SendVerb {
 public:
  // A message has no name by which a repeat could be recognized, so the caller decides.
  explicit Send(VerbContext* context) : CallVerb(context, "_AddOrchestrationEvents", false) {}

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.Int("worker", context()->worker.load()).BeginArray("items");
    for (const ClientMessage* message : requests) {
      PayloadSet payloads;
      envelope.BeginObject()
          .String("id", message->instance_id)
          .Message(message->message, payloads)
          .Payloads(payloads);
      if (!message->request_id.empty()) envelope.String("request_id", message->request_id);
      envelope.EndObject();
    }
    envelope.EndArray();
    absl::btree_set<std::string_view> entity_ids;
    for (const ClientMessage* message : requests) {
      if (IsEntityId(message->instance_id)) entity_ids.insert(message->instance_id);
    }
    if (entity_ids.empty()) return;
    envelope.BeginArray("entity_ids");
    for (const std::string_view id : entity_ids) envelope.String({}, id);
    envelope.EndArray();
  }
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    return DecodeDeliveries(result, replies);
  }
};

class TerminateInstances : public TerminateVerb {
 public:
  explicit TerminateInstances(VerbContext* context)
      : CallVerb(context, "_TerminateInstances", true) {}

 protected:
  void EncodeCalls(const Requests& requests, Envelope& envelope) const override {
    envelope.Int("worker", context()->worker.load()).BeginArray("items");
    for (const ClientTermination* request : requests) {
      envelope.BeginObject();
      EncodeTermination(request->termination, envelope);
      envelope.EndObject();
    }
    envelope.EndArray();
  }
  absl::Status DecodeReplies(const Result& result, const Requests&,
                             Replies& replies) const override {
    return DecodeDeliveries(result, replies);
  }
};

}  // namespace

std::unique_ptr<CreateVerb> MakeCreateVerb(VerbContext* context) {
  return std::make_unique<Create>(context);
}
std::unique_ptr<SendVerb> MakeSendVerb(VerbContext* context) {
  return std::make_unique<Send>(context);
}
std::unique_ptr<TerminateVerb> MakeTerminateVerb(VerbContext* context) {
  return std::make_unique<TerminateInstances>(context);
}

}  // namespace dt::postgres
