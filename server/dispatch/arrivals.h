// What is on its way to this daemon under leases of its own: by claims, creations and checkpoints
// that the store has not answered, and by the questions what one of them has leased whose answer
// was lost. Messages to what comes wait here for it.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_ARRIVALS_H_
#define DT_SERVER_DISPATCH_ARRIVALS_H_

#include <limits>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "storage/records.h"

namespace dt::dispatch {

class Arrivals {
 public:
  // A call is made that may lease something under this token.
  void Expect(LeaseToken token) { expected_.insert(token); }
  // The call is answered.
  void Forget(LeaseToken token) {
    expected_.erase(token);
    ForgetMail(token);
  }
  // It is asked, or will be, what the token has leased; and this is answered.
  void BeginRecovery(LeaseToken token) { recoveries_.insert(token); }
  bool EndRecovery(LeaseToken token) { return recoveries_.erase(token) > 0; }
  // Whether an answer to come may bring something under this token.
  bool Expected(LeaseToken token) const {
    return expected_.contains(token) || recoveries_.contains(token);
  }
  // What comes under it, or under any, may lack messages: it is read again on arrival.
  void MarkIncomplete(LeaseToken token) { incomplete_.insert(token); }
  void MarkAllIncomplete() {
    incomplete_.insert(expected_.begin(), expected_.end());
    incomplete_.insert(recoveries_.begin(), recoveries_.end());
  }
  bool IsIncomplete(LeaseToken token) const { return incomplete_.contains(token); }

  // A message to an instance that comes under this token, and those that were kept for it.
  void Keep(LeaseToken token, InstanceKey key, Message message) {
    mail_[{token, key}].push_back(std::move(message));
  }
  std::vector<Message> Take(LeaseToken token, InstanceKey key) {
    const auto found = mail_.find({token, key});
    if (found == mail_.end()) return {};
    std::vector<Message> messages = std::move(found->second);
    mail_.erase(found);
    return messages;
  }

  // Nothing comes any more: the leases of this process are gone.
  void Clear() {
    expected_.clear();
    incomplete_.clear();
    mail_.clear();
  }

 private:
  void ForgetMail(LeaseToken token) {
    if (recoveries_.contains(token)) return;  // more is to come
    incomplete_.erase(token);
    mail_.erase(mail_.lower_bound({token, std::numeric_limits<InstanceKey>::min()}),
                mail_.upper_bound({token, std::numeric_limits<InstanceKey>::max()}));
  }

  absl::btree_set<LeaseToken> expected_;
  absl::btree_set<LeaseToken> recoveries_;
  absl::btree_set<LeaseToken> incomplete_;
  absl::btree_map<std::pair<LeaseToken, InstanceKey>, std::vector<Message>> mail_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_ARRIVALS_H_
