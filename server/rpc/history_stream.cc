#include "server/rpc/history_stream.h"

#include <optional>
#include <utility>

#include "fmt/format.h"
#include "server/rpc/frame_buffer.h"
#include "server/rpc/status.h"

namespace dt::rpc {

std::shared_ptr<HistoryStream> HistoryStream::Create(grpc::CallbackServerContext* context,
                                                     Store* store, UnreadAnswers* answers,
                                                     HistoryLimits limits) {
  std::shared_ptr<HistoryStream> stream(new HistoryStream(context, store, answers, limits));
  stream->self_ = stream;
  return stream;
}

HistoryStream::HistoryStream(grpc::CallbackServerContext* context, Store* store,
                             UnreadAnswers* answers, HistoryLimits limits)
    : context_(context), store_(store), answers_(answers), limits_(limits) {}

void HistoryStream::SendStored(std::shared_ptr<HistoryStream> stream, HubId hub,
                               std::string instance_id, std::string execution_id) {
  HistoryStream& self = *stream;
  self.hub_ = hub;
  self.instance_id_ = std::move(instance_id);
  self.execution_id_ = std::move(execution_id);
  self.read_on_ = true;
  self.ReadPage();
}

void HistoryStream::SendTurn(std::shared_ptr<HistoryStream> stream,
                             dispatch::DispatchThread* dispatch, HubId hub, std::string instance_id,
                             std::string execution_id) {
  dispatch->ReadTurnHistory(
      hub, std::move(instance_id), std::move(execution_id),
      [stream = std::move(stream)](absl::StatusOr<std::vector<HistoryChunk>> history) {
        if (!history.ok()) return stream->End(history.status());
        if (stream->TakeChunks(*std::move(history))) stream->WriteNext();
      });
}

void HistoryStream::Refuse(absl::Status status) { End(std::move(status)); }

void HistoryStream::ReadPage() {
  if (context_->IsCancelled()) return End(absl::CancelledError("the caller is gone"));
  // All pages are read by one execution id, the first one's, so that a ContinueAsNew between two of
  // them cannot mix two generations.
  std::optional<std::string> execution_id;
  if (!execution_id_.empty()) execution_id = execution_id_;
  store_->ReadHistory(
      hub_, instance_id_, std::move(execution_id), after_turn_, limits_.page_bytes,
      [stream = self_](absl::StatusOr<HistoryPage> page) { stream->TakePage(std::move(page)); });
}

void HistoryStream::TakePage(absl::StatusOr<HistoryPage> page) {
  if (absl::IsNotFound(page.status()) && after_turn_ > 0) {
    return End(absl::AbortedError(
        fmt::format("instance '{}' was removed or went on to another execution while its history "
                    "was read; ask again",
                    instance_id_)));
  }
  if (!page.ok()) return End(page.status());
  execution_id_ = std::move(page->execution_id);
  if (TakeChunks(std::move(page->chunks))) WriteNext();
}

bool HistoryStream::TakeChunks(std::vector<HistoryChunk> chunks) {
  if (chunks.empty()) {
    End(absl::OkStatus());
    return false;
  }
  int64_t bytes = 0;
  for (const HistoryChunk& chunk : chunks) bytes += static_cast<int64_t>(chunk.events->size());
  // The slices of a turn in flight are the instance's own.
  absl::Status counted = read_on_ ? answers_->Count(hub_, bytes, charge_) : absl::OkStatus();
  if (!counted.ok()) {
    End(std::move(counted));
    return false;
  }
  after_turn_ = chunks.back().turn;
  pager_ = HistoryPager(std::move(chunks), limits_.chunk_bytes_max);
  return true;
}

void HistoryStream::WriteNext() {
  if (permit_ != nullptr) {
    absl::Status permitted = permit_->Check();
    if (!permitted.ok()) return End(std::move(permitted));
  }
  absl::StatusOr<std::optional<std::string>> chunk = pager_.Next();
  if (!chunk.ok()) return End(chunk.status());
  if (!chunk->has_value()) return read_on_ ? ReadPage() : End(absl::OkStatus());
  current_ = MakeByteBuffer(**std::move(chunk));
  StartWrite(&current_);
}

void HistoryStream::OnWriteDone(bool ok) {
  if (!ok) return End(absl::CancelledError("the caller is gone"));
  WriteNext();
}

void HistoryStream::End(absl::Status status) { Finish(ToGrpc(status)); }

void HistoryStream::OnDone() { const std::shared_ptr<HistoryStream> last = std::move(self_); }

}  // namespace dt::rpc
