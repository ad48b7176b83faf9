# How every target is built for Windows; the top CMakeLists.txt includes it.
add_compile_options(-include ${PROJECT_SOURCE_DIR}/runtime/windows/posix.h
                    -Wno-format) # which knows Microsoft's printf alone; ours is mingw-w64's
add_compile_definitions(VN_STATIC WIN32_LEAN_AND_MEAN)
add_link_options(-static) # Windows brings neither winpthreads nor zlib
# A program finds its libraries in its own folder. The models' is as far away as when installed.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_SHARED_LIBRARY_PREFIX "")

# vn_exports(LIBRARY HEADER): the library exports what its header declares, and nothing else.
function(vn_exports library header)
  file(READ ${header} text)
  string(REGEX MATCHALL "VN_([A-Z]+_)?API [^(;]*vn_[a-z0-9_]+\\(" names "${text}")
  list(TRANSFORM names REPLACE "^.*(vn_[a-z0-9_]+)\\($" "\\1")
  list(JOIN names "\n" names)
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${library}.def CONTENT "EXPORTS\n${names}\n")
  target_sources(${library} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/${library}.def)
endfunction()
