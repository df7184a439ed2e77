// Ends a wait of one thread for a connection from another thread. Any thread may use it.
#ifndef DT_STORAGE_POSTGRES_INTERRUPT_H_
#define DT_STORAGE_POSTGRES_INTERRUPT_H_

#include <sys/eventfd.h>
#include <unistd.h>

#include "storage/postgres/check.h"

namespace dt::postgres {

class Interrupt {
 public:
  Interrupt() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    DT_CHECK(fd_ >= 0, "the system gives no eventfd");
  }
  ~Interrupt() { close(fd_); }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // The descriptor is readable from Raise to Clear.
  int fd() const { return fd_; }
  void Raise() const {
    // Fails only when the counter is full, and then it is readable already.
    [[maybe_unused]] int full = eventfd_write(fd_, 1);
  }
  void Clear() const {
    eventfd_t raised = 0;
    eventfd_read(fd_, &raised);
  }

 private:
  const int fd_;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_INTERRUPT_H_
