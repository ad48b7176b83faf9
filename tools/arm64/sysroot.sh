#!/usr/bin/env bash
# The libraries of another architecture, unpacked into a folder that a toolchain file names as its
# sysroot. Debian's packages, by an apt with a state of its own: the machine's own packages are
# not touched, and no root is needed.
#
#   sysroot.sh ARCHITECTURE FOLDER PACKAGE...
set -euo pipefail
architecture=$1 folder=$2
shift 2
list="$architecture $*"
[ "$(cat "$folder/.packages" 2>/dev/null)" = "$list" ] && exit 0 # nothing new
rm -rf "$folder"
mkdir -p "$folder/usr/lib"
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
: >"$state/status"
apt() {
  apt-get -qq -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" \
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Dir::State="$state" \
    -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" \
    -o Dir::Cache="$state/cache" "$@"
}
apt update
apt install --download-only --no-install-recommends -y "$@"
ln -s usr/lib "$folder/lib" # as Debian is: libraries of both places in one
for package in "$state"/cache/archives/*.deb; do dpkg-deb -x "$package" "$folder"; done
find "$folder" -lname '/*' -printf '%p %l\n' | while read -r link target; do
  ln -sfnr "$folder$target" "$link"
done
echo "$list" >"$folder/.packages"
