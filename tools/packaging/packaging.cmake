# What an installation holds beside the programs: libraries, headers, how to find them (CMake,
# pkg-config), vnet(3), `uninstall`, Debian packages. The last word of the top CMakeLists.txt, for it
# asks the libraries' targets what they link. Components: runtime, dev, tools.
include(CMakePackageConfigHelpers)
set(VN_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/vnet)
set(VN_PC_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
set(VN_SHARED vnet vnet_segment vnet_scan)

# vnet_static's links as the installed package and pkg-config shall see them: a library from one of
# the compiler's own folders by its name, so that the package can move to another machine.
function(vn_links target flags)
  get_target_property(links ${target} INTERFACE_LINK_LIBRARIES)
  if(NOT links)
    set(links "")
  endif()
  set(new_links "")
  set(new_flags "")
  foreach(link IN LISTS links)
    if(IS_ABSOLUTE "${link}")
      get_filename_component(folder "${link}" DIRECTORY)
      get_filename_component(name "${link}" NAME_WE)
      string(REGEX REPLACE "^lib" "" name "${name}")
      if(folder IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
        list(APPEND new_links $<BUILD_INTERFACE:${link}> $<INSTALL_INTERFACE:${name}>)
        list(APPEND new_flags -l${name})
      else()
        list(APPEND new_links ${link})
        list(APPEND new_flags -L${folder} -l${name})
      endif()
      continue()
    endif()
    list(APPEND new_links ${link})
    if(link MATCHES "Threads::Threads")
      list(APPEND new_flags -pthread)
    elseif(link MATCHES "ZLIB::ZLIB")
      list(APPEND new_flags -lz)
    elseif(link MATCHES "^[A-Za-z0-9_]+$" AND NOT TARGET ${link})
      list(APPEND new_flags -l${link})
    endif() # our own targets are what Requires says
  endforeach()
  set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "${new_links}")
  list(JOIN new_flags " " new_flags)
  set(${flags} "${new_flags}" PARENT_SCOPE)
endfunction()

# vn_pkg_config(TARGET DESCRIPTION REQUIRES): lib/pkgconfig/NAME.pc, wherever its prefix is moved to.
function(vn_pkg_config target description requires)
  vn_links(${target}_static VN_PC_PRIVATE)
  get_target_property(VN_PC_NAME ${target} OUTPUT_NAME)
  set(VN_PC_DESCRIPTION "${description}")
  set(VN_PC_REQUIRES "${requires}")
  file(RELATIVE_PATH VN_PC_PREFIX ${CMAKE_INSTALL_PREFIX}/${VN_PC_DIR} ${CMAKE_INSTALL_PREFIX})
  string(REGEX REPLACE "/$" "" VN_PC_PREFIX "${VN_PC_PREFIX}")
  configure_file(${PROJECT_SOURCE_DIR}/tools/packaging/vnet.pc.in ${PROJECT_BINARY_DIR}/${VN_PC_NAME}.pc
                 @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${VN_PC_NAME}.pc DESTINATION ${VN_PC_DIR} COMPONENT dev)
endfunction()
vn_pkg_config(vnet "V-Net segmentation of medical scans: plans, and tensors through them" "")
vn_pkg_config(vnet_segment "V-Net segmentation of medical scans: a host's image to labels"
              "vnet = ${PROJECT_VERSION}")
vn_pkg_config(vnet_scan "V-Net segmentation of medical scans: NIfTI, NRRD and MGH files"
              "vnet-segment = ${PROJECT_VERSION}")

# ---- libraries, headers, CMake package ----

foreach(target ${VN_SHARED})
  string(REGEX REPLACE "^vnet_" "" name ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} INSTALL_RPATH "${VN_ORIGIN}")
  set_target_properties(${target}_static PROPERTIES EXPORT_NAME ${name}_static)
  target_compile_definitions(${target}_static INTERFACE VN_STATIC)
  target_link_options(${target} PRIVATE # what is loaded is what is used, and no more
                      $<IF:$<BOOL:${APPLE}>,-Wl$<COMMA>-dead_strip_dylibs,-Wl$<COMMA>--as-needed>)
  list(APPEND VN_STATIC ${target}_static)
endforeach()
install(
  TARGETS ${VN_SHARED} ${VN_STATIC} EXPORT vnet
  LIBRARY COMPONENT runtime NAMELINK_COMPONENT dev
  RUNTIME COMPONENT runtime
  ARCHIVE COMPONENT dev)
install(EXPORT vnet NAMESPACE vnet:: FILE vnetTargets.cmake DESTINATION ${VN_CMAKE_DIR}
        COMPONENT dev)
install(FILES runtime/include/vnet.h runtime/include/vnet_segment.h runtime/include/vnet_scan.h
              schemas/vnet_status.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vnet COMPONENT dev)
configure_package_config_file(
  tools/packaging/vnetConfig.cmake.in ${PROJECT_BINARY_DIR}/vnetConfig.cmake
  INSTALL_DESTINATION ${VN_CMAKE_DIR} NO_SET_AND_CHECK_MACRO)
# While 0.x, what a minor version promises ends with it, as the soname says.
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/vnetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/vnetConfig.cmake ${PROJECT_BINARY_DIR}/vnetConfigVersion.cmake
        DESTINATION ${VN_CMAKE_DIR} COMPONENT dev)

# ---- vnet(3) ----

if(NOT WIN32)
  configure_file(tools/packaging/vnet.3.in ${PROJECT_BINARY_DIR}/vnet.3 @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/vnet.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT dev)
  foreach(page vnet_segment vnet_scan)
    file(WRITE ${PROJECT_BINARY_DIR}/${page}.3 ".so man3/vnet.3\n")
    install(FILES ${PROJECT_BINARY_DIR}/${page}.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3
            COMPONENT dev)
  endforeach()
endif()

# ---- what is in it (after everything else, of which it has the hashes), uninstall, Debian packages ----

include(tools/packaging/sbom_parts.cmake)

if(PROJECT_IS_TOP_LEVEL)
  add_custom_target(
    uninstall COMMAND ${CMAKE_COMMAND} -DMANIFEST=${PROJECT_BINARY_DIR}/install_manifest.txt -P
                      ${PROJECT_SOURCE_DIR}/tools/packaging/uninstall.cmake
    VERBATIM)
  if(WIN32)
    include(tools/windows/zip.cmake)
  else()
    include(tools/packaging/debian.cmake)
  endif()
endif()
