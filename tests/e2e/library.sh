#!/usr/bin/env bash
# What the installed runtime may show to the world.
#
#   library.sh SOURCE_DIR LIBVNET.SO CC
#
# Every symbol that the shared library exports has its prefix; it needs neither protobuf nor nifti nor
# the compiler; every public header compiles alone, as C11 and as C++.
set -euo pipefail
source_dir=$1 library=$2 cc=$3
bad=0

exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sed 's/@.*//')
[ "$(wc -l <<<"$exported")" -ge 20 ] || { echo "fewer symbols than the interface has"; bad=1; }
if grep -v '^vn_' <<<"$exported"; then echo "exported without the prefix"; bad=1; fi
if grep '^vnc_' <<<"$exported"; then echo "the compiler's"; bad=1; fi
if nm -D "$library" | grep -iE 'protobuf|nifti|znz|onnx'; then echo "not the runtime's"; bad=1; fi
if objdump -p "$library" | grep NEEDED | grep -iE 'protobuf|nifti|libz\.'; then
  echo "a library that the runtime must not need"
  bad=1
fi

flags=(-Wall -Wextra -Werror -fsyntax-only -I"$source_dir/schemas" -I"$source_dir/runtime/include" -I"$source_dir/runtime")
for header in "$source_dir"/runtime/include/*.h "$source_dir"/schemas/vnet_status.h \
  "$source_dir"/runtime/volume/*.h; do
  "$cc" -std=c11 "${flags[@]}" -x c "$header" || { echo "$header does not compile alone"; bad=1; }
done
for header in "$source_dir"/runtime/include/*.h; do
  "$cc" "${flags[@]}" -x c++ "$header" || { echo "$header is no C++"; bad=1; }
done
exit $bad
