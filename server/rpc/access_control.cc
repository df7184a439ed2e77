#include "server/rpc/access_control.h"

#include <atomic>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "fmt/format.h"
#include "server/rpc/access_file.h"
#include "spdlog/spdlog.h"

namespace dt::rpc {

// The rules of an access file, and the calls in progress that are to be told when they change.
class AccessRules {
 public:
  absl::Status Check(const Caller& caller, std::string_view rpc, std::string_view hub) const {
    std::shared_ptr<const std::vector<Principal>> principals;
    {
      absl::ReaderMutexLock lock(&mutex_);
      principals = principals_;
    }
    const absl::StatusOr<const Principal*> principal = Identify(*principals, caller);
    if (!principal.ok()) return principal.status();
    return CheckRules(**principal, rpc, hub);
  }

  std::string NameOf(const Caller& caller) const {
    std::shared_ptr<const std::vector<Principal>> principals;
    {
      absl::ReaderMutexLock lock(&mutex_);
      principals = principals_;
    }
    const absl::StatusOr<const Principal*> principal = Identify(*principals, caller);
    return principal.ok() ? (*principal)->name : std::string();
  }

  // Grows with each change.
  int64_t generation() const { return generation_.load(std::memory_order_acquire); }

  // Ends the calls that the new rules do not allow; how many.
  int Replace(std::vector<Principal> principals) {
    std::vector<Followed> followed;
    {
      absl::MutexLock lock(&mutex_);
      principals_ = std::make_shared<const std::vector<Principal>>(std::move(principals));
      generation_.fetch_add(1, std::memory_order_release);
      for (const auto& [id, one] : followed_) followed.push_back(one);
    }
    int ended = 0;
    for (const Followed& one : followed) {
      absl::Status status = Check(one.asked->caller, one.asked->rpc, one.asked->hub);
      if (status.ok()) continue;
      const std::shared_ptr<RevocableCall> call = one.call.lock();
      if (call == nullptr) continue;
      call->Revoke(std::move(status));
      ++ended;
    }
    return ended;
  }

  int64_t Add(std::shared_ptr<const Permit::Asked> asked, std::weak_ptr<RevocableCall> call) {
    absl::MutexLock lock(&mutex_);
    followed_.emplace(++last_id_, Followed{std::move(asked), std::move(call)});
    return last_id_;
  }
  void Remove(int64_t id) {
    absl::MutexLock lock(&mutex_);
    followed_.erase(id);
  }

 private:
  struct Followed {
    std::shared_ptr<const Permit::Asked> asked;
    std::weak_ptr<RevocableCall> call;
  };

  mutable absl::Mutex mutex_;
  std::shared_ptr<const std::vector<Principal>> principals_ ABSL_GUARDED_BY(mutex_) =
      std::make_shared<const std::vector<Principal>>();
  std::atomic<int64_t> generation_ = 0;
  absl::flat_hash_map<int64_t, Followed> followed_ ABSL_GUARDED_BY(mutex_);
  int64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Known to the rules before it is first checked, so that no change falls between the two.
Permit::Permit(std::shared_ptr<AccessRules> rules, Asked asked, std::weak_ptr<RevocableCall> call)
    : rules_(std::move(rules)),
      asked_(std::make_shared<const Asked>(std::move(asked))),
      id_(rules_->Add(asked_, std::move(call))) {}

Permit::~Permit() { rules_->Remove(id_); }

absl::Status Permit::Check() {
  const int64_t generation = rules_->generation();
  if (generation == generation_) return absl::OkStatus();
  absl::Status status = rules_->Check(asked_->caller, asked_->rpc, asked_->hub);
  if (status.ok()) generation_ = generation;
  return status;
}

AccessControl::AccessControl(AccessOptions options, bool certificates)
    : options_(std::move(options)),
      certificates_(certificates),
      rules_(std::make_shared<AccessRules>()) {}

absl::StatusOr<std::unique_ptr<AccessControl>> AccessControl::Open(AccessOptions options,
                                                                   bool certificates) {
  std::unique_ptr<AccessControl> control(new AccessControl(std::move(options), certificates));
  if (control->options_.file.empty()) return control;
  absl::StatusOr<std::string> text = ReadAccessFile(control->options_.file);
  if (!text.ok()) return text.status();
  absl::StatusOr<Principals> principals = control->Parse(*text);
  if (!principals.ok()) return principals.status();
  control->rules_->Replace(*std::move(principals));
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
  return rules_->Check(caller, rpc, hub);
}

std::string AccessControl::NameOf(const Caller& caller) const {
  if (!options_.file.empty()) return rules_->NameOf(caller);
  return caller.certificate_names.empty() ? std::string() : caller.certificate_names.front();
}

std::unique_ptr<Permit> AccessControl::Follow(Caller caller, std::string_view rpc,
                                              std::string_view hub,
                                              std::weak_ptr<RevocableCall> call) const {
  if (options_.file.empty()) return nullptr;
  return std::unique_ptr<Permit>(
      new Permit(rules_, Permit::Asked{std::move(caller), std::string(rpc), std::string(hub)},
                 std::move(call)));
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
  const size_t count = principals->size();
  const int ended = rules_->Replace(*std::move(principals));
  spdlog::info(
      "the access file {} has changed: {} principals; {} waiting calls that they forbid end",
      options_.file, count, ended);
}

}  // namespace dt::rpc
