#include "server/rpc/history_pages.h"

#include <utility>

#include "fmt/format.h"

namespace dt::rpc {
namespace {

constexpr char kPastEventsTag = 0x1A;  // field 3, length-delimited
constexpr char kEventsTag = 0x0A;      // field 1, length-delimited

// The size of the field at the start of `bytes`, tag and length included; nullopt if malformed.
std::optional<size_t> FieldSize(std::string_view bytes) {
  if (bytes.empty() || bytes[0] != kPastEventsTag) return std::nullopt;
  uint64_t length = 0;
  for (size_t i = 1; i < bytes.size() && i <= 5; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    length |= static_cast<uint64_t>(byte & 0x7F) << (7 * (i - 1));
    if ((byte & 0x80) != 0) continue;
    const size_t size = 1 + i + length;
    return size <= bytes.size() ? std::optional<size_t>(size) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

HistoryPager::HistoryPager(std::vector<HistoryChunk> history, size_t bytes_max)
    : history_(std::move(history)), bytes_max_(bytes_max) {
  if (!history_.empty()) rest_ = *history_.front().events;
}

absl::StatusOr<std::optional<std::string>> HistoryPager::Next() {
  std::string page;
  while (chunk_ < history_.size()) {
    if (rest_.empty()) {
      history_[chunk_].events.reset();  // it is sent
      if (++chunk_ < history_.size()) rest_ = *history_[chunk_].events;
      continue;
    }
    const std::optional<size_t> size = FieldSize(rest_);
    if (!size.has_value()) {
      return absl::DataLossError(
          fmt::format("the stored history of turn {} cannot be read", history_[chunk_].turn));
    }
    if (!page.empty() && page.size() + *size > bytes_max_) break;
    page += kEventsTag;
    page += rest_.substr(1, *size - 1);
    rest_.remove_prefix(*size);
  }
  if (page.empty()) return std::nullopt;
  return page;
}

}  // namespace dt::rpc
