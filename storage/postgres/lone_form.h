// A shorter call for a request that comes alone, as requests do when little happens and somebody
// waits for each: one statement of sql/statements with columns in place of an envelope, which does
// only what such a request needs. It is a short cut for what goes well: one row is the answer; no
// row, and the request, unchanged, goes as a batch of one. The rules are those of the batch, and
// the conformance suite plays both.
//
// Threads. As verbs.h.
#ifndef DT_STORAGE_POSTGRES_LONE_FORM_H_
#define DT_STORAGE_POSTGRES_LONE_FORM_H_

#include <utility>

#include "storage/postgres/connection.h"
#include "storage/records.h"

namespace dt::postgres {

template <typename Request, typename Reply>
class LoneForm {
 public:
  explicit LoneForm(Statement its_statement) : statement(std::move(its_statement)) {}
  virtual ~LoneForm() = default;

  // Whether it can say everything that is in this request.
  virtual bool Fits(const Request& request) const = 0;
  virtual void Encode(HubId hub, const Request& request, Params* params) const = 0;
  // Fills the reply, which is a default value before, from the one row of the answer.
  virtual void Decode(const Result& result, const Request& request, Reply* reply) const = 0;

  const Statement statement;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_LONE_FORM_H_
