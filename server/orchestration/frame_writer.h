// Writes work items as slices: what is large is shared, what is small is copied. Internal to the
// pure core.
#ifndef DT_SERVER_ORCHESTRATION_FRAME_WRITER_H_
#define DT_SERVER_ORCHESTRATION_FRAME_WRITER_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "server/orchestration/turn.h"
#include "storage/records.h"

namespace dt::orchestration {

// Gathers slices and bytes into a frame.
class FrameWriter {
 public:
  // The bytes that are not yet a slice.
  std::string& open() { return open_; }

  void Splice(SharedBytes bytes);
  // Splices bytes that are worth a slice of their own, and copies others.
  void AddBytes(const SharedBytes& bytes);
  void AddEvent(int field, const SharedBytes& event);
  // A StringValue with this text as a field.
  void AddStringValue(int field, const SharedBytes& text);

  size_t size() const { return size_ + open_.size(); }

  // The frame with `head` before everything.
  Frame Take(std::string head);

 private:
  void Close();

  Frame frame_;
  std::string open_;
  size_t size_ = 0;
};

// A StringValue as a field.
void AppendStringValue(int field, std::string_view text, std::string& out);

// The work item around `request`, whose length is known only when it is written. `field`: its
// number in WorkItem.
Frame WrapRequest(int field, FrameWriter request, std::string_view completion_token);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_FRAME_WRITER_H_
