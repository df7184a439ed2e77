# One target per folder.

# The precompiled header that every target shares: the headers that cost most, none of our own but
# the generated ones. Only a means to build faster: the presets dev and clang compile without it, so
# that a missing include is found.
function(dt_precompile TARGET)
  if(DT_PCH)
    target_precompile_headers(${TARGET} REUSE_FROM dt_pch)
  endif()
endfunction()

if(DT_PCH)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/pch.cc CONTENT "// Carries the precompiled header.\n")
  add_library(dt_pch STATIC ${PROJECT_BINARY_DIR}/pch.cc)
  target_link_libraries(dt_pch PRIVATE dt_flags dt_proto_grpc gRPC::grpc++)
  target_precompile_headers(dt_pch PRIVATE
    <algorithm> <atomic> <chrono> <condition_variable> <deque> <functional> <map> <memory> <mutex>
    <optional> <set> <string> <string_view> <thread> <unordered_map> <utility> <variant> <vector>
    <absl/container/flat_hash_map.h> <absl/container/flat_hash_set.h>
    <absl/functional/any_invocable.h> <absl/status/statusor.h> <absl/strings/str_cat.h>
    <absl/strings/str_join.h> <absl/synchronization/mutex.h> <absl/synchronization/notification.h>
    <absl/time/clock.h> <absl/time/time.h> <absl/types/span.h>
    <fmt/format.h> <spdlog/spdlog.h> <grpcpp/grpcpp.h> <proto/orchestrator_service.grpc.pb.h>)
endif()

# dt_library(NAME DEPS...): all *.cc of the current folder, except main.cc, as one target.
function(dt_library NAME)
  file(GLOB SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  list(FILTER SOURCES EXCLUDE REGEX "/main\\.cc$")
  add_library(${NAME} STATIC ${SOURCES})
  target_link_libraries(${NAME} PUBLIC dt_flags ${ARGN})
  dt_precompile(${NAME})
endfunction()
