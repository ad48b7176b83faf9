# Files that are compiled once per instruction set, with -DVN_ISA=<isa> and that set's flags.
set(VN_SIMD_SOURCES
  kernels/simd/table.c
)
