# WebAssembly by Debian's emscripten: flags of both builds, without threads and with them (a page
# without cross-origin isolation cannot have any), and the headers of libraries of which only
# declarations are used, beside which the compiler must not see the host's own.
option(VNET_WEB_THREADS "WebAssembly with threads: for pages that are cross-origin isolated" OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE OFF)
add_compile_options(-msimd128 $<$<BOOL:${VNET_WEB_THREADS}>:-pthread>)

set(VN_HOST_HEADERS ${PROJECT_BINARY_DIR}/host)
file(GLOB multiarch /usr/include/*-linux-gnu)
foreach(header xxhash.h zlib.h zconf.h nifti/nifti1.h nifti/nifti2.h)
  find_file(found ${header} PATHS /usr/include ${multiarch} NO_DEFAULT_PATH
            NO_CMAKE_FIND_ROOT_PATH NO_CACHE REQUIRED)
  configure_file(${found} ${VN_HOST_HEADERS}/${header} COPYONLY)
  unset(found)
endforeach()
include_directories(SYSTEM ${VN_HOST_HEADERS})
set(XXHASH_INCLUDE ${VN_HOST_HEADERS} CACHE PATH "")
set(NIFTI_INCLUDE_DIR ${VN_HOST_HEADERS} CACHE PATH "")
# The browser unpacks and packs: web/gzip.c takes zlib's place.
set(ZLIB_INCLUDE_DIR ${VN_HOST_HEADERS} CACHE PATH "")
set(ZLIB_LIBRARY ${PROJECT_BINARY_DIR}/runtime/web/libvnet_web_gzip.a CACHE FILEPATH "")
