#!/usr/bin/env bash
# The libraries that Debian has for Linux alone, for Windows, from the sources of Debian's own
# packages: libpng, protobuf-c, cmocka (for tests). zlib comes as a package; of xxHash and niftilib
# headers are all that is wanted. Into build-windows/deps, once. (As root, for missing packages.)
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/packages.sh
install_packages "${WINDOWS_PACKAGES[@]}"
deps=$PWD/build-windows/deps
[ -e "$deps/done" ] && exit
mkdir -p "$deps/include" "$deps/licences" "$deps/lib/pkgconfig" "$deps/apt/lists/partial" "$deps/source"
cc=x86_64-w64-mingw32-gcc-posix

# apt with a list of sources of its own, from where this machine has its packages.
apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Component: main' |
  awk '$2 ~ /^[a-z]+$/ { print "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $1, $2, "main" }' |
  sort -u >"$deps/apt/sources.list"
sources=(apt-get -qq -o Dir::Etc::sourcelist="$deps/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o Dir::State::Lists="$deps/apt/lists" -o APT::Sandbox::User=root)
"${sources[@]}" update
(cd "$deps/source" && "${sources[@]}" source libpng1.6 protobuf-c cmocka >/dev/null)

library() { # NAME VERSION LIBS FOLDER SOURCES… : lib/libNAME.a and NAME.pc
  local name=$1 version=$2 libs=$3 folder=$4 objects
  shift 4
  objects=$(mktemp -d)
  for file in "$@"; do
    (cd "$folder" && $cc -O2 -I. -Iinclude -DHAVE_STDINT_H -DHAVE_INTTYPES_H -DHAVE_SIGNAL_H -w -c "$file" -o "$objects/${file##*/}.o")
  done
  x86_64-w64-mingw32-ar rcs "$deps/lib/lib$name.a" "$objects"/*.o
  printf 'Name: %s\nDescription: %s\nVersion: %s\nLibs: -L%s -l%s %s\nCflags: -I%s\n' "$name" "$name" \
    "$version" "$deps/lib" "$name" "$libs" "$deps/include" >"$deps/lib/pkgconfig/lib$name.pc"
  rm -r "$objects"
}
version_of() { basename "$1" | sed 's/.*-//'; }

png=$(echo "$deps"/source/libpng1.6-*/)
cp "$png/scripts/pnglibconf.h.prebuilt" "$png/pnglibconf.h"
cp "$png"/{png,pngconf,pnglibconf}.h "$deps/include"
library png "$(version_of "$png")" "" "$png" png{,error,get,mem,pread,read,rio,rtran,rutil,set,trans,wio,write,wtran,wutil}.c

protobuf=$(echo "$deps"/source/protobuf-c-*/)
install -D "$protobuf/protobuf-c/protobuf-c.h" "$deps/include/protobuf-c/protobuf-c.h"
library protobuf-c "$(version_of "$protobuf")" '' "$protobuf" protobuf-c/protobuf-c.c

cmocka=$(echo "$deps"/source/cmocka-*/)
cp "$cmocka/include"/cmocka*.h "$deps/include"
touch "$cmocka/config.h"
library cmocka "$(version_of "$cmocka")" '' "$cmocka" src/cmocka.c
mv "$deps/lib/pkgconfig/libcmocka.pc" "$deps/lib/pkgconfig/cmocka.pc"

cp /usr/include/xxhash.h "$deps/include"
cp -r /usr/include/nifti "$deps/include"
for package in libpng1.6 protobuf-c; do
  cp "$deps/source/$package"-*/debian/copyright "$deps/licences/$package.txt"
done
for package in libz-mingw-w64-dev mingw-w64-x86-64-dev libxxhash-dev libnifti-dev; do
  cp "/usr/share/doc/$package/copyright" "$deps/licences/$package.txt"
done
rm -r "$deps/source" "$deps/apt"
touch "$deps/done"
