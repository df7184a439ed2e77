// Entities and orchestrations that use them, for the tests of the dispatcher.
#ifndef DT_TESTS_DISPATCH_ENTITY_FIXTURE_H_
#define DT_TESTS_DISPATCH_ENTITY_FIXTURE_H_

#include <string>

#include "tests/dispatch/fixture.h"

namespace dt::testing {

// Those of SomeFunctions, and entities
//   counter  "add" n: its state is the sum, and the result
//   list     "add" text: its state is all texts together
// and orchestrators
//   CallAdd  input entity: adds 1, output is the result
//   LockAdd  input entities: locks them, adds 1 to each, waits for event "go", unlocks them; output
//            is the results, joined by ","
Functions EntityFunctions(const FakeClock& clock);

// The state of an entity, or who locks it; "" if there is none.
std::string StateOf(OneDaemon& one, const std::string& entity);
std::string LockedBy(OneDaemon& one, const std::string& entity);

}  // namespace dt::testing

#endif  // DT_TESTS_DISPATCH_ENTITY_FIXTURE_H_
