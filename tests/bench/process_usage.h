// CPU time and memory of processes on this machine, from /proc.
//
// Everything here answers nullopt where it cannot know: another machine, another pid namespace, a
// process of another user, not Linux. A figure is right or absent.
#ifndef DT_TESTS_BENCH_PROCESS_USAGE_H_
#define DT_TESTS_BENCH_PROCESS_USAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dt::bench {

// The process that listens at HOST:PORT, if HOST is a loopback address. Of several that share the
// socket, the one that the others descend from.
std::optional<int> FindListener(const std::string& address);

// Processes whose parent is `pid`.
std::vector<int> FindChildren(int pid);

// The name of the program as the kernel keeps it, at most 15 bytes.
std::optional<std::string> ProcessName(int pid);
std::optional<int> ParentOf(int pid);
std::vector<std::string> CommandLine(int pid);
std::optional<std::string> WorkingDirectory(int pid);

// CPU seconds of the process itself, user and system, all its threads.
std::optional<double> CpuSeconds(int pid);
// CPU seconds of the process, its living children and those it has already waited for: a PostgreSQL
// server when `pid` is the postmaster.
std::optional<double> FamilyCpuSeconds(int pid);
// The most memory that the process has had since its start.
std::optional<int64_t> PeakRssBytes(int pid);
// CPU seconds of this process.
double OwnCpuSeconds();

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_PROCESS_USAGE_H_
