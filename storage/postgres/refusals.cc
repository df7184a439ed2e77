#include "storage/postgres/refusals.h"

namespace dt::postgres {

Refusals::Refusals() : thread_([this] { Run(); }) {}

Refusals::~Refusals() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void Refusals::Add(std::unique_ptr<Operation> operation, absl::Status status) {
  absl::MutexLock lock(&mutex_);
  refused_.emplace_back(std::move(operation), std::move(status));
}

void Refusals::Run() {
  bool stopping = false;
  while (!stopping) {
    std::vector<Refused> refused;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Refusals::HasWork));
      refused.swap(refused_);
      stopping = stopping_;
    }
    for (auto& [operation, status] : refused) operation->Fail(std::move(status));
  }
}

}  // namespace dt::postgres
