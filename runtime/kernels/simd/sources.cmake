# Files that are compiled once per instruction set, with -DVN_ISA=<isa> and that set's flags.
set(VN_SIMD_SOURCES
  kernels/simd/depthwise.c
  kernels/simd/direct.c
  kernels/simd/down.c
  kernels/simd/pointwise.c
  kernels/simd/product.c
  kernels/simd/simple.c
  kernels/simd/table.c
  kernels/simd/up.c
  kernels/simd/winograd.c
  kernels/simd/winograd_cut.c
  kernels/simd/winograd_gemm.c
  kernels/simd/winograd_input.c
  kernels/simd/winograd_output.c
  kernels/simd/winograd_weights.c
)
