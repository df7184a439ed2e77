#include "server/rpc/access_control.h"

#include <utility>

#include "fmt/format.h"
#include "server/rpc/access_file.h"
#include "spdlog/spdlog.h"

namespace dt::rpc {

absl::StatusOr<std::unique_ptr<AccessControl>> AccessControl::Open(AccessOptions options,
                                                                   bool certificates) {
  std::unique_ptr<AccessControl> control(new AccessControl(std::move(options), certificates));
  if (control->options_.file.empty()) return control;
  absl::StatusOr<std::string> text = ReadAccessFile(control->options_.file);
  if (!text.ok()) return text.status();
  absl::StatusOr<Principals> principals = control->Parse(*text);
  if (!principals.ok()) return principals.status();
  {
    absl::MutexLock lock(&control->mutex_);
    control->principals_ = std::make_shared<const Principals>(*std::move(principals));
  }
  control->last_read_ = *std::move(text);
  control->thread_ = std::thread([watched = control.get()] { watched->Watch(); });
  return control;
}

AccessControl::~AccessControl() {
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

absl::StatusOr<AccessControl::Principals> AccessControl::Parse(std::string_view text) const {
  absl::StatusOr<Principals> principals = ParseAccessFile(text, options_.file);
  if (!principals.ok() || certificates_) return principals;
  for (const Principal& principal : *principals) {
    if (principal.certificates.empty()) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}: '{}' is known by its certificate, but no certificate is verified: set "
                    "listen.tls-client-ca-file to the authorities of your clients",
                    options_.file, principal.name));
  }
  return principals;
}

absl::Status AccessControl::Check(const Caller& caller, std::string_view rpc,
                                  std::string_view hub) const {
  if (open()) return absl::OkStatus();
  if (options_.file.empty()) {
    if (caller.certificate) return absl::OkStatus();
    return absl::UnauthenticatedError(
        "the caller is unknown: connect with a client certificate that one of the authorities in "
        "the server's listen.tls-client-ca-file has signed");
  }
  std::shared_ptr<const Principals> principals;
  {
    absl::ReaderMutexLock lock(&mutex_);
    principals = principals_;
  }
  const absl::StatusOr<const Principal*> principal = Identify(*principals, caller);
  if (!principal.ok()) return principal.status();
  return CheckRules(**principal, rpc, hub);
}

void AccessControl::Watch() {
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stopping_), options_.reload_interval)) return;
    }
    Reload();
  }
}

void AccessControl::Reload() {
  absl::StatusOr<std::string> text = ReadAccessFile(options_.file);
  const std::string read = text.ok() ? *text : std::string(text.status().message());
  if (read == last_read_) return;
  last_read_ = read;
  absl::StatusOr<Principals> principals = text.ok() ? Parse(*text) : text.status();
  if (!principals.ok()) {
    spdlog::error("the access file has changed and is wrong, the rules stay as they were: {}",
                  std::string(principals.status().message()));
    return;
  }
  spdlog::info("the access file {} has changed: {} principals", options_.file, principals->size());
  {
    absl::MutexLock lock(&mutex_);
    principals_ = std::make_shared<const Principals>(*std::move(principals));
  }
  generation_.fetch_add(1, std::memory_order_release);
}

}  // namespace dt::rpc
