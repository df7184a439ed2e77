// The version of this build, for `version`, the logs and build_info. Constant, any thread.
#ifndef DT_SERVER_VERSION_H_
#define DT_SERVER_VERSION_H_

#include <string_view>

namespace dt {

// The version of the project, such as "1.0.0".
std::string_view Version();

// The commit it was built from, twelve hexadecimal digits, with "-dirty" when the tree had changes;
// "unknown" when it was not built from a checkout.
std::string_view Commit();

}  // namespace dt

#endif  // DT_SERVER_VERSION_H_
