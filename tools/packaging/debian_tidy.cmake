# Run by cpack on what it has staged, before it makes Debian packages of it: what belongs to an
# installation under any prefix, but not to one in /usr.
file(GLOB_RECURSE pages "${CPACK_TEMPORARY_DIRECTORY}/*/usr/share/man/man?/*.?"
     "${CPACK_TEMPORARY_DIRECTORY}/*/usr/share/doc/*/changelog.Debian")
foreach(page IN LISTS pages)
  execute_process(COMMAND gzip -9nf "${page}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()

# Libraries go to Debian's folder for the architecture; who looks for them is told.
if(CPACK_VN_LIBDIR STREQUAL "lib" AND CPACK_VN_MULTIARCH)
  set(multiarch lib/${CPACK_VN_MULTIARCH})
  file(GLOB libraries "${CPACK_TEMPORARY_DIRECTORY}/*/usr/lib/lib*")
  foreach(library IN LISTS libraries)
    get_filename_component(folder "${library}" DIRECTORY)
    get_filename_component(name "${library}" NAME)
    file(MAKE_DIRECTORY "${folder}/${CPACK_VN_MULTIARCH}")
    file(RENAME "${library}" "${folder}/${CPACK_VN_MULTIARCH}/${name}")
  endforeach()
  file(GLOB descriptions "${CPACK_TEMPORARY_DIRECTORY}/*/usr/lib/pkgconfig/*.pc"
       "${CPACK_TEMPORARY_DIRECTORY}/*/usr/lib/cmake/vnet/vnetTargets-*.cmake")
  foreach(description IN LISTS descriptions)
    file(READ "${description}" text)
    string(REPLACE "libdir=\${prefix}/lib" "libdir=\${prefix}/${multiarch}" text "${text}")
    string(REPLACE "\${_IMPORT_PREFIX}/lib/" "\${_IMPORT_PREFIX}/${multiarch}/" text "${text}")
    file(WRITE "${description}" "${text}")
  endforeach()
endif()

# The loader finds libraries in /usr by itself.
file(GLOB_RECURSE binaries "${CPACK_TEMPORARY_DIRECTORY}/*/usr/bin/*"
     "${CPACK_TEMPORARY_DIRECTORY}/*/usr/lib/*.so*")
foreach(binary IN LISTS binaries)
  if(NOT IS_SYMLINK "${binary}")
    file(RPATH_REMOVE FILE "${binary}")
  endif()
endforeach()

# What is in each, now that its files are as they will be installed.
include("${CPACK_VN_SBOM}")
foreach(component runtime dev tools)
  string(TOUPPER ${component} upper)
  set(package "${CPACK_DEBIAN_${upper}_PACKAGE_NAME}")
  set(root "${CPACK_TEMPORARY_DIRECTORY}/${component}")
  file(GLOB_RECURSE files "${root}/*")
  vn_sbom("${package}" "${root}/usr/share/doc/${package}/sbom.cdx.json" "${root}" "${files}")
endforeach()
