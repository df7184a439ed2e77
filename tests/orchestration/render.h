// Events, requests and checkpoints as text, one line per thing, so that a test compares what a
// person can read. Times are seconds since 1970; the tests live around second 1000.
//
//   TaskScheduled #1 @1000 name="Work" input="in"
//
// means event id 1 (-1 is left out), timestamp 1000 s. A StringValue shows as its text, absent
// fields not at all, empty ones as "".
#ifndef DT_TESTS_ORCHESTRATION_RENDER_H_
#define DT_TESTS_ORCHESTRATION_RENDER_H_

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/turn.h"
#include "storage/records.h"

namespace dt::orchestration {

// Drops the first line break and the indentation that all lines share, so that expected text can be
// written indented. A line that ends with a backslash goes on in the next one, without its
// indentation.
std::string Text(std::string_view raw);

std::string RenderTime(absl::Time time);

// The set fields of a message on one line.
std::string RenderFields(const google::protobuf::Message& message);

// One event. Without the ids and links of ExecutionStarted, which most tests are not about.
std::string RenderEvent(const HistoryEvent& event);
// With all fields.
std::string RenderWholeEvent(const HistoryEvent& event);

std::string RenderMessage(const NewMessage& message);

// What the worker gets: past and new events.
std::string RenderRequest(const OrchestratorRequest& request);

// What is committed, without the numbers of the fence.
std::string RenderCheckpoint(const Checkpoint& checkpoint);

HistoryEvent ParseEvent(std::string_view bytes);
// The work item in a frame; fails the test if the bytes are no work item.
WorkItem ParseFrame(const Frame& frame);
// The events of a chunk.
std::vector<HistoryEvent> ParseChunk(const HistoryChunk& chunk);

}  // namespace dt::orchestration

#endif  // DT_TESTS_ORCHESTRATION_RENDER_H_
