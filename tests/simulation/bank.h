// The entities of a world and the orchestrations that use them: accounts, whose money is moved
// under locks; relays, which signal each other and themselves and start orchestrations; and a ghost
// without a state, which is there only while somebody needs it.
#ifndef DT_TESTS_SIMULATION_BANK_H_
#define DT_TESTS_SIMULATION_BANK_H_

#include <string>
#include <vector>

#include "tests/support/fake_clock.h"
#include "tests/support/fake_worker.h"
#include "tests/support/memory_database.h"

namespace dt::testing {

// Entities account, relay and ghost, and the orchestrators
//   Transfer  input "account,account,others..": locks all of them and moves an amount from the
//             first to the second, by reading and writing both; output "moved"
//   Adder     input account: signals in order, delayed ones in between; output "added"
//   Holder    input entities: locks them and waits until it is terminated
//   Looper    input "generations,entities..": locks them in every generation, and never unlocks
//             them; output "looped"
//   Caller    input account: calls, one of which fails; output "called"
//   Pass      input relay: begins a chain of signals that ends with an orchestration; output
//             "passed"
//   Mark      what a chain ends with
void AddBank(const FakeClock& clock, Functions& functions);

// One orchestration of these, as it is started.
struct BankJob {
  std::string name;
  std::string input;
  std::string output;  // of Holder: none, it is terminated
};
BankJob BankJobOf(int number);
// An entity and an operation that a client may send it at any time.
struct BankSignal {
  std::string entity;
  std::string operation;
};
BankSignal BankSignalOf(size_t number);

// What is wrong at the end, or "": `executions` are those that Adders and Passes ended in. Every
// operation ran once and in its order, no money was lost, nothing is locked, and nothing is there
// that has no state. `entities` gets their number.
std::string CheckBank(MemoryDatabase& database, HubId hub, const std::vector<std::string>& adders,
                      const std::vector<std::string>& passes, size_t* entities);

}  // namespace dt::testing

#endif  // DT_TESTS_SIMULATION_BANK_H_
