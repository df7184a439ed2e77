// A file descriptor that is closed at the end of its scope.
#ifndef DT_STORAGE_POSTGRES_DESCRIPTOR_H_
#define DT_STORAGE_POSTGRES_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace dt::postgres {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { Close(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  bool open() const { return number_ >= 0; }
  int number() const { return number_; }  // -1 when it is not open
  void Close() {
    if (number_ >= 0) close(number_);
    number_ = -1;
  }

 private:
  int number_ = -1;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_DESCRIPTOR_H_
