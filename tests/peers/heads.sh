#!/usr/bin/env bash
# Real heads (and a few averages) out of packages, as NIfTI files, for testing models/brain.onnx; none
# of them was seen in training. Beside two averages lies SPM's brain mask, beside t1_pycortex the
# subject's own surfaces; heads_score.py takes them.
#
#   tests/peers/heads.sh FOLDER [PYTHON]        PYTHON: one with numpy, scipy, nibabel; else one is made
#
# file                    package                                           licence
# ct_invesalius           Debian invesalius-examples 3.1.99998-4            GPL-2
# t1_brainbrowser1, 2     npm brainbrowser 2.3.0                            AGPL-3.0
# epi_brainbrowser        the same, first volume of a functional series
# t1_pycortex             PyPI pycortex 1.4.0 (source)                      BSD-2-Clause
# epi_pycortex            the same
# t1avg_pydeface          PyPI pydeface 2.1.0                               MIT
# t2avg_spm, pdavg_spm    PyPI spm-runtime 25.1.2.post4                     GPL-2.0
# t1_itk                  Debian insighttoolkit5-examples 5.2.1-5           Apache-2.0
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && out=$(cd "$1" && pwd)
python=${2:-}
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
chmod 777 "$scratch" && cd "$scratch"
if [ -z "$python" ]; then
  python3 -m venv v && v/bin/pip -q install numpy scipy nibabel
  python=$scratch/v/bin/python
fi
fetch() { "$python" -m pip -q --disable-pip-version-check download --no-deps -d w "$@"; }

apt-get -qq update
mkdir deb inv bb pc
for name in invesalius-examples insighttoolkit5-examples; do # unpacked, not installed
  apt-get -qq download "$name"
  dpkg -x "$name"_*.deb "deb/$name"
done
tar xzf deb/invesalius-examples/usr/share/doc/invesalius-examples/examples/Cranium.inv3 -C inv
npm pack --silent brainbrowser@2.3.0 >/dev/null
tar xzf brainbrowser-2.3.0.tgz -C bb --wildcards 'package/examples/models/*.mnc.*'
fetch pydeface==2.1.0 spm-runtime==25.1.2.post4
fetch --no-binary pycortex pycortex==1.4.0
"$python" -m zipfile -e w/pydeface-*.whl pd
"$python" -m zipfile -e w/spm_runtime-*.whl spm
"$python" -m zipfile -e spm/spm_runtime/_spm/_spm.ctf spmctf >/dev/null
tar xzf w/pycortex-1.4.0.tar.gz -C pc --wildcards '*.nii.gz' '*/surfaces/*.gii'
"$python" "$here/heads.py" "$out"
