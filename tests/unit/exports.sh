#!/bin/sh
# The shared library exports the functions of its public headers and nothing else, and each public
# header compiles alone.
#   exports.sh LIBRARY COMPILER INCLUDE_FOLDER HEADER...
set -eu
library=$1 compiler=$2 include=$3
shift 3

nm -D --defined-only "$library" | awk '{ print $3 }' | sort >exported.txt
for header in "$@"; do
  echo "#include \"$header\"" | "$compiler" -std=c11 -Wall -Wextra -Wpedantic -Werror \
    -I"$include" -x c -fsyntax-only -
done
echo '#include "vnet.h"' | "$compiler" -I"$include" -I"$(dirname "$1")" -E - | tr '\n' ' ' |
  grep -o 'visibility("default"))) [^;(]*' | grep -o '[a-z_]*$' | sort >declared.txt
[ -s declared.txt ] || { echo "no declarations found"; exit 1; }
diff declared.txt exported.txt
