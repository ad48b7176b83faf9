"""The same scan in every format through vnet-run: the same labels, in the scan's own format, and
what is said where a file does not say how its scan lies.

    run_format_labels.py BIN_DIR FIXTURES_DIR REAL_SCAN     skipped (77) without REAL_SCAN
"""
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np

bin_dir, fixtures, real = (pathlib.Path(a) for a in sys.argv[1:4])
if not real.exists():
    sys.exit(77)
scratch = tempfile.TemporaryDirectory(prefix="vnet-formats-")
folder = pathlib.Path(scratch.name)


def call(*words, name="vnet-run"):
    done = subprocess.run([str(w) for w in (bin_dir / name, *words)], capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


def run(*words):
    status, out, err = call(*words)
    assert status == 0, err
    return out, err


def refused(status, text, *words, name="vnet-run"):
    start = time.monotonic()
    got, _, err = call(*words, name=name)
    assert got == status and text in err and err.count("\n") == 1, (got, err)
    assert time.monotonic() - start < 5


def plan(name):
    path = folder / f"{name}.plan"
    if not path.exists():
        status, _, err = call(fixtures / "scan" / f"{name}.onnx", "-o", path, "--topology", "any", name="vnetc")
        assert status == 0, err
    return path


def nrrd_write(path, values, affine, encoding="gzip", data_file=None):
    lps = np.diag([-1, -1, 1]) @ affine[:3]
    vectors = ["(%s)" % ",".join("%.17g" % x for x in lps[:, j]) for j in range(4)]
    head = (f"NRRD0004\ntype: short\ndimension: 3\nspace: LPS\nsizes: {' '.join(map(str, values.shape))}\n"
            f"space directions: {' '.join(vectors[:3])}\nspace origin: {vectors[3]}\nendian: little\n"
            f"encoding: {encoding}\n")
    raw = values.astype("<i2").tobytes(order="F")
    raw = gzip.compress(raw) if encoding == "gzip" else raw
    if data_file:
        (path.parent / data_file).write_bytes(raw)
        path.write_text(head + f"data file: {data_file}\n")
    else:
        path.write_bytes(head.encode() + b"\n" + raw)


def teem(path, kind, shape):
    """Its voxels, and its header's lines."""
    done = subprocess.run(["teem-unu", "save", "-f", "nrrd", "-e", "raw", "-i", path], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[:400]
    head, data = done.stdout.split(b"\n\n", 1)
    return np.frombuffer(data, kind).reshape(shape, order="F"), head.decode().splitlines()


image = nibabel.load(real)
crop = np.s_[60:110, 50:110, 60:100]
turn = np.array([[0.9, -0.2, 0.1, 0], [0.2, 0.95, 0.05, 0], [-0.1, 0, 1.1, 0], [0, 0, 0, 1]])
affine = turn @ np.diag([-1, 1, 1, 1]) @ image.affine  # as a scanner would have it: oblique, from left to right
values = np.asanyarray(image.dataobj)[crop].astype(np.int16) * 3 - 150
SHAPE = values.shape
QUANTUM = 1.6e-5  # of 16-bit probabilities; affines of float32 and float64 are that far apart, too


def every_format_gives_the_same_labels():
    nibabel.save(nibabel.Nifti1Image(values, affine), folder / "a.nii.gz")
    nrrd_write(folder / "b.nrrd", values, affine)
    nrrd_write(folder / "c.nhdr", values, affine, "raw", "c.raw")
    nibabel.save(nibabel.MGHImage(values, affine), folder / "d.mgz")
    nibabel.save(nibabel.MGHImage(values, affine), folder / "e.mgh")
    for name in ("a.nii.gz", "b.nrrd", "c.nhdr", "d.mgz", "e.mgh"):
        run(plan("phantom"), folder / name, "--scores", folder / f"{name[0]}_p{name[1:].replace('.nhdr', '.nrrd')}")
    want = nibabel.load(folder / "a.seg.nii.gz")
    labels = np.asanyarray(want.dataobj)
    assert len(np.unique(labels)) >= 4 and labels.shape == SHAPE
    scores = nibabel.load(folder / "a_p.nii.gz").get_fdata()
    for name in "bc":
        found, head = teem(folder / f"{name}.seg.nrrd", "u1", SHAPE)
        assert np.array_equal(found, labels), name
        was = (folder / ("b.nrrd" if name == "b" else "c.nhdr")).read_bytes().split(b"\n")
        written = (folder / f"{name}.seg.nrrd").read_bytes().split(b"\n")
        for line in was[3:7]:  # space, sizes, directions, origin
            assert line in written, line
        found, head = teem(folder / f"{name}_p.nrrd", "<f4", SHAPE + (5,))
        np.testing.assert_allclose(found, scores, atol=QUANTUM)
        assert "kinds: domain domain domain list" in head
    assert b"Segment0_Name:=shell\n" in (folder / "b.seg.nrrd").read_bytes()
    assert b"Segment0_Color:=0.9020 0.7059 0.0000\n" in (folder / "b.seg.nrrd").read_bytes()
    for name, ending in (("d", ".mgz"), ("e", ".mgh")):
        found = nibabel.load(folder / f"{name}.seg.mgz")
        assert np.array_equal(np.asanyarray(found.dataobj), labels), name
        assert np.array_equal(found.affine, nibabel.load(folder / f"{name}{ending}").affine)
        np.testing.assert_allclose(nibabel.load(folder / f"{name}_p{ending}").get_fdata(), scores, atol=QUANTUM)
    # From one format to another.
    for name in ("x.nii.gz", "x.mgz"):
        run(plan("phantom"), folder / "b.nrrd", "-o", folder / name)
    found = nibabel.load(folder / "x.nii.gz")
    assert np.array_equal(np.asanyarray(found.dataobj), labels)
    np.testing.assert_allclose(found.affine, affine, atol=1e-4)
    np.testing.assert_allclose(nibabel.load(folder / "x.mgz").affine, affine, atol=1e-4)
    refused(2, "must end in .nii, .nii.gz, .nrrd, .mgz or .mgh", plan("phantom"), folder / "b.nrrd", "-o",
            folder / "x.nhdr")


def lists_take_every_format():
    small = folder / "many"
    small.mkdir()
    nrrd_write(small / "one.nrrd", values[::4, ::4, ::4], affine)
    nrrd_write(small / "two.nhdr", values[::4, ::4, ::4], affine, "raw", "two.raw")
    nibabel.save(nibabel.MGHImage(values[::4, ::4, ::4], affine), small / "three.mgz")
    nibabel.save(nibabel.Nifti1Image(values[::4, ::4, ::4], affine), small / "four.nii.gz")
    (small / "four.nii.gz").rename(small / "FOUR.NII.GZ")
    (small / "old.seg.nrrd").write_bytes(b"a result of yesterday")
    (small / "quiet.nrrd").write_bytes((folder / "b.seg.nrrd").read_bytes())
    _, err = run(plan("phantom"), small, "--output-dir", folder / "out")
    assert "label maps, by their headers: 1, such as" in err and "quiet.nrrd" in err, err
    names = {p.name for p in (folder / "out").iterdir()}
    assert {"one.seg.nrrd", "two.seg.nrrd", "three.seg.mgz", "FOUR.seg.nii.gz"} <= names, names
    assert sum(n.endswith(".json") for n in names) == 4, names


def what_a_file_does_not_say():
    """The model wants RAS. A contradictory file is not guessed at; its owner decides."""
    odd = nibabel.Nifti1Image(values, affine)
    odd.set_qform(affine, 1, strip_shears=True)
    odd.set_sform(np.diag([-1, 1, 1, 1]) @ affine, 1)
    nibabel.save(odd, folder / "odd.nii")
    wanting = plan("phantom")
    refused(5, "--geometry decides, with sform, qform or where its axes point", wanting, folder / "odd.nii")
    _, err = run(wanting, folder / "odd.nii", "--geometry", "qform")
    by_qform = nibabel.load(folder / "odd.seg.nii.gz")
    assert np.array_equal(by_qform.get_sform(), odd.get_sform())  # the file's own words
    assert np.allclose(by_qform.get_qform(), odd.get_qform(), atol=1e-4)
    lost = nibabel.Nifti1Image(values, None)
    lost.header.set_zooms(np.abs(odd.header.get_zooms()))
    nibabel.save(lost, folder / "lost.nii")
    refused(5, "neither sform nor qform", wanting, folder / "lost.nii")
    codes = "".join(nibabel.aff2axcodes(affine))
    report = json.loads(run(wanting, folder / "lost.nii", "--json", "--geometry", codes)[0])
    assert report["scan_note"] is None and report["labels"][1]["voxels"] > 1000
    refused(5, "x.mgz: an MGH file says how it lies, and the scan does not", plan("levels"), folder / "lost.nii", "-o",
            folder / "x.mgz")
    refused(2, "--geometry: expected sform, qform or where the axes point", wanting, folder / "lost.nii", "--geometry", "up")
    refused(2, "it is not a NIfTI file", wanting, folder / "b.nrrd", "--geometry", "qform")
    # Letters say where axes point; voxels stay as large as what is used of the file says, with what it does not say.
    small = nibabel.Nifti1Image(values[::4, ::4, ::4], np.diag([0.8, 0.8, 0.8, 1]))
    small.header["pixdim"][1:4] = 1
    nibabel.save(small, folder / "small.nii")
    for words in ((), ("--geometry", "RAS")):
        assert json.loads(run(wanting, folder / "small.nii", "--json", *words)[0])["spacing_mm"] == [0.8, 0.8, 0.8]
    lost.header["pixdim"][2] = 0
    nibabel.save(lost, folder / "lost.nii")
    assert "pixdim" in run(wanting, folder / "lost.nii", "--geometry", codes)[1]
    raw = bytearray((folder / "odd.nii").read_bytes())
    raw[280:328] = bytes(48)
    (folder / "zero.nii").write_bytes(raw)
    note = "its sform is not an invertible matrix: its qform is used"
    out, err = run(wanting, folder / "zero.nii", "--json")
    assert err == f"vnet-run: note: {folder}/zero.nii: {note}\n" and json.loads(out)["scan_note"] == note, err
    assert np.array_equal(np.asanyarray(nibabel.load(folder / "zero.seg.nii.gz").dataobj),
                          np.asanyarray(by_qform.dataobj))
    assert run(wanting, folder / "zero.nii", "-q")[1] == ""


def inputs_that_are_no_files():
    os.mkfifo(folder / "fifo.nii")
    fifo, levels = folder / "fifo.nii", plan("phantom")
    refused(3, "not a regular file", levels, fifo)
    refused(3, "not a regular file", levels, "--list", fifo, "--output-dir", folder / "none")
    refused(3, "not a regular file", levels, "--tensor", fifo, "-o", folder / "y.npy")
    refused(3, "not a regular file", "--data", fifo, "-o", folder / "m.onnx", name="vnet-train")
    # What the shell hands over is no such thing.
    listing = f'"$0" "$1" --list <(echo "$2") --output-dir "$3"'
    done = subprocess.run(["bash", "-c", listing, bin_dir / "vnet-run", levels, folder / "many" / "one.nrrd",
                           folder / "piped"], capture_output=True, text=True)
    assert done.returncode == 0 and (folder / "piped" / "one.seg.nrrd").exists(), done.stderr


def results_keep_away():
    """From voxels that a header has elsewhere, and from what is said where nobody listens."""
    voxels = (folder / "many" / "two.raw").read_bytes()
    refused(2, "two.raw: is an input, and will not be overwritten", plan("phantom"), folder / "many" / "two.nhdr",
            "--report", folder / "many" / "two.raw")
    assert (folder / "many" / "two.raw").read_bytes() == voxels
    words = [bin_dir / "vnet-run", plan("phantom"), folder / "many" / "one.nrrd", "-o", folder / "heard.nii"]
    for closed in ("", ">&- 2>&- <&-"):
        subprocess.run(["bash", "-c", f'"$@" {closed}', "-", *words], check=True, capture_output=True)
        heard = (folder / "heard.nii").read_bytes()
        assert len(heard) == 352 + values[::4, ::4, ::4].size and heard[344:347] == b"n+1", heard[:40]


for test in (every_format_gives_the_same_labels, lists_take_every_format, what_a_file_does_not_say,
             inputs_that_are_no_files, results_keep_away):
    start = time.monotonic()
    test()
    print(f"{test.__name__.replace('_', ' ')}: {time.monotonic() - start:.1f} s", flush=True)
