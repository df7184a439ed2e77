# How code is compiled: warnings, hardening, sanitizers.

# All code is part of a program, none of a shared library; said for all targets alike, because a
# precompiled header serves only what is compiled with its flags.
add_compile_options(-fPIE)
add_link_options(-pie)

# Flags of our own code.
add_library(dt_flags INTERFACE)
target_include_directories(dt_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_link_libraries(dt_flags INTERFACE Threads::Threads)
target_compile_options(dt_flags INTERFACE
  -pthread
  -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Wsuggest-override -Wextra-semi -Wvla -Wundef)
# Every file sees the same definitions, so that one precompiled header serves them all.
target_compile_definitions(dt_flags INTERFACE
  $<TARGET_PROPERTY:spdlog::spdlog,INTERFACE_COMPILE_DEFINITIONS>
  $<TARGET_PROPERTY:fmt::fmt,INTERFACE_COMPILE_DEFINITIONS>)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(dt_flags INTERFACE -Wthread-safety)
endif()

# Flags of generated code: no warnings, and no sanitizer, which would only slow it down.
add_library(dt_generated_flags INTERFACE)

if(DT_SANITIZE)
  # Up to eight files of a target are compiled as one. Most of the time went into the same templates,
  # instrumented anew in every file. What one folder's files have in unnamed namespaces must not
  # collide, then; that no file leans on its neighbours is seen by the presets that take them alone.
  set(CMAKE_UNITY_BUILD ON)
  target_compile_options(dt_flags INTERFACE -fsanitize=${DT_SANITIZE} -fno-sanitize-recover=all
                                            -fno-omit-frame-pointer)
  target_compile_options(dt_generated_flags INTERFACE -O0 -g0)
  add_link_options(-fsanitize=${DT_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  # What runs is hardened, and its checks stay on.
  add_compile_options(-fstack-protector-strong -fstack-clash-protection -fcf-protection)
  add_compile_definitions(_FORTIFY_SOURCE=2 _GLIBCXX_ASSERTIONS)
  add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()
