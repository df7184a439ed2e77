#include "tests/rpc/raw_call.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

// HTTP/2 (RFC 9113).
constexpr int kData = 0;
constexpr int kHeaders = 1;
constexpr int kReset = 3;
constexpr int kSettings = 4;
constexpr int kPing = 6;
constexpr int kWindowUpdate = 8;
constexpr int kAck = 1;
constexpr int kEndStream = 1;
constexpr int kEndHeaders = 4;
constexpr int kInitialWindowSize = 4;
constexpr size_t kFrameHeaderBytes = 9;
constexpr size_t kFrameBytesMax = 16384;
constexpr size_t kMessageHeaderBytes = 5;  // of gRPC
constexpr uint32_t kStream = 1;

std::string BigEndian(uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
  return text;
}

uint32_t Number(const std::string& text, size_t at, size_t bytes) {
  uint32_t value = 0;
  for (size_t i = at; i < at + bytes; ++i) value = value << 8 | static_cast<uint8_t>(text.at(i));
  return value;
}

// A header without compression. Both parts are short.
std::string Header(const std::string& name, const std::string& value) {
  REQUIRE(std::max(name.size(), value.size()) < 127);
  return '\0' + std::string(1, static_cast<char>(name.size())) + name +
         static_cast<char>(value.size()) + value;
}

}  // namespace

RawCall::RawCall(const std::string& address, const std::string& path, const Metadata& metadata,
                 uint32_t message_bytes)
    : message_bytes_(message_bytes) {
  const size_t colon = address.rfind(':');
  int port = 0;
  REQUIRE(absl::SimpleAtoi(address.substr(colon + 1), &port));
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  REQUIRE(inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) == 1);
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0);
  REQUIRE(fcntl(fd_, F_SETFL, O_NONBLOCK) == 0);

  out_ = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  Put(kSettings, 0, 0, "");
  std::string headers = Header(":method", "POST") + Header(":scheme", "http") +
                        Header(":path", path) + Header(":authority", "localhost") +
                        Header("content-type", "application/grpc") + Header("te", "trailers");
  for (const auto& [key, value] : metadata) headers += Header(key, value);
  Put(kHeaders, kEndHeaders, kStream, headers);
}

RawCall::~RawCall() { close(fd_); }

void RawCall::Send(size_t bytes) {
  wanted_ += bytes;
  REQUIRE(PumpUntil([this] { return sent_ == wanted_ && out_.empty(); }, kPatience));
}

bool RawCall::EndsWithin(absl::Duration timeout) {
  return PumpUntil([] { return false; }, timeout);
}

bool RawCall::PumpUntil(const std::function<bool()>& condition, absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  for (;;) {
    FillWindow();
    const absl::Duration left = std::max(end - absl::Now(), absl::ZeroDuration());
    pollfd polled = {fd_, static_cast<short>(out_.empty() ? POLLIN : POLLIN | POLLOUT), 0};
    if (!condition()) {
      poll(&polled, 1,
           static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)))));
    }
    Read();
    Write();
    if (condition() || status_.has_value() || closed_) return true;
    if (left == absl::ZeroDuration()) return false;
  }
}

void RawCall::Read() {
  char bytes[65536];
  const ssize_t count = recv(fd_, bytes, sizeof(bytes), 0);
  if (count == 0 || (count < 0 && errno != EAGAIN)) closed_ = true;
  if (count <= 0) return;
  in_.append(bytes, static_cast<size_t>(count));
  while (in_.size() >= kFrameHeaderBytes) {
    const size_t size = Number(in_, 0, 3);
    if (in_.size() < kFrameHeaderBytes + size) return;
    Take(in_[3], in_[4], Number(in_, 5, 4), in_.substr(kFrameHeaderBytes, size));
    in_.erase(0, kFrameHeaderBytes + size);
  }
}

void RawCall::Write() {
  if (out_.empty()) return;
  const ssize_t count = send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
  if (count < 0 && errno != EAGAIN) closed_ = true;
  if (count > 0) out_.erase(0, static_cast<size_t>(count));
}

void RawCall::Put(int type, int flags, uint32_t stream, const std::string& payload) {
  out_ += BigEndian(static_cast<uint32_t>(payload.size()), 3);
  out_ += static_cast<char>(type);
  out_ += static_cast<char>(flags);
  out_ += BigEndian(stream, 4);
  out_ += payload;
}

void RawCall::FillWindow() {
  while (sent_ < wanted_ && out_.size() < kFrameBytesMax) {
    const int64_t window = std::min(connection_window_, stream_window_);
    const size_t bytes = std::min(
        {wanted_ - sent_, kFrameBytesMax, static_cast<size_t>(std::max<int64_t>(window, 0))});
    if (bytes <= (sent_ == 0 ? kMessageHeaderBytes : 0)) return;
    std::string payload(bytes, '\0');
    if (sent_ == 0) payload.replace(1, 4, BigEndian(message_bytes_, 4));
    const bool ends = sent_ + bytes == message_bytes_ + kMessageHeaderBytes;
    Put(kData, ends ? kEndStream : 0, kStream, payload);
    sent_ += bytes;
    connection_window_ -= static_cast<int64_t>(bytes);
    stream_window_ -= static_cast<int64_t>(bytes);
  }
}

void RawCall::Take(int type, int flags, uint32_t stream, const std::string& payload) {
  if (type == kPing && (flags & kAck) == 0) Put(kPing, kAck, 0, payload);
  if (type == kWindowUpdate) {
    (stream == 0 ? connection_window_ : stream_window_) += Number(payload, 0, 4);
  }
  if (type == kSettings && (flags & kAck) == 0) {
    Put(kSettings, kAck, 0, "");
    for (size_t at = 0; at < payload.size(); at += 6) {
      if (Number(payload, at, 2) != kInitialWindowSize) continue;
      const int64_t value = Number(payload, at + 2, 4);
      stream_window_ += value - initial_window_;
      initial_window_ = value;
    }
  }
  if (type == kHeaders) {
    headers_ += payload;
    // The first time that gRPC sends a header it writes it in full.
    const std::string name = "grpc-status";
    const size_t at = headers_.find(name);
    if (at == std::string::npos) return;
    int status = 0;
    const size_t size = Number(headers_, at + name.size(), 1);
    REQUIRE(absl::SimpleAtoi(headers_.substr(at + name.size() + 1, size), &status));
    status_ = status;
  }
  if (type == kReset) closed_ = true;
}

}  // namespace dt::testing
