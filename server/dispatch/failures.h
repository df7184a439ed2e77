// Failure details that the server makes itself.
#ifndef DT_SERVER_DISPATCH_FAILURES_H_
#define DT_SERVER_DISPATCH_FAILURES_H_

#include <string>
#include <utility>

#include "proto/orchestrator_service.pb.h"

namespace dt::dispatch {

// Not retriable: the SDKs would only run into the same.
inline TaskFailureDetails ServerFailure(const char* type, std::string message) {
  TaskFailureDetails details;
  details.set_errortype(type);
  details.set_errormessage(std::move(message));
  details.set_isnonretriable(true);
  return details;
}

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_FAILURES_H_
