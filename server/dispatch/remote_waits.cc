#include "server/dispatch/remote_waits.h"

#include <algorithm>

namespace dt::dispatch {

uint64_t WaitName(DispatchThread::WaitFor wait_for, std::string_view instance_id) {
  // FNV-1a.
  uint64_t name = 0xcbf29ce484222325u;
  const auto add = [&name](unsigned char byte) { name = (name ^ byte) * 0x100000001b3u; };
  add(wait_for == DispatchThread::WaitFor::kStart ? 's' : 'e');
  for (const char byte : instance_id) add(static_cast<unsigned char>(byte));
  return name;
}

void WaitNames::Add(const Key& key, absl::Time now) {
  if (!order_.empty()) now = std::max(now, order_.back().first);
  added_[key] = now;
  order_.emplace_back(now, key);
  while (order_.front().first < now - kept_ || order_.size() > names_max_) {
    const auto& [time, oldest] = order_.front();
    const auto found = added_.find(oldest);
    if (found != added_.end() && found->second == time) added_.erase(found);
    order_.pop_front();
  }
}

void WaitNames::Clear() {
  added_.clear();
  order_.clear();
}

void RemoteWaits::SetOthers(bool others) {
  others_ = others;
  if (others) return;
  awaited_.Clear();
  recent_.Clear();
}

void RemoteWaits::On(const WaitHints& awaited) {
  others_ = true;
  std::vector<uint64_t> changed;
  for (const uint64_t name : awaited.waits) {
    const WaitNames::Key key{awaited.hub, name};
    // Whoever tells again after the answer waits for the next change.
    if (recent_.Remove(key)) changed.push_back(name);
    awaited_.Add(key, step_.steady);
  }
  if (changed.empty()) return;
  step_.Do(TellOthers{{awaited.hub, WaitHintKind::kChanged, std::move(changed)}});
}

void RemoteWaits::Changed(HubId hub, std::string_view instance_id, RuntimeStatus status) {
  if (!others_) return;
  using WaitFor = DispatchThread::WaitFor;
  for (const WaitFor wait_for : {WaitFor::kStart, WaitFor::kCompletion}) {
    if (DispatchThread::Satisfied(wait_for, status))
      Changed({hub, WaitName(wait_for, instance_id)});
  }
}

void RemoteWaits::Changed(const WaitNames::Key& key) {
  // Each turn says anew that its instance has started.
  if (!recent_.Contains(key)) recent_.Add(key, step_.steady);
  if (!awaited_.Remove(key)) return;
  step_.Do(TellOthers{{key.first, WaitHintKind::kChanged, {key.second}}});
}

}  // namespace dt::dispatch
