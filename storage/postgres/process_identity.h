// Which process this is, so that another daemon on the same host can see at once that it is gone,
// and need not wait until its lease has run out.
#ifndef DT_STORAGE_POSTGRES_PROCESS_IDENTITY_H_
#define DT_STORAGE_POSTGRES_PROCESS_IDENTITY_H_

#include <string>
#include <string_view>

namespace dt::postgres {

// "boot id/pid namespace/pid/start time" of this process; empty if /proc does not tell. `proc` is
// another place than /proc for tests.
std::string OwnProcess(const std::string& proc = "/proc");

// True if `process` ran under the same boot and in the same pid namespace as this process and
// exists no more. False if that cannot be known from here: /proc may hide the processes of other
// users (hidepid, ProtectProc=invisible).
bool IsKnownDead(std::string_view process, const std::string& proc = "/proc");

std::string HostName();

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_PROCESS_IDENTITY_H_
