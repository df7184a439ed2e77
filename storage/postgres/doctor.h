// `doctor`: what an operator should know of a database, and do about it (deploy/OPERATIONS.md,
// section 5). Pure: facts in (doctor_facts.h), findings out.
#ifndef DT_STORAGE_POSTGRES_DOCTOR_H_
#define DT_STORAGE_POSTGRES_DOCTOR_H_

#include <string>
#include <vector>

#include "storage/postgres/doctor_facts.h"

namespace dt::postgres {

enum class Severity : int8_t {
  kGood,
  kNote,     // worth knowing
  kWarning,  // will hurt, or does under load
  kProblem,  // does not work, or loses what was acknowledged
};

struct Finding {
  Severity severity = Severity::kGood;
  std::string check;   // a word that stays the same, for scripts: "schema", "settings", ...
  std::string what;    // a sentence
  std::string advice;  // what to do; empty for kGood
};

// In the order in which people should read them. Of a check that was made, and found nothing but
// notes, a good one.
std::vector<Finding> Judge(const DatabaseFacts& facts);

// The worst of them; kGood of none.
Severity WorstOf(const std::vector<Finding>& findings);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_DOCTOR_H_
