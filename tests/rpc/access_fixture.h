// Servers with an access file, and callers with tokens.
#ifndef DT_TESTS_RPC_ACCESS_FIXTURE_H_
#define DT_TESTS_RPC_ACCESS_FIXTURE_H_

#include <functional>
#include <string>
#include <vector>

#include "tests/rpc/rpc_fixture.h"
#include "tests/rpc/scratch_dir.h"

namespace dt::testing {

// A principal that shows the token TokenOf(name).
struct Grant {
  std::string name;
  std::string hub;
  std::string role;
};

std::string TokenOf(const std::string& name);
std::string AccessText(const std::vector<Grant>& grants);
// The metadata of a call that this principal makes in this hub.
Metadata As(const std::string& name, const std::string& hub);

// Rules that are read again every few milliseconds.
rpc::AccessOptions WithAccess(const ScratchDir& directory, const std::vector<Grant>& grants);
// Puts other rules in their place; they count a little later.
void Rewrite(const ScratchDir& directory, const std::string& text);

// Asks until the answer is true; fails the test after kPatience.
void Eventually(const std::function<bool()>& condition);

grpc::Status Hello(Stub& stub, const Metadata& metadata);

}  // namespace dt::testing

#endif  // DT_TESTS_RPC_ACCESS_FIXTURE_H_
