#include "server/rpc/work_item_stream.h"

#include <utility>

#include "server/rpc/frame_buffer.h"
#include "server/rpc/status.h"
#include "spdlog/spdlog.h"
#include "storage/log_fields.h"
#include "storage/steady_clock.h"

namespace dt::rpc {
namespace {

// A health ping says that the stream lives. Behind unsent data it says nothing, and a worker that
// does not read for hours would gather them.
bool IsHealthPing(const orchestration::Frame& frame) {
  static const auto* const ping = [] {
    auto* bytes = new std::string;
    for (const SharedBytes& piece : orchestration::EncodeHealthPing()) *bytes += *piece;
    return bytes;
  }();
  return frame.size() == 1 && *frame.front() == *ping;
}

int64_t BytesOf(const orchestration::Frame& frame) {
  int64_t bytes = 0;
  for (const SharedBytes& piece : frame) bytes += static_cast<int64_t>(piece->size());
  return bytes;
}

}  // namespace

std::shared_ptr<WorkItemStream> WorkItemStream::Create(dispatch::DispatchThread* dispatch,
                                                       std::string name, size_t queue_items_max,
                                                       RepeatLimiter* lines) {
  std::shared_ptr<WorkItemStream> stream(
      new WorkItemStream(dispatch, std::move(name), queue_items_max, lines));
  absl::MutexLock lock(&stream->mutex_);
  stream->self_ = stream;
  return stream;
}

WorkItemStream::WorkItemStream(dispatch::DispatchThread* dispatch, std::string name,
                               size_t queue_items_max, RepeatLimiter* lines)
    : dispatch_(dispatch),
      name_(std::move(name)),
      queue_items_max_(queue_items_max),
      lines_(lines) {}

void WorkItemStream::Open(const std::shared_ptr<WorkItemStream>& stream,
                          dispatch::StreamOptions options) {
  {
    absl::MutexLock lock(&stream->mutex_);
    if (stream->end_.has_value()) return;
  }
  // Headers go out now, so that the worker knows that it is connected before there is work.
  stream->StartSendInitialMetadata();
  if (options.accepts_nothing()) {
    if (const auto left_out = stream->lines_->Admit("accepts nothing", SteadyNow())) {
      const LogFields fields(
          {{log_field::kTaskHub, options.hub_name}, {log_field::kWorkerId, options.worker_id}});
      spdlog::warn(
          "worker stream {}: its filters name no orchestration, no activity and no entity that it "
          "may have, so it gets no work; list some, or send no filters to get all{}",
          stream->name_, LeftOutNote(*left_out));
    }
  }
  const dispatch::StreamId id = stream->dispatch_->OpenStream(std::move(options), stream);
  bool gone = false;
  {
    absl::MutexLock lock(&stream->mutex_);
    stream->stream_id_ = id;
    stream->opened_ = true;
    gone = stream->end_.has_value();
  }
  if (gone) stream->CloseAtDispatcher("the worker is gone");
}

void WorkItemStream::Write(orchestration::Frame work_item) {
  if (permit_ != nullptr) {
    absl::Status permitted = permit_->Check();
    if (!permitted.ok()) return Revoke(std::move(permitted));
  }
  bool overflow = false;
  const int64_t bytes = BytesOf(work_item);
  {
    absl::MutexLock lock(&mutex_);
    if (end_.has_value()) return;
    if (!writing_) {
      writing_ = true;
    } else if (IsHealthPing(work_item)) {
      return;
    } else if (queue_.size() < queue_items_max_) {
      unread_bytes_.fetch_add(bytes, std::memory_order_relaxed);
      queue_.push_back(std::move(work_item));
      return;
    } else {
      overflow = true;
    }
  }
  if (overflow) {
    spdlog::error("worker stream {}: {} work items wait for it, more than its credits; ended",
                  name_, queue_items_max_);
    const absl::Status overflowed =
        absl::ResourceExhaustedError("more work items wait than the stream has credits");
    CloseAtDispatcher(overflowed.message());
    return End(overflowed);
  }
  unread_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  current_ = MakeByteBuffer(work_item);
  StartWrite(&current_);
}

void WorkItemStream::OnWriteDone(bool ok) {
  if (!ok) PeerGone();
  unread_bytes_.fetch_sub(static_cast<int64_t>(current_.Length()), std::memory_order_relaxed);
  orchestration::Frame next;
  bool more = false;
  std::optional<absl::Status> end;
  {
    absl::MutexLock lock(&mutex_);
    if (end_.has_value()) {
      writing_ = false;
      end = end_;
    } else if (queue_.empty()) {
      writing_ = false;
      return;
    } else {
      next = std::move(queue_.front());
      queue_.pop_front();
      more = !queue_.empty();
    }
  }
  if (end.has_value()) return Reactor::Finish(ToGrpc(*end));
  current_ = MakeByteBuffer(next);
  // With more to come, gRPC may gather this write with the next one: fewer packets.
  grpc::WriteOptions options;
  if (more) options.set_buffer_hint();
  StartWrite(&current_, options);
}

void WorkItemStream::Finish(absl::Status status) {
  if (status.ok()) status = absl::UnavailableError("the work item stream was ended");
  if (absl::IsNotFound(status) && on_hub_gone_ != nullptr) on_hub_gone_();
  End(std::move(status));
}

void WorkItemStream::End(absl::Status status) {
  bool now = false;
  {
    absl::MutexLock lock(&mutex_);
    if (end_.has_value()) return;
    end_ = status;
    for (const orchestration::Frame& frame : queue_) {
      unread_bytes_.fetch_sub(BytesOf(frame), std::memory_order_relaxed);
    }
    queue_.clear();
    now = !writing_;
  }
  if (now) Reactor::Finish(ToGrpc(status));
}

void WorkItemStream::Revoke(absl::Status refusal) {
  CloseAtDispatcher(refusal.message());
  End(std::move(refusal));
}

void WorkItemStream::PeerGone() {
  CloseAtDispatcher("the worker is gone");
  End(absl::CancelledError("the worker is gone"));
}

void WorkItemStream::OnCancel() { PeerGone(); }

void WorkItemStream::CloseAtDispatcher(absl::string_view reason) {
  std::optional<dispatch::StreamId> id;
  {
    absl::MutexLock lock(&mutex_);
    id.swap(stream_id_);
  }
  if (id.has_value()) dispatch_->CloseStream(*id, std::string(reason));
}

void WorkItemStream::OnDone() {
  std::shared_ptr<WorkItemStream> last;
  absl::Status end;
  bool opened = false;
  {
    absl::MutexLock lock(&mutex_);
    end = *end_;  // Finish was called, so it is set
    opened = opened_;
    last.swap(self_);
  }
  CloseAtDispatcher(end.message());
  if (opened) return;  // the dispatcher logs that it came and went
  if (const auto left_out = lines_->Admit("refused", SteadyNow())) {
    spdlog::warn("worker stream refused: {}: {}{}", name_, std::string(end.message()),
                 LeftOutNote(*left_out));
  }
}

}  // namespace dt::rpc
