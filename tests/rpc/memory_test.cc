// How much memory the daemon may use, and who gets which part of it.
#include "server/memory.h"

#include <filesystem>
#include <fstream>

#include "server/memory_guard.h"
#include "tests/support/catch.h"

namespace dt {
namespace {

constexpr int64_t kMachine = int64_t{16} << 30;

// Files of the system under a directory of their own.
class FakeSystem {
 public:
  FakeSystem() {
    std::string name = std::filesystem::temp_directory_path() / "dt-memory-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    root_ = name;
    Write("/proc/meminfo", "MemFree: 1 kB\nMemTotal:       16777216 kB\n");
  }
  ~FakeSystem() { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  int64_t Memory() const { return MemoryOfMachine(root_); }

 private:
  std::string root_;
};

TEST_CASE("memory_of_machine the least of the machine and the control groups counts") {
  FakeSystem system;
  CHECK(system.Memory() == kMachine);
  SECTION("version 2, where a group above has the limit") {
    system.Write("/proc/self/cgroup", "0::/pods/one/daemon\n");
    system.Write("/sys/fs/cgroup/pods/one/daemon/memory.max", "max\n");
    CHECK(system.Memory() == kMachine);
    system.Write("/sys/fs/cgroup/pods/one/memory.max", "1073741824\n");
    CHECK(system.Memory() == 1 << 30);
  }
  SECTION("version 2, in a container that sees its own group as the root") {
    system.Write("/proc/self/cgroup", "0::/\n");
    system.Write("/sys/fs/cgroup/memory.max", "536870912\n");
    CHECK(system.Memory() == 512 << 20);
  }
  SECTION("version 1, where the path is that of the host") {
    system.Write("/proc/self/cgroup", "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/\n");
    system.Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
    CHECK(system.Memory() == 256 << 20);
    system.Write("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "134217728\n");
    CHECK(system.Memory() == 128 << 20);
  }
  SECTION("version 1 without a limit says a number larger than any machine") {
    system.Write("/proc/self/cgroup", "4:memory:/\n");
    system.Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK(system.Memory() == kMachine);
  }
}

TEST_CASE("memory_shares what may be held by all together is less than the limit") {
  Config config;
  CHECK(MemoryBytesMax(config, kMachine) == kMachine / 4 * 3);
  config.memory_bytes_max = 768 << 20;
  CHECK(MemoryBytesMax(config, kMachine) == 768 << 20);
  const int lanes_with_payloads = config.store.write_lanes + 1;
  config.dispatch.resident_bytes_max = 1 << 20;
  ShareMemory(768 << 20, config);
  CHECK(config.dispatch.resident_bytes_max == 1 << 20);  // lower already
  const dispatch::DispatchLimits& dispatch = config.dispatch;
  CHECK(dispatch.work_bytes_max == 192 << 20);
  CHECK(dispatch.turn.history_bytes_max == dispatch.work_bytes_max / 2);
  CHECK(dispatch.response_bytes_max < dispatch.work_bytes_max);
  CHECK(dispatch.claim_bytes_max == 12 << 20);
  CHECK(dispatch.work_bytes_max + 2 * dispatch.claim_bytes_max +
            lanes_with_payloads * config.store.queue_bytes_max <
        config.memory_bytes_max / 4 * 3);
}

TEST_CASE("memory_scarcity it begins at the limit and ends a tenth below") {
  Scarcity scarcity(1000);
  CHECK_FALSE(scarcity.Look(999));
  CHECK(scarcity.Look(1000));
  CHECK(scarcity.scarce());
  CHECK_FALSE(scarcity.Look(950));
  CHECK(scarcity.scarce());
  CHECK(scarcity.Look(899));
  CHECK_FALSE(scarcity.scarce());
}

TEST_CASE("memory_looks it looks before a flood can pass the limit, and rarely without need") {
  const Scarcity scarcity(int64_t{1} << 30);
  CHECK(scarcity.NextLook(0) == absl::Nanoseconds(1 << 29));
  CHECK(scarcity.NextLook(3 << 28) == absl::Nanoseconds(1 << 27));
  CHECK(scarcity.NextLook(1 << 30) == absl::Milliseconds(50));
  CHECK(Scarcity(int64_t{1} << 34).NextLook(0) == absl::Seconds(1));
}

TEST_CASE("memory_guard it tells when the process has too much, and when it has not any more") {
  struct Told {
    absl::Mutex mutex;
    int begins ABSL_GUARDED_BY(mutex) = 0;
    int ends ABSL_GUARDED_BY(mutex) = 0;
    bool begun() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return begins == 1; }
  } told;
  constexpr int64_t kBlock = 256 << 20;
  const int64_t before = ResidentBytes();
  const MemoryGuard guard(before + kBlock / 2, [&told](bool scarce) {
    absl::MutexLock lock(&told.mutex);
    ++(scarce ? told.begins : told.ends);
  });
  std::string block(kBlock, 'x');
  CHECK(ResidentBytes() > before + kBlock / 2);  // others may have given some back meanwhile
  absl::MutexLock lock(&told.mutex);
  told.mutex.Await(absl::Condition(&told, &Told::begun));
  CHECK(told.ends == 0);
}

}  // namespace
}  // namespace dt
