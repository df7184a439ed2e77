// How much memory the daemon may use (memory.bytes-max), and which part of it each of its holders
// gets. deploy/BOUNDS.md says what happens at each of these bounds.
#ifndef DT_SERVER_MEMORY_H_
#define DT_SERVER_MEMORY_H_

#include <cstdint>
#include <string>

#include "server/config.h"

namespace dt {

// What this process can have at most, in bytes: the memory of the machine, or the limit of its
// control group (version 1 or 2, or of one above it) if that is less. `root` stands before /proc
// and /sys.
int64_t MemoryOfMachine(const std::string& root = "");

// memory.bytes-max, or, if that is 0, three quarters of what the machine has: the rest is for what
// nobody counts, such as the stacks of threads and what malloc cannot give back.
int64_t MemoryBytesMax(const Config& config, int64_t machine_bytes);

// Makes `bytes_max` the limit, and lowers the limits of those that hold memory so that all of them
// together stay below it. Limits that are lower already stay.
void ShareMemory(int64_t bytes_max, Config& config);

}  // namespace dt

#endif  // DT_SERVER_MEMORY_H_
