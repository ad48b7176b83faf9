"""The Python package against the programs: the same labels, whatever way the voxels come.

    run_python.py BIN_DIR LIBRARIES BRAIN.onnx SCAN [CHECK …]

LIBRARIES: the folders of the shared libraries, as in PATH; or a wheel, or "build" for a wheel to be
built, which is installed in a virtual environment and used from another folder. SCAN is Debian's
mricron-data's; exits with 77 (skipped) when it is not there. With names, runs these checks only, of
python_calls.py and python_labels.py.
"""
import os
import pathlib
import re
import subprocess
import sys
import time

from python_help import SOURCE, bin_dir, brain, call, folder, libraries, scan


def again_from_wheel(wheel):
    """Installs the wheel and runs this file with the Python that has it, far from the sources."""
    if wheel == "build":
        call(SOURCE / "runtime" / "python" / "build-wheel.sh", folder / "dist")
        wheel, = (folder / "dist").glob("*.whl")
    wheel = pathlib.Path(wheel).resolve()
    assert re.fullmatch(r"vnet-[0-9.]+-py3-none-linux_\w+\.whl", wheel.name), wheel.name
    call(sys.executable, "-m", "venv", "--system-site-packages", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    call(python, "-m", "pip", "install", "--no-index", "--no-deps", wheel)
    env = {k: v for k, v in os.environ.items()
           if k not in ("PYTHONPATH", "VNET_LIBRARY_DIR", "LD_LIBRARY_PATH")}
    words = [python, __file__, bin_dir, "installed", brain, scan, *sys.argv[5:]]
    return subprocess.run([str(w) for w in words], env=env, cwd=folder).returncode


if not scan.exists():
    sys.exit(77)
if libraries == "build" or libraries.endswith(".whl"):
    sys.exit(again_from_wheel(libraries))
if libraries != "installed":
    os.environ["VNET_LIBRARY_DIR"] = os.pathsep.join(
        str(pathlib.Path(p).resolve()) for p in libraries.split(os.pathsep))
    os.environ["PYTHONPATH"] = str(SOURCE / "runtime" / "python")
    sys.path.insert(0, os.environ["PYTHONPATH"])

import python_calls  # noqa: E402  (they import vnet)
import python_labels  # noqa: E402

checks = {check.__name__: check for module in (python_calls, python_labels) for check in module.CHECKS}
for name in sys.argv[5:] or checks:
    start = time.monotonic()
    checks[name]()
    print(f"{name.replace('_', ' ')}: {time.monotonic() - start:.1f} s", flush=True)
