// One GetWorkItems call: the dispatcher's sink on one side, a gRPC write reactor on the other.
//
// Invariants
//   * One write is in flight at a time; what the dispatcher hands over meanwhile waits in a
//     queue that is bounded by the stream's credits.
//   * A worker that does not read (Java during a long activity) keeps its stream: flow control
//     holds the one write back, nothing else waits for it (RULES.md 1.10). Only when the daemon has
//     no memory left, the dispatcher ends it.
//   * Finish is called exactly once, also after a cancellation, never beside a write, never with OK
//     (1.7).
//   * Nothing is written that the caller may not have any more: its permit is asked about each
//   item,
//     and a change of the rules ends the stream (Revoke).
//   * The object keeps itself alive from Create to OnDone; the dispatcher may hold it longer.
//
// Threads: Write and Finish come from the dispatcher's steps, On... from threads of gRPC, Revoke
// from the one that reads the rules. `mutex_` is never held during a call to gRPC or to the
// dispatcher.
#ifndef DT_SERVER_RPC_WORK_ITEM_STREAM_H_
#define DT_SERVER_RPC_WORK_ITEM_STREAM_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/dispatch/dispatch_thread.h"
#include "server/rpc/access_control.h"
#include "server/rpc/counted_call.h"
#include "server/rpc/repeat_limiter.h"

namespace dt::rpc {

class WorkItemStream final : public Counted<grpc::ServerWriteReactor<grpc::ByteBuffer>>,
                             public dispatch::WorkItemSink,
                             public RevocableCall {
 public:
  // `name` is for logs, in which `lines` bounds what a caller can say by streams that are refused.
  // `queue_items_max`: frames that may wait for the worker; one more ends the stream, which returns
  // its items. The dispatcher and `lines` must outlive the call.
  static std::shared_ptr<WorkItemStream> Create(dispatch::DispatchThread* dispatch,
                                                std::string name, size_t queue_items_max,
                                                RepeatLimiter* lines);
  // What the worker may go on by; null = for ever. Before Open.
  void Hold(std::unique_ptr<Permit> permit) { permit_ = std::move(permit); }

  // What to do when the stream ends as its hub is gone. Before Open.
  void OnHubGone(std::function<void()> todo) { on_hub_gone_ = std::move(todo); }

  // Registers the stream with the dispatcher, unless the peer is already gone.
  static void Open(const std::shared_ptr<WorkItemStream>& stream, dispatch::StreamOptions options);

  // WorkItemSink.
  void Write(orchestration::Frame work_item) override;
  void Finish(absl::Status status) override;
  int64_t UnreadBytes() const override { return unread_bytes_.load(std::memory_order_relaxed); }

  // RevocableCall.
  void Revoke(absl::Status refusal) override;

  // Reactions.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  using Reactor = Counted<grpc::ServerWriteReactor<grpc::ByteBuffer>>;

  WorkItemStream(dispatch::DispatchThread* dispatch, std::string name, size_t queue_items_max,
                 RepeatLimiter* lines);

  // The peer is gone: nothing more can be written.
  void PeerGone();
  // Ends the stream with `status` as soon as no write is in flight; the first call wins.
  void End(absl::Status status);
  // Tells the dispatcher once that the peer is gone, and the reason for its log.
  void CloseAtDispatcher(absl::string_view reason);

  dispatch::DispatchThread* const dispatch_;
  const std::string name_;
  const size_t queue_items_max_;
  RepeatLimiter* const lines_;
  std::unique_ptr<Permit> permit_;
  std::function<void()> on_hub_gone_;

  // Owned by the write in flight: set before StartWrite, valid until OnWriteDone.
  grpc::ByteBuffer current_;
  std::atomic<int64_t> unread_bytes_ = 0;  // of the write in flight and the queue

  absl::Mutex mutex_;
  std::deque<orchestration::Frame> queue_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);  // set = no more writes
  std::optional<dispatch::StreamId> stream_id_ ABSL_GUARDED_BY(mutex_);
  bool opened_ ABSL_GUARDED_BY(mutex_) = false;  // at the dispatcher
  std::shared_ptr<WorkItemStream> self_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_WORK_ITEM_STREAM_H_
