# Windows x86-64 by Debian's mingw-w64, tried under Debian's wine; the preset `windows` names it.
# The flavour of threads is POSIX's: pthread_* are winpthreads', which are linked into what is built,
# as everything is that Windows does not bring along.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER x86_64-w64-mingw32-gcc-posix)
set(CMAKE_CROSSCOMPILING_EMULATOR env;WINEDEBUG=-all;/usr/lib/wine/wine64)

# What deps.sh has put there, and mingw-w64's own; no header and no library of this machine's.
get_filename_component(deps ${CMAKE_CURRENT_LIST_DIR}/../../build-windows/deps ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH ${deps} /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ZLIB_LIBRARY /usr/x86_64-w64-mingw32/lib/libz.a CACHE FILEPATH "")
set(ENV{PKG_CONFIG_LIBDIR} ${deps}/lib/pkgconfig)
