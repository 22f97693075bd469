# The system's libraries (deps/debian.txt says why each), behind names of our own.
find_package(PkgConfig REQUIRED)

function(sbx_pkg name module)
  pkg_check_modules(PC_${name} REQUIRED IMPORTED_TARGET ${module})
  add_library(sbx::${name} ALIAS PkgConfig::PC_${name})
endfunction()

sbx_pkg(uv libuv)
sbx_pkg(cjson libcjson)
sbx_pkg(yaml yaml-0.1)
sbx_pkg(nats libnats)
sbx_pkg(ssl openssl)

# llhttp: a library where the system has one, else compiled strict from the sources the
# system installs (Debian 12's node-llhttp).
pkg_check_modules(PC_llhttp IMPORTED_TARGET libllhttp)
if(PC_llhttp_FOUND)
  add_library(sbx::llhttp ALIAS PkgConfig::PC_llhttp)
else()
  add_library(llhttp_strict STATIC
    "${SBX_LLHTTP_DIR}/api.c" "${SBX_LLHTTP_DIR}/http.c" "${SBX_LLHTTP_DIR}/llhttp.c")
  target_compile_definitions(llhttp_strict PUBLIC LLHTTP_STRICT_MODE=1)
  find_path(SBX_LLHTTP_INCLUDE llhttp.h HINTS "${SBX_LLHTTP_DIR}/../include" PATH_SUFFIXES llhttp REQUIRED)
  target_include_directories(llhttp_strict SYSTEM PUBLIC "${SBX_LLHTTP_INCLUDE}")
  target_compile_options(llhttp_strict PRIVATE -w -O2)
  add_library(sbx::llhttp ALIAS llhttp_strict)
endif()
