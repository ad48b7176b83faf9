#!/usr/bin/env bash
# examples/itk, built against an installed prefix: its labels are vnet-run's, voxel for voxel, on a
# real head, on oblique phantoms of both kinds that it reads, and on NRRD files of either's making.
#
#   run_itk.sh SOURCE_DIR BUILD_DIR CC CXX PYTHON SCAN     SCAN: ch2 of Debian's mricron-data
#
# Exits with 77 (skipped) where ITK's development files or the scan are not installed.
set -euo pipefail
source_dir=$1 build=$2 cc=$3 cxx=$4 python=$5 scan=$6
phantom=$source_dir/tests/e2e/head_phantom.py
folder=$(mktemp -d --tmpdir vnet-itk-XXXXXX)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
[ -e "$scan" ] || exit 77
compgen -G '/usr/lib/cmake/ITK-*' >/dev/null || compgen -G '/usr/lib/*/cmake/ITK-*' >/dev/null ||
  [ -n "${ITK_DIR:-}" ] || exit 77

for component in runtime dev; do
  cmake --install "$build" --prefix "$folder/prefix" --component $component >install.log
done
cp -r "$source_dir/examples/itk" host
if ! { CC=$cc CXX=$cxx cmake -S host -B host/build -DCMAKE_PREFIX_PATH="$folder/prefix" \
  -DCMAKE_CXX_FLAGS='-Wall -Wextra -Werror' && cmake --build host/build; } >host.log 2>&1; then
  cat host.log
  exit 1
fi

"$build/tools/vnet-model" --member vnet-caffe --width 4 --classes 3 --patch 32x48x48 --seed 1 \
  --orientation RAS --spacing '2 2 2' --intensity zscore -o m.onnx
"$build/tools/vnetc" m.onnx -o m.plan
"$python" "$phantom" write int16.nii.gz int16
"$python" "$phantom" write float32.nii.gz float32
cp "$scan" head.nii.gz
for name in head int16 float32; do
  "$build/tools/vnet-run" m.plan $name.nii.gz -o $name.run.nii.gz >/dev/null
  host/build/segment_itk m.plan $name.nii.gz $name.itk.nii.gz >$name.out 2>$name.err
  "$python" "$phantom" compare $name.run.nii.gz $name.itk.nii.gz
  grep -q '^2 .* ml$' $name.out
done

# NRRD: what vnet-run writes ITK reads, and the other way round, to the same labels in the same place.
"$build/tools/vnet-run" m.plan int16.nii.gz -o ours.nrrd >/dev/null
host/build/segment_itk m.plan int16.nii.gz itks.nrrd >/dev/null 2>&1
for name in ours itks; do
  "$build/tools/vnet-run" m.plan $name.nrrd -o $name.run.nii.gz >/dev/null
  host/build/segment_itk m.plan $name.nrrd $name.itk.nii.gz >/dev/null 2>&1
  "$python" "$phantom" compare $name.run.nii.gz $name.itk.nii.gz
  "$python" -c "import nibabel, numpy, sys
a, b, c = (nibabel.load(name).affine for name in sys.argv[1:])
assert numpy.allclose(a, b, atol=1e-4) and numpy.allclose(a, c, atol=1e-4), (a, b, c)" \
    $name.run.nii.gz $name.itk.nii.gz int16.nii.gz
done

status=0
host/build/segment_itk m.onnx head.nii.gz none.nii.gz 2>error.txt || status=$?
[ $status -eq 4 ] && [ ! -e none.nii.gz ] || { echo "a model for a plan: $status" && exit 1; }
status=0
host/build/segment_itk m.plan none.nii.gz out.nii.gz 2>error.txt || status=$?
[ $status -eq 3 ] || { echo "no scan: $status" && cat error.txt && exit 1; }
