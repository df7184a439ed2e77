// What most tests of the dispatcher begin with: one daemon, and functions for its workers.
#ifndef DT_TESTS_DISPATCH_FIXTURE_H_
#define DT_TESTS_DISPATCH_FIXTURE_H_

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/working_daemon.h"

namespace dt::testing {

// Activities "Echo" (its input), and orchestrators:
//   Chain   input n: n activities one after the other, output "1,2,..,n"
//   FanOut  input n: n activities at once, output is the number of results
//   Parent  input n: n children of Chain(2), output is their outputs joined by ";"
//   Sleep   input seconds: a timer, output "slept"
//   Listen  waits for event "go", output is its input
Functions SomeFunctions(const FakeClock& clock);

// Makes the response the part of this index (from 0) of a larger one (3.18).
void MakePart(OrchestratorResponse& response, int index, bool last);

}  // namespace dt::testing

#endif  // DT_TESTS_DISPATCH_FIXTURE_H_
