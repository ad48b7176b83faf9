# What vnet is built with, for its bill of materials (sbom.cmake); included by packaging.cmake.
# Versions are asked where they are known best: of pkg-config, of headers, and of Debian for what has
# none.
include(${CMAKE_CURRENT_LIST_DIR}/sbom.cmake)

function(vn_debian_version package out)
  execute_process(COMMAND dpkg-query -W "-f=\${Version}" ${package} OUTPUT_VARIABLE version
                  ERROR_QUIET RESULT_VARIABLE failed)
  if(failed)
    set(version "")
  endif()
  set(${out} "${version}" PARENT_SCOPE)
endfunction()

# 0.0~git20220216.ae108ef-2 is of no release: 20220216.
function(vn_debian_snapshot package out)
  vn_debian_version(${package} version)
  string(REGEX REPLACE "^.*git([0-9]+).*$" "\\1" version "${version}")
  set(${out} "${version}" PARENT_SCOPE)
endfunction()

file(STRINGS ${XXHASH_INCLUDE}/xxhash.h lines REGEX "define XXH_VERSION_(MAJOR|MINOR|RELEASE)")
string(REGEX REPLACE "[^0-9;]" "" lines "${lines}")
string(REPLACE ";" "." xxhash_version "${lines}")
find_package(ZLIB QUIET)
pkg_check_modules(OMPI QUIET ompi)
vn_debian_snapshot(libxnnpack-dev xnnpack_version)
vn_debian_snapshot(libpthreadpool-dev pthreadpool_version)
vn_debian_version(libnifti-dev nifti_version)

vn_sbom_part(- xxhash "${xxhash_version}" BSD-2-Clause "")
vn_sbom_part(- nifti-headers "${nifti_version}" "" "")
vn_sbom_part(libz.so zlib "${ZLIB_VERSION_STRING}" Zlib zlib:zlib)
vn_sbom_part(libpng16.so libpng "${PNG_VERSION}" libpng-2.0 libpng:libpng)
vn_sbom_part(libprotobuf-c.so protobuf-c "${PROTOBUFC_VERSION}" BSD-2-Clause
             protobuf-c_project:protobuf-c)
vn_sbom_part(libXNNPACK.so XNNPACK "${xnnpack_version}" BSD-3-Clause "")
vn_sbom_part(libpthreadpool.so pthreadpool "${pthreadpool_version}" BSD-2-Clause "")
vn_sbom_part(libmpi.so openmpi "${OMPI_VERSION}" BSD-3-Clause open-mpi:open_mpi)

if(WIN32) # where all of it is linked in
  vn_debian_version(mingw-w64-x86-64-dev winpthreads_version)
  vn_sbom_part(- zlib "${ZLIB_VERSION_STRING}" Zlib zlib:zlib)
  vn_sbom_part(- libpng "${PNG_VERSION}" libpng-2.0 libpng:libpng)
  vn_sbom_part(- protobuf-c "${PROTOBUFC_VERSION}" BSD-2-Clause protobuf-c_project:protobuf-c)
  vn_sbom_part(- mingw-w64-winpthreads "${winpthreads_version}" MIT "")
endif()

file(WRITE ${PROJECT_BINARY_DIR}/sbom.cmake "set(VN_SBOM_VERSION ${PROJECT_VERSION})
set(VN_SBOM_READELF \"${CMAKE_READELF}\")
set(VN_SBOM_PARTS \"${VN_SBOM_PARTS}\")
include(\"${CMAKE_CURRENT_LIST_DIR}/sbom.cmake\")
")
install(CODE "
include(\"${PROJECT_BINARY_DIR}/sbom.cmake\")
set(sbom \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/doc/vnet/sbom.cdx.json\")
list(TRANSFORM CMAKE_INSTALL_MANIFEST_FILES PREPEND \"\$ENV{DESTDIR}\" OUTPUT_VARIABLE files)
message(STATUS \"Installing: \$ENV{DESTDIR}\${sbom}\")
vn_sbom(vnet \"\$ENV{DESTDIR}\${sbom}\" \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\" \"\${files}\")
list(APPEND CMAKE_INSTALL_MANIFEST_FILES \"\${sbom}\")" COMPONENT sbom)
