#!/usr/bin/env bash
# What an embedder gets: everything here is built and run from an installed prefix, which has been
# moved since, with the sources of the examples and nothing else of this tree.
#
#   run_install.sh SOURCE_DIR BUILD_DIR CC CXX PYTHON XNNPACK      XNNPACK: ON or OFF, as built
#
# Linking by pkg-config and CMake, shared and static, from C and C++; headers; exported symbols and
# needed libraries as symbols/ lists them; hardening; the bill of materials; labels as vnet-run's;
# cancelling; uninstalling.
set -euo pipefail
source_dir=$1 build=$2 cc=$3 cxx=$4 python=$5 xnnpack=$6
here=$source_dir/tests/e2e
folder=$(mktemp -d --tmpdir vnet-install-XXXXXX)
trap 'rm -rf "$folder"' EXIT
bad=0
fail() {
  echo "FAILED: $*"
  bad=1
}

first=$folder/first prefix=$folder/moved
cmake --install "$build" --prefix "$first" >"$folder/install.log"
mv "$first" "$prefix"
mkdir "$folder/host"
cp "$source_dir"/examples/{embed,segment}.c "$folder/host"
cd "$folder/host"
lib=$(dirname "$(find "$prefix" -name libvnet.so)")
export PKG_CONFIG_PATH=$lib/pkgconfig
warnings=(-Wall -Wextra -pedantic -Werror)

headers() {
  local header std flags
  flags=$(pkg-config --cflags vnet-scan)
  mkdir own
  echo '#define HOST_STATUS 1' >own/status.h
  for header in vnet.h vnet_status.h vnet_segment.h vnet_scan.h; do
    printf '#include "status.h"\n#include <%s>\n#if !HOST_STATUS\n#error not mine\n#endif\n' \
      "$header" >own/one.c
    cp own/one.c own/one.cpp
    # shellcheck disable=SC2086 # flags are words
    "$cc" -std=c11 "${warnings[@]}" -fsyntax-only -Iown $flags own/one.c || fail "$header: c11"
    for std in c++11 c++14 c++17 c++20; do
      # shellcheck disable=SC2086
      "$cxx" -std=$std "${warnings[@]}" -fsyntax-only -Iown $flags own/one.cpp ||
        fail "$header: $std"
    done
  done
}

# needs PROGRAM: the libraries of ours that it loads.
needs() { readelf -d "$1" | sed -n 's/.*NEEDED.*\[\(libvnet.*\)\]/\1/p'; }

by_pkg_config() {
  local flags
  [ "$(pkg-config --modversion vnet-segment)" = "$("$prefix/bin/vnet-run" --version |
    grep -o '[0-9]\+\.[0-9]\+\.[0-9]\+' | sed -n 1p)" ] || fail "the version that pkg-config has"
  flags=$(pkg-config --cflags --libs vnet-segment)
  # shellcheck disable=SC2086
  for host in embed segment; do
    "$cc" -std=c11 "${warnings[@]}" $host.c $flags -Wl,-rpath,"$lib" -pthread -o $host.shared
    needs $host.shared | grep '^libvnet\.so' >/dev/null || fail "$host.shared does not load libvnet"
  done
  # Both kinds lie in one folder: the static one is asked for by its file's name.
  flags=$(pkg-config --static --cflags --libs vnet-segment | sed -E 's/-l(vnet[a-z-]*)/-l:lib\1.a/g')
  # shellcheck disable=SC2086
  for host in embed segment; do
    "$cc" -std=c11 "${warnings[@]}" $host.c $flags -pthread -o $host.static
    [ -z "$(needs $host.static)" ] || fail "$host.static loads $(needs $host.static)"
  done
  flags=$(pkg-config --static --cflags --libs vnet-scan | sed -E 's/-l(vnet[a-z-]*)/-l:lib\1.a/g')
  echo '#include <vnet_scan.h>
int main(void) { return vn_scan_open("none.nii", 0, 0) == VN_OK; }' >scan.c
  # shellcheck disable=SC2086
  "$cc" scan.c $flags -o scan.static || fail "vnet-scan, static"
  if [ "$xnnpack" = OFF ]; then # Debian has no libXNNPACK.a
    # shellcheck disable=SC2046
    "$cc" -static -std=c11 segment.c $(pkg-config --static --cflags --libs vnet-segment) \
      -o segment.alone
    ! readelf -d segment.alone | grep NEEDED || fail "segment.alone loads something"
  fi
}

# by_cmake LANGUAGE STANDARD SOURCE: a project that has this one language; SOURCE becomes
# LANGUAGE_STANDARD.shared and .static.
by_cmake() {
  local name=$1_$2
  mkdir "$name"
  cp "$3" "$name"
  cat >"$name/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.16)
project(host LANGUAGES $1)
set(CMAKE_$1_STANDARD $2)
set(CMAKE_$1_STANDARD_REQUIRED ON)
set(CMAKE_$1_EXTENSIONS OFF)
find_package(vnet 0.2 REQUIRED)
find_package(Threads REQUIRED)
add_compile_options(-Wall -Wextra -pedantic -Werror)
foreach(kind "" _static)
  add_executable(host\${kind} $3)
  target_link_libraries(host\${kind} PRIVATE vnet::segment\${kind} vnet::scan\${kind}
                                             Threads::Threads)
endforeach()
END
  if ! { CC=$cc CXX=$cxx cmake -S "$name" -B "$name/build" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_BUILD_TYPE=Release && cmake --build "$name/build"; } >"$name/log" 2>&1; then
    cat "$name/log"
    fail "$name by CMake"
    return
  fi
  mv "$name/build/host" "$name.shared"
  mv "$name/build/host_static" "$name.static"
  needs "$name.shared" | grep '^libvnet-segment\.so' >/dev/null || fail "$name.shared does not load ours"
  [ -z "$(needs "$name.static")" ] || fail "$name.static loads $(needs "$name.static")"
}

# Which versions a host may ask for: the minor version that is installed, and no other.
versions() {
  local version want got
  mkdir version
  for version in 0.1:no 0.2:yes 0.2.0:yes 0.3:no 1.0:no; do
    want=${version#*:}
    echo "cmake_minimum_required(VERSION 3.16)
project(host LANGUAGES C)
find_package(vnet ${version%:*} REQUIRED)" >version/CMakeLists.txt
    got=no
    rm -rf version/build
    cmake -S version -B version/build -DCMAKE_PREFIX_PATH="$prefix" >version/log 2>&1 && got=yes
    [ "$got" = "$want" ] || fail "find_package(vnet ${version%:*}): $got"
  done
}

# run NAME PROGRAM…: runs it, with progress in NAME.err, which must grow to 100 %.
run() {
  local name=$1
  shift
  "$@" >"$name.out" 2>"$name.err" || fail "$name exits with $?: $(tail -1 "$name.err")"
}

hosts_run() {
  local host status alone=
  "$prefix/bin/vnet-model" --member vnet-caffe --width 4 --classes 3 --patch 32x48x48 --seed 1 \
    --orientation RAS --spacing '2 2 2' --intensity zscore -o m.onnx
  "$prefix/bin/vnetc" m.onnx -o m.plan
  "$python" "$here/head_phantom.py" write head.nii.gz
  "$prefix/bin/vnet-run" m.plan head.nii.gz -o head.seg.nii.gz >/dev/null

  # The models that are installed, by their names, wherever the prefix was moved to.
  "$prefix/bin/vnet-run" --models >models
  printf '%-15s %s\n' brain "$prefix/share/vnet/models/brain.plan" \
    brain-parts "$prefix/share/vnet/models/brain-parts.plan" | cmp -s - models || fail "models: $(cat models)"
  "$prefix/bin/vnet-run" -q brain head.nii.gz -o brain.nii.gz || fail "no brain by its name"

  for host in embed.shared embed.static; do
    run $host ./$host m.plan
    grep -q 'class 2: [0-9]* voxels' $host.out || fail "$host prints no classes"
  done
  [ ! -e segment.alone ] || alone=segment.alone
  for host in segment.shared segment.static C_11.shared C_11.static $alone; do
    run $host ./$host m.plan --labels $host.raw
    cmp $host.raw segment.shared.raw || fail "$host has other labels"
    cmp $host.out segment.shared.out || fail "$host prints something else"
    tr '\r' '\n' <$host.err | grep -o '^ *[0-9]*' >$host.progress
    sort -nc $host.progress || fail "$host: progress goes back"
    [ "$(tail -1 $host.progress)" -eq 100 ] || fail "$host: progress does not end"
  done
  grep -q '[1-9][0-9]* MiB' segment.shared.out || fail "no memory foretold"
  "$python" "$here/head_phantom.py" compare head.seg.nii.gz segment.shared.raw ||
    fail "segment has other labels than vnet-run"
  for host in CXX_11 CXX_17 CXX_20; do
    run $host.shared ./$host.shared m.plan
    run $host.static ./$host.static m.plan
    grep -q '^3 labels' $host.shared.out || fail "$host prints no labels"
  done

  for host in segment.shared segment.static; do
    status=0
    timeout 60 ./$host m.plan --labels cancelled.raw --cancel-after 0 >/dev/null 2>cancel.err ||
      status=$?
    [ $status -eq 7 ] || fail "$host, cancelled, exits with $status"
    [ ! -e cancelled.raw ] || fail "$host, cancelled, writes labels"
  done
  status=0
  ./segment.shared none.plan 2>none.err || status=$?
  [ $status -eq 3 ] && grep -q none.plan none.err || fail "no plan: $status, $(cat none.err)"
}

# Exported symbols and needed libraries, as the committed lists have them.
surface() {
  local name
  for name in vnet vnet-segment vnet-scan; do
    nm -D --defined-only "$lib/lib$name.so" | awk '{ print $3 }' | LC_ALL=C sort >$name.symbols
    diff "$here/symbols/lib$name.txt" $name.symbols || fail "lib$name exports other symbols"
    if nm -g --defined-only "$lib/lib$name.a" | awk 'NF == 3 { print $3 }' | grep -v '^vn_'; then
      fail "lib$name.a: names without the prefix"
    fi
    readelf -d "$lib/lib$name.so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | sed '/^ld-linux/d' |
      LC_ALL=C sort | sed "s/^/lib$name /" >>needed.txt
  done
  sed '/^#/d' "$here/symbols/needed.txt" |
    if [ "$xnnpack" = ON ]; then sed 's/ (xnnpack)$//'; else sed '/ (xnnpack)$/d'; fi >want.txt
  diff want.txt needed.txt || fail "the libraries need others"
  if readelf -d "$lib"/libvnet*.so "$prefix"/bin/* | grep -E 'R(UN)?PATH' | grep -v '\[\$ORIGIN'; then
    fail "a run path that is not relative"
  fi
  stat -Lc '%n %s bytes' "$lib"/libvnet*.so "$lib"/libvnet*.a | sed 's|.*/||'
}

# hardened FILE: what an attacker needs is not there. -fstack-protector and _FORTIFY_SOURCE show by
# the functions that they call, where there is something to protect.
hardened() {
  local headers dynamic
  headers=$(readelf -Wl "$1")
  dynamic=$(readelf -Wd "$1")
  grep -q GNU_RELRO <<<"$headers" || fail "$1: no RELRO"
  grep -q 'GNU_STACK.* RW ' <<<"$headers" || fail "$1: an executable stack"
  ! grep -q 'LOAD.* RWE ' <<<"$headers" || fail "$1: memory to be written and executed"
  grep -qE 'BIND_NOW|FLAGS_1.*NOW' <<<"$dynamic" || fail "$1: symbols are bound late"
  [[ $1 = *.so ]] || grep -q 'FLAGS_1.*PIE' <<<"$dynamic" || fail "$1: at a fixed address"
  grep -q __stack_chk_fail <<<"$(nm -D "$1")" || fail "$1: stacks without canaries"
  case $(readelf -h "$1" | sed -n 's/.*Machine: *//p') in
  *X86-64) objdump -d "$1" | grep -c endbr64 ;;
  AArch64) objdump -d "$1" | grep -cE '\<(bti|paciasp)\>' ;;
  esac | grep -qv '^[0-9]$' || fail "$1: jumps may go anywhere"
}

hardening() {
  local file
  for file in "$lib"/libvnet*.so "$prefix"/bin/*; do hardened "$file"; done
  # The larger ones hold calls of every kind.
  for file in "$lib/libvnet.so" "$prefix"/bin/{vnet-run,vnetc,vnet-train}; do
    grep -q '_chk@' <<<"$(nm -D "$file")" || fail "$file: calls that do not know their buffers"
  done
}

# The bill of materials, of the very files that are there.
materials() {
  "$python" "$here/sbom.py" "$prefix/share/doc/vnet/sbom.cdx.json" "$prefix" ||
    fail "the bill of materials"
}

pages() {
  local page
  for page in vnet vnet_segment vnet_scan; do
    [ -s "$prefix/share/man/man3/$page.3" ] || fail "no $page(3)"
  done
  grep -q '^\.TH VNET 3 .*vnet [0-9]' "$prefix/share/man/man3/vnet.3" || fail "vnet(3) has no version"
  # Every name that the page has is in a header.
  for page in $(grep -o 'vn_[a-z_]*' "$prefix/share/man/man3/vnet.3" | sort -u); do
    grep -qw "$page" "$prefix"/include/vnet/*.h || fail "vnet(3) has $page, no header does"
  done
}

# All of it goes, and what is not ours stays.
uninstalled() {
  mv "$prefix" "$first"
  echo mine >"$first/lib/mine"
  cmake --build "$build" --target uninstall >uninstall.log || fail "uninstall"
  [ "$(find "$first" ! -type d)" = "$first/lib/mine" ] || fail "left: $(find "$first" ! -type d)"
  [ -z "$(find "$first" -name vnet)" ] || fail "left: $(find "$first" -name vnet)"
}

cat >open.cpp <<'END'
#include <vnet_scan.h>

#include <cstdio>

int main(int argc, char **argv) {
  vn_diag diag;
  vn_plan *plan = nullptr;
  vn_segmenter *segmenter = nullptr;
  struct vn_segmenter_info info = {};
  info.size = sizeof info;
  int status = vn_plan_open(argc > 1 ? argv[1] : "", &plan, &diag);
  if (!status) status = vn_segmenter_open(plan, nullptr, &segmenter, &diag);
  if (!status) status = vn_segmenter_info(segmenter, &info, &diag);
  if (status) std::fprintf(stderr, "%s\n", diag.text);
  else std::printf("%zu labels, vnet %s\n", info.labels, vn_version());
  vn_segmenter_close(&segmenter);
  vn_plan_close(&plan);
  vn_scan *file = nullptr;
  vn_scan_close(&file);
  return status;
}
END

headers
by_pkg_config
by_cmake C 11 segment.c
for standard in 11 17 20; do by_cmake CXX $standard open.cpp; done
versions
hosts_run
surface
hardening
materials
pages
uninstalled
exit $bad
