// Versions as semver.org orders them: numbers as numbers, a pre-release below its release. Pure.
#ifndef DT_STORAGE_POSTGRES_SEMVER_H_
#define DT_STORAGE_POSTGRES_SEMVER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dt::postgres {

struct Semver {
  uint32_t numbers[3] = {0, 0, 0};      // major, minor, patch
  std::vector<std::string> prerelease;  // "rc.1" = {"rc", "1"}; empty = a release
};

// "1.2.3", "1.2.3-rc.1", "1.2.3+build" (the build is ignored); nullopt if it is none of these.
std::optional<Semver> ParseSemver(std::string_view text);

// Negative, zero or positive, as `a` is below, equal to or above `b`.
int CompareSemver(const Semver& a, const Semver& b);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_SEMVER_H_
