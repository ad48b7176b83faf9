# The zip for Windows, by `cpack` in the build folder: programs and libraries in bin, what a host is
# built with in include and lib, the models where the programs find them.
set(CPACK_GENERATOR ZIP)
set(CPACK_PACKAGE_NAME vnet)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_FILE_NAME vnet-${PROJECT_VERSION}-windows-x86_64)
set(CPACK_STRIP_FILES ON)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION . COMPONENT dev)
# Of what is linked in, whose licences want to be told.
list(GET CMAKE_FIND_ROOT_PATH 0 deps)
install(DIRECTORY ${deps}/licences/ DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/vnet/licences COMPONENT dev)
include(CPack)
