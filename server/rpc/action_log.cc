#include "server/rpc/action_log.h"

#include <optional>

#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"
#include "storage/log_fields.h"
#include "storage/steady_clock.h"

namespace dt::rpc {

void ActionLog::Add(const Action& action, std::string_view done) {
  const std::optional<int64_t> left_out =
      lines_.Admit(fmt::format("{}\n{}", action.rpc, action.hub), SteadyNow());
  if (!left_out.has_value()) return;
  const LogFields fields({{log_field::kTaskHub, action.hub}});
  spdlog::info("{}: {}, hub '{}': {}; by {}{}", log_event::kManagementAction, action.rpc,
               action.hub, done, action.by, LeftOutNote(*left_out));
}

}  // namespace dt::rpc
