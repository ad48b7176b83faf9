# Debian packages by component: `cpack` in the build folder makes libvnet0.2, libvnet-dev and
# vnet-tools. What the programs and libraries depend on is asked of dpkg-shlibdeps.
set(soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME vnet)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "vnet maintainers <maintainers@vnet.invalid>")
set(CPACK_PACKAGE_VENDOR vnet)
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL runtime dev tools)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/tools/packaging/debian_tidy.cmake)
set(CPACK_VN_LIBDIR ${CMAKE_INSTALL_LIBDIR}) # for that script
set(CPACK_VN_SBOM ${PROJECT_BINARY_DIR}/sbom.cmake)
set(CPACK_VN_MULTIARCH ${CMAKE_LIBRARY_ARCHITECTURE})

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
if(CMAKE_CROSSCOMPILING AND CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE arm64) # else that of the machine that builds
endif()
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY "=") # what is built together belongs together
foreach(target ${VN_SHARED}) # where dpkg-shlibdeps finds ours
  get_target_property(folder ${target} BINARY_DIR)
  list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${folder})
endforeach()

set(exact "${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libvnet${soversion})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
file(WRITE ${PROJECT_BINARY_DIR}/debian/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/debian/triggers)
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libvnet-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libvnet${soversion} (= ${exact})")
set(CPACK_DEBIAN_DEV_PACKAGE_SUGGESTS "zlib1g-dev") # for libvnet-scan.a
set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME vnet-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION science)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libvnet${soversion} (= ${exact})")
if(VNET_XNNPACK)
  string(APPEND CPACK_DEBIAN_DEV_PACKAGE_SUGGESTS ", libxnnpack-dev, libpthreadpool-dev")
endif()

set(about "V-Net segments 3D medical scans. vnet compiles an ONNX V-Net to one flat file
and runs that in a small C runtime. This is research software, not a medical
device.
.
This package holds")
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "V-Net segmentation of medical scans: libraries
${about} the shared libraries.")
set(CPACK_COMPONENT_DEV_DESCRIPTION "V-Net segmentation of medical scans: development files
${about} headers, static libraries, what CMake and pkg-config
need, and a manual page.")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "V-Net segmentation of medical scans: programs
${about} the compiler vnetc, vnet-run, which segments scans,
the trainer vnet-train, what looks into plans, and models that find the brain
and its parts on head scans.")

# The licence and a changelog in each, where Debian has them; `cmake --install` leaves them out.
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
foreach(component RUNTIME DEV TOOLS)
  set(VN_DEB_NAME ${CPACK_DEBIAN_${component}_PACKAGE_NAME})
  string(TOLOWER ${component} lower)
  file(WRITE ${PROJECT_BINARY_DIR}/debian/${lower}/changelog.Debian
       "vnet (${exact}) unstable; urgency=low\n\n  * Built from source by cpack.\n\n"
       " -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
  install(FILES ${PROJECT_SOURCE_DIR}/tools/packaging/copyright
                ${PROJECT_BINARY_DIR}/debian/${lower}/changelog.Debian
          DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${VN_DEB_NAME} COMPONENT ${lower}
          EXCLUDE_FROM_ALL)
endforeach()
include(CPack)
