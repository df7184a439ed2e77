// The row of an orchestration that has just ended, told from what its last turn was made of, so
// that who waits for the end need not read it. Pure.
#ifndef DT_SERVER_ORCHESTRATION_ENDED_ROW_H_
#define DT_SERVER_ORCHESTRATION_ENDED_ROW_H_

#include <optional>

#include "absl/time/time.h"
#include "server/orchestration/instance_state.h"
#include "storage/management_records.h"

namespace dt::orchestration {

// The row as the store has it after the checkpoint that came with `delta`, by which the instance
// ended at `ended_at`; with all payloads. `state` is the one before that turn.
//
// While an instance lives, nothing else writes its row but the turns of its lease holder and what
// takes it away from that holder (a termination or replacement at once, a rewind), after which the
// checkpoint would not have committed. What the history does not tell is the time at which the
// store created the instance, and a scheduled start: it must have been created without one.
//
// nullopt if the payloads of start and end are so large that copying them would keep others
// waiting, or if the history lacks one of the two.
std::optional<InstanceRow> EndedRow(const InstanceState& state, const StateDelta& delta,
                                    absl::Time created_at, absl::Time ended_at);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_ENDED_ROW_H_
