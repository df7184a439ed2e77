// What a dispatcher wanted done, a line for each effect: to compare two runs, and to read how one
// came to its end.
#ifndef DT_TESTS_SUPPORT_TRANSCRIPT_H_
#define DT_TESTS_SUPPORT_TRANSCRIPT_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/dispatch/events.h"

namespace dt::testing {

// What the effect is about: what it does, for whom, under which lease and number.
std::string Describe(const dispatch::Effect& effect);

class Transcript {
 public:
  // `who` made these effects.
  void Add(absl::Time now, const std::string& who, const std::vector<dispatch::Effect>& effects);
  const std::vector<std::string>& lines() const { return lines_; }
  // The last lines, each on a line of its own.
  std::string Tail(size_t count) const;

 private:
  std::vector<std::string> lines_;
};

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_TRANSCRIPT_H_
