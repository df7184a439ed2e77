// What a program that we start gets of its caller.
#include "storage/postgres/child_process.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "storage/postgres/descriptor.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::postgres {
namespace {

using testing::MustBeOk;
using testing::ValueOf;

// A variable of this process, for the length of a scope.
class VariableFor {
 public:
  VariableFor(const char* name, const char* value) : name_(name) {
    const char* before = std::getenv(name);
    if (before != nullptr) before_ = before;
    had_ = before != nullptr;
    setenv(name, value, 1);
  }
  ~VariableFor() { had_ ? setenv(name_, before_.c_str(), 1) : unsetenv(name_); }
  VariableFor(const VariableFor&) = delete;
  VariableFor& operator=(const VariableFor&) = delete;

 private:
  const char* name_;
  std::string before_;
  bool had_ = false;
};

std::string OutputOf(const std::vector<std::string>& arguments, const SystemUser& user) {
  char path[] = "/tmp/dt-child-XXXXXX";
  const Descriptor output(mkostemp(path, O_CLOEXEC));
  REQUIRE(output.open());
  unlink(path);
  ProcessOptions options;
  options.arguments = arguments;
  options.user = user;
  options.output = output.number();
  MustBeOk(RunProcess(options));
  return "\n" + Tail(output.number(), 1 << 16) + "\n";
}

TEST_CASE("child_process_gets_a_small_environment") {
  const VariableFor secret("DURABLETASK_POSTGRES_URL", "postgresql://user:secret@host/db");
  const VariableFor loader("LD_LIBRARY_PATH", "/root/lib");
  const VariableFor language("LC_MESSAGES", "C");
  const VariableFor zone("TZ", "Europe/Oslo");
  const SystemUser user = ValueOf(UserForPostgres("postgres"));
  const std::string output = OutputOf({"/usr/bin/env"}, user);
  INFO(output);
  CHECK(output.find("secret") == std::string::npos);
  CHECK(output.find("LD_LIBRARY_PATH") == std::string::npos);
  CHECK(output.find("\nLC_MESSAGES=C\n") != std::string::npos);
  CHECK(output.find("\nTZ=Europe/Oslo\n") != std::string::npos);
  CHECK(output.find("\nHOME=" + user.home + "\n") != std::string::npos);
  CHECK(output.find("\nUSER=" + user.name + "\n") != std::string::npos);
  CHECK(output.find("\nPATH=/usr/local/sbin:") != std::string::npos);
  if (!user.is_caller) CHECK(user.home != "/root");
}

TEST_CASE("child_process_asks_programs_as_their_user") {
  const SystemUser user = ValueOf(UserForPostgres("postgres"));
  CHECK(ValueOf(FirstOutputLine({"/usr/bin/id", "-u"}, user)) == std::to_string(user.uid));
  CHECK(ValueOf(FirstOutputLine({"/bin/pwd"}, user)) == "/");
}

}  // namespace
}  // namespace dt::postgres
