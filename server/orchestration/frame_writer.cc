#include "server/orchestration/frame_writer.h"

#include <memory>
#include <utility>

#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/wire.h"

namespace dt::orchestration {
namespace {

// Bytes of this size or more get a slice of their own instead of being copied.
constexpr size_t kSliceBytesMin = 4096;

// A StringValue is a message with the text as this field, which proto3 leaves out when empty.
constexpr int kStringValueField = 1;

void AppendStringValueHeader(int field, size_t size, std::string& out) {
  AppendBytesHeader(field, size == 0 ? 0 : BytesFieldSize(size), out);
  if (size > 0) AppendBytesHeader(kStringValueField, size, out);
}

}  // namespace

void FrameWriter::Splice(SharedBytes bytes) {
  Close();
  size_ += bytes->size();
  frame_.push_back(std::move(bytes));
}

void FrameWriter::AddBytes(const SharedBytes& bytes) {
  if (bytes->size() >= kSliceBytesMin) {
    Splice(bytes);
  } else {
    open_.append(*bytes);
  }
}

void FrameWriter::AddEvent(int field, const SharedBytes& event) {
  AppendBytesHeader(field, event->size(), open_);
  AddBytes(event);
}

void FrameWriter::AddStringValue(int field, const SharedBytes& text) {
  AppendStringValueHeader(field, text->size(), open_);
  AddBytes(text);
}

Frame FrameWriter::Take(std::string head) {
  Close();
  frame_.insert(frame_.begin(), std::make_shared<const std::string>(std::move(head)));
  return std::move(frame_);
}

void FrameWriter::Close() {
  if (open_.empty()) return;
  size_ += open_.size();
  frame_.push_back(std::make_shared<const std::string>(std::exchange(open_, {})));
}

void AppendStringValue(int field, std::string_view text, std::string& out) {
  AppendStringValueHeader(field, text.size(), out);
  out.append(text);
}

Frame WrapRequest(int field, FrameWriter request, std::string_view completion_token) {
  std::string head;
  AppendBytesHeader(field, request.size(), head);
  AppendBytesField(WorkItem::kCompletionTokenFieldNumber, completion_token, request.open());
  return request.Take(std::move(head));
}

}  // namespace dt::orchestration
