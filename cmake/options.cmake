# Compiler flags of every target. Warnings are errors; assertions stay in release builds.
add_library(sbx_options INTERFACE)
target_compile_options(sbx_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
  -Wcast-qual -Wvla -Wundef -Werror -fno-strict-aliasing -fstack-protector-strong)
target_compile_definitions(sbx_options INTERFACE _POSIX_C_SOURCE=200809L SBX_VERSION="${PROJECT_VERSION}")
target_include_directories(sbx_options INTERFACE "${CMAKE_SOURCE_DIR}/src")
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(sbx_options INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fPIE)
  target_link_options(sbx_options INTERFACE -pie)
else()
  # Each arena object gets a malloc of its own, so that sanitizers see its bounds and lifetime.
  target_compile_definitions(sbx_options INTERFACE SBX_ARENA_DEBUG=1)
endif()
string(REPLACE " -DNDEBUG" "" CMAKE_C_FLAGS_RELEASE " ${CMAKE_C_FLAGS_RELEASE}")
string(REPLACE "-O3" "-O2 -g1" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
if(SBX_SANITIZE)
  target_compile_options(sbx_options INTERFACE -fsanitize=${SBX_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(sbx_options INTERFACE -fsanitize=${SBX_SANITIZE})
endif()
# One list of known leaks in libraries, for every executable.
set(SBX_LEAKS "")
if(SBX_SANITIZE MATCHES "address")
  set(SBX_LEAKS "${CMAKE_SOURCE_DIR}/test/support/leaks.c")
endif()
