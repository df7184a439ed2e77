#include "server/admin/routes.h"

#include <utility>

namespace dt::admin {

void Routes::Add(std::string path, Audience audience, Handler handler) {
  auto route = std::make_shared<const Route>(Route{audience, std::move(handler)});
  absl::MutexLock lock(&mutex_);
  routes_[std::move(path)] = std::move(route);
}

std::shared_ptr<const Route> Routes::Find(const std::string& path) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto found = routes_.find(path);
  return found == routes_.end() ? nullptr : found->second;
}

std::vector<std::string> Routes::Paths() const {
  absl::ReaderMutexLock lock(&mutex_);
  std::vector<std::string> paths;
  for (const auto& [path, route] : routes_) paths.push_back(path);
  return paths;
}

}  // namespace dt::admin
