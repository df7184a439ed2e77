// One StreamInstanceHistory call.
//
// A client's stream pages through the store: the next page is read only when the last one is
// written, so a slow reader costs one page of memory. A worker's stream (forWorkItemProcessing)
// gets the past events of its turn in flight from the dispatcher; a slow one costs one message
// beside the slices that the instance holds anyway. Before each message the caller's permit is
// asked, so a caller that has lost its right gets no more than the one that is on its way.
//
// Threads: there is one step at a time (a read or a write), and each starts the next, so the
// members need no lock. The object keeps itself alive from its start to OnDone.
#ifndef DT_SERVER_RPC_HISTORY_STREAM_H_
#define DT_SERVER_RPC_HISTORY_STREAM_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/dispatch/dispatch_thread.h"
#include "server/rpc/access_control.h"
#include "server/rpc/counted_call.h"
#include "server/rpc/history_pages.h"
#include "server/rpc/unread_answers.h"
#include "storage/store.h"

namespace dt::rpc {

struct HistoryLimits {
  size_t chunk_bytes_max = 256 << 10;  // one HistoryChunk, unless a single event is larger
  int64_t page_bytes = 1 << 20;        // read from the store at a time
};

class HistoryStream final : public Counted<grpc::ServerWriteReactor<grpc::ByteBuffer>> {
 public:
  // What it points to, and `dispatch`, must outlive the call.
  static std::shared_ptr<HistoryStream> Create(grpc::CallbackServerContext* context, Store* store,
                                               UnreadAnswers* answers, HistoryLimits limits);
  // What the caller may go on by; null = to the end. Before the next.
  void Hold(std::unique_ptr<Permit> permit) { permit_ = std::move(permit); }

  // Exactly one of these three, once. An empty execution id means the current generation.
  static void SendStored(std::shared_ptr<HistoryStream> stream, HubId hub, std::string instance_id,
                         std::string execution_id);
  static void SendTurn(std::shared_ptr<HistoryStream> stream, dispatch::DispatchThread* dispatch,
                       HubId hub, std::string instance_id, std::string execution_id);
  void Refuse(absl::Status status);

  // Reactions.
  void OnWriteDone(bool ok) override;
  void OnDone() override;

 private:
  HistoryStream(grpc::CallbackServerContext* context, Store* store, UnreadAnswers* answers,
                HistoryLimits limits);

  void ReadPage();
  void TakePage(absl::StatusOr<HistoryPage> page);
  // Takes the events over; false when the stream was ended instead.
  bool TakeChunks(std::vector<HistoryChunk> chunks);
  void WriteNext();
  void End(absl::Status status);

  grpc::CallbackServerContext* const context_;
  Store* const store_;
  UnreadAnswers* const answers_;
  const HistoryLimits limits_;
  std::unique_ptr<Permit> permit_;

  HubId hub_ = 0;
  std::string instance_id_;
  std::string execution_id_;  // empty = the current one, until the first page tells which that is
  int64_t after_turn_ = 0;
  bool read_on_ = false;  // the store may hold more after what `pager_` has
  HistoryPager pager_;
  UnreadAnswers::Charge charge_;  // of the page
  grpc::ByteBuffer current_;
  std::shared_ptr<HistoryStream> self_;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_HISTORY_STREAM_H_
