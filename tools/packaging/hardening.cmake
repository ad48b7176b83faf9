# What an attacker still meets should a check have been forgotten: buffers that know their size,
# stacks that notice an overrun, addresses that are not known beforehand, tables that are read-only.
# tests/e2e/run_install.sh looks at what comes out.
include(CheckCCompilerFlag)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)
if(WIN32) # its linker's defaults are what this asks for
  return()
endif()
add_compile_options(-Wformat -Wformat-security)
if(NOT APPLE) # whose linker does this by itself
  add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
endif()
if(VNET_SANITIZE) # which looks at the same and more
  return()
endif()

set(CMAKE_REQUIRED_FLAGS -Werror)
set(flags -fstack-protector-strong -fstack-clash-protection
          -fcf-protection -mbranch-protection=standard) # the last two: x86, arm64
foreach(flag IN LISTS flags)
  string(MAKE_C_IDENTIFIER "VNET_HAS${flag}" known)
  check_c_compiler_flag(${flag} ${known})
  if(${known})
    add_compile_options(${flag})
  endif()
endforeach()
# For kernels, which read no foreign bytes and loop as plan_check.c lets them: guards of the stack
# cost every network 3 %.
set(VN_UNGUARDED -fno-stack-protector)
if(VNET_HAS_fstack_clash_protection)
  list(APPEND VN_UNGUARDED -fno-stack-clash-protection)
endif()
# Level 3 knows the size of what malloc gave; compilers and libraries before 2022 warn of it. It
# wants an optimiser, and a distribution's own level, in CFLAGS, to be undone first.
if(NOT CMAKE_BUILD_TYPE STREQUAL Debug)
  include(CheckCSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS "-O2 -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
  check_c_source_compiles("#include <string.h>\nint main(void) { return 0; }" VNET_FORTIFY_3)
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$<IF:$<BOOL:${VNET_FORTIFY_3}>,3,2>)
endif()
unset(CMAKE_REQUIRED_FLAGS)
