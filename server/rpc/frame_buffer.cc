#include "server/rpc/frame_buffer.h"

#include <utility>
#include <vector>

#include "grpcpp/support/slice.h"

namespace dt::rpc {
namespace {

// The slice owns a reference to the bytes; gRPC gives it back from any of its threads.
grpc::Slice SharedSlice(const SharedBytes& bytes) {
  auto* owner = new SharedBytes(bytes);
  return grpc::Slice(
      const_cast<char*>(bytes->data()), bytes->size(),
      [](void* user_data) { delete static_cast<SharedBytes*>(user_data); }, owner);
}

}  // namespace

grpc::ByteBuffer MakeByteBuffer(const orchestration::Frame& frame) {
  std::vector<grpc::Slice> slices;
  std::string gathered;
  for (const SharedBytes& piece : frame) {
    if (piece->size() < kSharedSliceBytesMin) {
      gathered += *piece;
      continue;
    }
    if (!gathered.empty()) slices.emplace_back(gathered);
    gathered.clear();
    slices.push_back(SharedSlice(piece));
  }
  if (!gathered.empty() || slices.empty()) slices.emplace_back(gathered);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

grpc::ByteBuffer MakeByteBuffer(std::string bytes) {
  const grpc::Slice slice = SharedSlice(std::make_shared<const std::string>(std::move(bytes)));
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace dt::rpc
