# Debian packages that build and tests need; sourced by quickstart.sh, test.sh and .ci/run.
# Installs only what is missing, so that a second run costs nothing.

install_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' ||
      missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "installing: ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    echo "these packages are missing and only root can install them: ${missing[*]}" >&2
    return 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >/dev/null
}

BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config libprotobuf-c-dev protobuf-c-compiler
  libxnnpack-dev libpthreadpool-dev libnifti-dev zlib1g-dev libxxhash-dev libpng-dev
  libopenmpi-dev openmpi-bin help2man)
SCAN_PACKAGES=(mricron-data)
TEST_PACKAGES=(g++ libcmocka-dev libonnx-dev libonnx-testdata python3 python3-numpy python3-scipy
  python3-nibabel teem-apps python3-pip python3-setuptools python3-wheel python3-venv
  binutils libinsighttoolkit5-dev debootstrap dpkg-dev file)
# The presets `clang`, `sanitize-clang` and `fuzz`; sanitizers are in a package of their own.
CLANG_PACKAGES=(clang libclang-rt-14-dev)
FUZZ_PACKAGES=("${CLANG_PACKAGES[@]}" llvm-14)
# The example viewer and its test.
VIEWER_PACKAGES=(libgtk-4-dev xvfb xauth xdotool imagemagick python3-pil python3-gi gir1.2-atspi-2.0
  at-spi2-core dbus-daemon fonts-dejavu-core)
# WebAssembly and the browser that it is tested in; node and npm besides.
WEB_PACKAGES=(emscripten node-acorn chromium fonts-dejavu-core)
# The preset `windows` (tools/windows).
WINDOWS_PACKAGES=(gcc cmake ninja-build pkg-config protobuf-c-compiler gcc-mingw-w64-x86-64-posix
  libz-mingw-w64-dev libxxhash-dev libnifti-dev wine64 dpkg-dev unzip zip python3 python3-numpy
  python3-nibabel)
