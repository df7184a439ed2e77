// A unary call of the driver's thread. A part of driver.cc.
#ifndef DT_TESTS_BENCH_UNARY_CALL_H_
#define DT_TESTS_BENCH_UNARY_CALL_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/bench/driver.h"

namespace dt::bench {

inline std::string Describe(const grpc::Status& status) {
  return absl::StrCat("gRPC status ", status.error_code(), " '", status.error_message(), "'");
}

// One unary call at a time; context and reader are made new for each, the response is reused.
template <typename Response>
class Driver::UnaryCall : public Driver::Tag {
 public:
  void Cancel() {
    if (context_) context_->TryCancel();
  }

 protected:
  grpc::ClientContext& NewContext(const Driver& driver) {
    reader_.reset();  // lives in memory of the call, which goes with its context
    context_.emplace();
    driver.PrepareContext(*context_);
    return *context_;
  }
  void Await(std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader) {
    reader_ = std::move(reader);
    reader_->Finish(&response_, &status_, this);
  }

  Response response_;
  grpc::Status status_;

 private:
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader_;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_UNARY_CALL_H_
