# XNNPACK, into vnet_objects and VN_LIBRARIES. It has changed its convolution calls twice: xnn.h.
find_path(XNNPACK_INCLUDE xnnpack.h REQUIRED)
find_library(XNNPACK_LIBRARY XNNPACK REQUIRED)
find_library(PTHREADPOOL_LIBRARY pthreadpool REQUIRED)
list(PREPEND VN_LIBRARIES ${XNNPACK_LIBRARY} ${PTHREADPOOL_LIBRARY})

include(CheckCSourceCompiles)
set(CMAKE_REQUIRED_INCLUDES ${XNNPACK_INCLUDE})
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY) # compile, do not link
check_c_source_compiles("#include <xnnpack.h>
int main(void) { return xnn_setup_convolution2d_nhwc_f32(0, 1, 1, 1, 0, 0, 0); }" VN_XNN_2022)
check_c_source_compiles("#include <xnnpack.h>
int main(void) { size_t n; return xnn_reshape_convolution2d_nhwc_f32(0, 1, 1, 1, &n, &n, &n, &n, 0); }"
  VN_XNN_2023)
unset(CMAKE_REQUIRED_INCLUDES)
unset(CMAKE_TRY_COMPILE_TARGET_TYPE)
if(VN_XNN_2022)
  set(VN_XNN_API 2022)
elseif(VN_XNN_2023)
  set(VN_XNN_API 2023)
else()
  set(VN_XNN_API 2025)
endif()

target_sources(vnet_objects PRIVATE kernels/xnnpack/conv_xnnpack.c)
target_compile_definitions(vnet_objects PRIVATE VN_XNN_API=${VN_XNN_API})
target_compile_definitions(vnet_objects PUBLIC VN_XNNPACK)
target_include_directories(vnet_objects PRIVATE ${XNNPACK_INCLUDE})
