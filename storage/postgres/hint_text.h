// What daemons send each other by NOTIFY, as text. Daemons pass over what they do not understand,
// so that later versions can say more. Pure.
#ifndef DT_STORAGE_POSTGRES_HINT_TEXT_H_
#define DT_STORAGE_POSTGRES_HINT_TEXT_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/records.h"
#include "storage/store.h"

namespace dt::postgres {

// A payload of NOTIFY is below 8,000 bytes.
inline constexpr size_t kWaitsPerHint = 480;

struct ReceivedHint {
  WorkerId sender = 0;
  HubId hub = 0;                   // in which there is work, unless the hint is about waits
  std::optional<WaitHints> waits;  // with the same hub
};

// "HUB WORKER": there is work in the hub.
std::string WorkHintText(HubId hub, WorkerId sender);
// "HUB WORKER KIND" and 16 hexadecimal digits for each wait; more than one where they are many.
std::vector<std::string> WaitHintTexts(const WaitHints& hints, WorkerId sender);
// nullopt for anything else that somebody sent.
std::optional<ReceivedHint> ParseHint(std::string_view text);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_HINT_TEXT_H_
