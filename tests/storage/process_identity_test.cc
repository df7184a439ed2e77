// Which processes count as dead, so that their work is free at once: never one that lives.
#include "storage/postgres/process_identity.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/support/catch.h"

namespace dt::postgres {
namespace {

namespace fs = std::filesystem;

// A child that waits until it is killed.
pid_t StartSleeper() {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  return child;
}

// A /proc that tells of this process, and hides every other, as hidepid does from users.
class HidingProc {
 public:
  HidingProc() {
    path = (fs::temp_directory_path() / "dt-proc-XXXXXX").string();
    REQUIRE(mkdtemp(path.data()) != nullptr);
    fs::create_directories(path + "/sys/kernel/random");
    std::ofstream(path + "/sys/kernel/random/boot_id") << "boot\n";
    fs::create_directories(path + "/self/ns");
    std::ofstream(path + "/self/ns/pid") << "";
    const std::string own = absl::StrCat(path, "/", getpid());
    fs::create_directories(own);
    std::ofstream(own + "/stat")
        << std::ifstream(absl::StrCat("/proc/", getpid(), "/stat")).rdbuf();
  }
  ~HidingProc() { fs::remove_all(path); }
  std::string path;
};

// As OwnProcess of another process with this number.
std::string ProcessWith(pid_t pid, const std::string& own) {
  const std::string own_pid = absl::StrCat("/", getpid(), "/");
  const size_t at = own.find(own_pid);
  REQUIRE(at != std::string::npos);
  return absl::StrCat(own.substr(0, at), "/", pid, "/", own.substr(at + own_pid.size()));
}

TEST_CASE("process_identity_knows_the_living_and_the_dead") {
  const std::string own = OwnProcess();
  REQUIRE_FALSE(own.empty());
  CHECK_FALSE(IsKnownDead(own));
  CHECK(IsKnownDead(own + "0"));  // the number was given to a later process
  CHECK_FALSE(IsKnownDead("other-boot" + own));
  CHECK_FALSE(IsKnownDead(""));

  const pid_t child = StartSleeper();
  const std::string process = ProcessWith(child, own);
  kill(child, SIGKILL);
  siginfo_t ended{};
  REQUIRE(waitid(P_PID, child, &ended, WEXITED | WNOWAIT) == 0);
  CHECK(IsKnownDead(process));  // a zombie
  REQUIRE(waitpid(child, nullptr, 0) == child);
  CHECK(IsKnownDead(process));
}

TEST_CASE("process_identity_takes_no_hidden_process_for_dead") {
  const HidingProc proc;
  const std::string own = OwnProcess(proc.path);
  REQUIRE_FALSE(own.empty());
  CHECK_FALSE(IsKnownDead(own, proc.path));
  const pid_t child = StartSleeper();
  const std::string process = ProcessWith(child, own);
  CHECK_FALSE(IsKnownDead(process, proc.path));
  kill(child, SIGKILL);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  CHECK(IsKnownDead(process, proc.path));
}

}  // namespace
}  // namespace dt::postgres
