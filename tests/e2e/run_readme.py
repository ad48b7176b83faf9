"""The commands of README.md, as they stand there and in their order.

    run_readme.py SOURCE_DIR BIN_DIR

A fenced block after <!-- run --> is run by bash in a folder with the files that the text supposes; one after
<!-- prints --> is what the block before it prints, but for numbers. Training is cut short. Exits with 77 (skipped)
without mricron-data or MPI.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

source, bin_dir = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
head = pathlib.Path("/usr/share/mricron/templates/ch2.nii.gz")
if not head.exists() or not shutil.which("mpirun"):
    sys.exit(77)
scratch = tempfile.TemporaryDirectory(prefix="vnet-readme-")
folder = pathlib.Path(scratch.name)


def prepare():
    """A head of 2 mm, so that it takes no time; two scans with labels 1 and 2."""
    image = nibabel.load(head)
    small = nibabel.Nifti1Image(np.asarray(image.dataobj)[::2, ::2, ::2], image.affine @ np.diag([2, 2, 2, 1]))
    for name in ("t1", "scans/patient1", "scans/patient2", "patients/patient1/T1", "patients/patient2/T1"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        nibabel.save(small, folder / f"{name}.nii.gz")
    random = np.random.default_rng(1)
    x, y, z = np.ogrid[-16:16, -16:16, -16:16]
    r = x * x + y * y + z * z
    label = (r < 140).astype(np.uint8) + (r < 30)
    nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), folder / "label.nii.gz")
    nibabel.save(nibabel.Nifti1Image(random.normal(40 * label, 5).astype(np.float32), np.eye(4)), folder / "ct.nii.gz")
    (folder / "cases.csv").write_text("image,label,split\nct.nii.gz,label.nii.gz,train\n"
                                      "ct.nii.gz,label.nii.gz,validation\n")
    (folder / "models").symlink_to(source / "models")
    (folder / "bin").mkdir()
    for path in bin_dir.iterdir():
        if path.is_file() and os.access(path, os.X_OK) and path.name != "vnet-train":
            (folder / "bin" / path.name).symlink_to(path)
    short = folder / "bin" / "vnet-train"
    short.write_text(f'#!/bin/sh\nexec {bin_dir}/vnet-train "$@" -q --steps 2 --patch 16x16x16\n')
    short.chmod(0o755)


def blocks():
    found = re.findall(r"^<!-- (run|prints) -->\n```\n(.*?)^```$", (source / "README.md").read_text(), re.S | re.M)
    assert len(found) == (source / "README.md").read_text().count("\n<!-- "), "a mark without its block"
    return found


def shape(text):
    """What is printed, without its numbers."""
    return re.sub(r"\d+(\.\d+)?", "#", text).split()


def main():
    prepare()
    env = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "OMPI_ALLOW_RUN_AS_ROOT": "1",
           "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
           "OMPI_MCA_btl_base_warn_component_unused": "0", "XDG_CACHE_HOME": str(folder / "cache"),
           "ASAN_OPTIONS": "detect_leaks=0"}  # OpenMPI's own
    printed, ran = "", 0
    for kind, text in blocks():
        if kind == "prints":
            assert shape(printed) == shape(text), f"printed:\n{printed}\nREADME.md says:\n{text}"
            continue
        done = subprocess.run(["bash", "-e", "-c", text], cwd=folder, env=env, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, f"{text}\nstatus {done.returncode}: {done.stderr}"
        assert done.stderr == "" or "mpirun" in text, f"{text}\nsays {done.stderr}"
        printed, ran = done.stdout, ran + 1
    assert ran >= 7
    for name in ("t1.png", "t1.seg.nii.gz", "t1.seg.label.txt", "t1.seg.ctbl", "brain.nii.gz", "p.nii.gz", "t1.json",
                 "t1.csv", "brain.plan", "labels/summary.csv", "labels2/patient1/T1.seg.nii.gz", "liver.onnx", "liver-curves.png", "better.onnx", "liver8.onnx"):
        assert (folder / name).exists(), f"{name} is not there"
    done = subprocess.run(["vnet-run", "better.onnx", "ct.nii.gz"], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "label 2, tumour" in done.stdout, (done.stdout, done.stderr)
    print(f"{ran} blocks of README.md run as they stand")


main()
