"""Filling around a head, absurd brightness and NaN change nothing but a note; noisy air around it changes nothing
but the windows that --all-windows takes; what is not plausible is warned of.

    run_statistics.py BIN_DIR FIXTURES MODEL SCAN

MODEL is models/brain.onnx, SCAN a head: Debian's mricron-data has one. Exits with 77 (skipped) when it
is not there.
"""
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np
from scipy import ndimage

bin_dir, fixtures, model, head_path = (pathlib.Path(p) for p in sys.argv[1:5])
if not head_path.exists():
    sys.exit(77)
scratch = tempfile.TemporaryDirectory(prefix="vnet-statistics-")
folder = pathlib.Path(scratch.name)
plan, vnet_run = folder / "brain.plan", bin_dir / "vnet-run"
head = np.asanyarray(nibabel.load(head_path).dataobj)[::2, ::2, ::2].astype(np.int16)
affine = np.diag([2.0, 2, 2, 1])
random = np.random.default_rng(7)


def call(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=1800)
    return done.returncode, done.stdout, done.stderr


def save(name, voxels, affine=affine):
    nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / name)
    return folder / name


def segmented(voxels, *options, want=0, affine=affine):
    """What is labelled, the report, and standard error without the progress bar."""
    scan, out = save("in.nii", voxels, affine), folder / "out.nii"
    status, text, err = call(vnet_run, plan, scan, "-o", out, "--json", *options)
    assert status == want, (status, err)
    found = np.asanyarray(nibabel.load(out).dataobj) > 0 if not want or "--strict" in options else None
    return found, json.loads(text) if text else None, err


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def circle(voxels, value):
    """A field of view as scanners have it: round."""
    x, y = np.ogrid[-1 : 1 : voxels.shape[0] * 1j, -1 : 1 : voxels.shape[1] * 1j]
    return np.where((x * x + y * y > 1)[..., None], np.array(value, voxels.dtype), voxels)


def turned(voxels, value):
    return ndimage.rotate(voxels.astype(np.float32), 10, (0, 1), order=1, reshape=False, cval=value)


def like_ct(voxels):
    """A head in the numbers of a CT: noisy air, and a scan's own low end of -1024."""
    ct = np.where(voxels < 10, -1000, 8 * voxels.astype(np.float32) - 200)
    return np.maximum(ct + random.normal(0, 12, voxels.shape), -1024).astype(np.int16)


def filling_changes_nothing():
    columns = lambda x: np.concatenate([np.full_like(x[:2], -3024), x[2:]])
    text = np.zeros(head.shape, bool)
    text[3:14, 4:16:3, : head.shape[2] - 8] = True  # bars beside the head
    assert 0.003 < text.mean() < 0.02
    cases = {
        "MR in a circle of -2000": (head, circle(head, -2000), "(-2000)"),
        "MR in a box of 32767": (head, np.pad(head, 8, constant_values=32767), "(32767)"),
        "MR in NaN": (head, circle(head.astype(np.float32), np.nan), "not finite"),
        "MR, soft rim of -3024": (turned(head, 0), turned(circle(head, -3024), -3024), "(-3024)"),
        "MR, text eleven times as bright": (head, np.where(text, 1100, head).astype(np.int16), "absurdly bright"),
        "MR, such text turned": (turned(head, 0), turned(np.where(text, 1100, head), 0), "absurdly bright"),
    }
    ct = like_ct(head)
    cases["CT in a circle of -32768"] = ct, circle(ct.astype(np.float32), -32768), "(-32768)"
    cases["CT, columns of -3024 and circle of -2000"] = ct, columns(circle(ct, -2000)), "filling"
    own = {}
    for name, (plain, padded, note) in cases.items():
        key = id(plain)
        if key not in own:
            own[key], report, err = segmented(plain)
            assert report["note"] is None and "note" not in err, (name, err)
        found, report, err = segmented(padded)
        assert note in report["note"] and f"note: {folder / 'in.nii'}: {report['note']}" in err, err
        inner = found[8:-8, 8:-8, 8:-8] if found.shape != own[key].shape else found
        have = dice(inner, own[key])
        print(f"  {name} {have:.4f}", flush=True)
        assert have >= 0.99, name
        stored = padded.astype(np.float32)
        away = ~np.isfinite(stored) | (stored < -1536) | (stored > 30000)
        assert not (found & away).any(), name
        assert np.count_nonzero(found) == np.count_nonzero(inner), name


def warned(voxels, *sentences, affine=affine):
    found, report, err = segmented(voxels, "-q", "--strict", want=5, affine=affine)
    for sentence in sentences:
        assert sentence in report["warning"], report["warning"]
    assert f"vnet-run: warning: {folder / 'in.nii'}: {report['warning']}" in err.strip(), err
    return found, report["warning"]


def deserved(found):
    """All that the model's vnet.expect has against these labels of a field full of noise, by numpy and scipy."""
    ml, share = found.sum() * 0.008, found.mean()
    pieces, _ = ndimage.label(found, np.ones((3, 3, 3)))
    pieces = np.count_nonzero(np.bincount(pieces.ravel())[1:] >= found.sum() / 100)
    area = sum(np.count_nonzero(np.diff(np.pad(found.astype(np.int8), 1), axis=a)) for a in range(3))
    surface = area / found.sum() ** (2 / 3)
    all_of_it = ((800 <= ml <= 2100, f"brain has {ml:.4g} ml, and 800 to 2100 are plausible"),
                 (0.03 <= share <= 0.6, f"brain is {share:.2g} of what the scan shows, and 0.03 to 0.6 are plausible"),
                 (pieces <= 2, f"brain is in {pieces} pieces, and 2 are plausible"),
                 (surface <= 8.8, f"brain is ragged: a surface of {surface:.3g} volumes^(2/3), and 8.8 are plausible"))
    return [sentence for plausible, sentence in all_of_it if not plausible]


def implausible_is_said():
    _, report, err = segmented(head, "--strict")
    assert report["warning"] is None and "warning" not in err
    warned(head[:, :, 40:45], "the scan shows 182 x 218 x 10 mm")
    warned(head[:, :, 45:46], "x 2 mm")
    large = 1.18 * affine  # each mm, so that the brain is 1.6 times as much
    warned(head, "ml, and 800 to 2100", affine=large)
    for seed in 1, 2:  # which warn of one thing and of three
        noise = np.random.default_rng(seed).normal(100, 20, (96, 112, 96)).astype(np.float32)
        found, warning = warned(noise, "brain is ragged: a surface of ")
        assert warning == "; ".join(deserved(found)), (deserved(found), warning)
    own, _, _ = segmented(head)
    warned(np.where(own, head, 0).astype(np.int16), "of what the scan shows")
    wide = np.zeros((180, 120, 240), np.int16)
    wide[60:151, 5:114, 100:191] = head
    warned(wide, "the scan shows 360 x 240 x 480 mm")


def air_costs_nothing():
    """A head in 256 mm: as many windows as it fills, and the labels of all of them, but for what windows blend."""
    wide = random.normal(0, 0.01 * head.max(), (128, 128, 128)).astype(np.float32)
    wide[9:100, 4:113, 20:111] += head
    found, report, _ = segmented(np.abs(wide))
    every, whole, _ = segmented(np.abs(wide), "--all-windows")
    assert whole["windows"] == 8 and report["windows"] == 1, (whole["windows"], report["windows"])
    assert dice(found, every) > 0.985, dice(found, every)
    alone, _, _ = segmented(head)
    assert dice(found[9:100, 4:113, 20:111], alone) > 0.985
    inside = np.zeros_like(found)
    inside[9:100, 4:113, 20:111] = True
    assert not (found & ~inside).any()


def empty_is_said_without_metadata():
    levels = folder / "levels.plan"
    assert call(bin_dir / "vnetc", fixtures / "scan" / "levels.onnx", "-o", levels, "--topology", "any")[0] == 0
    scan = save("empty.nii", random.uniform(0, 0.4, (9, 8, 7)).astype(np.float32))  # rounds to label 0
    for options, want in (("-q",), 0), (("--strict",), 5):
        status, text, err = call(vnet_run, levels, scan, "-o", folder / "out.nii", "--json", *options)
        assert status == want and json.loads(text)["warning"] == "nothing was found: every voxel is background", text
        assert f"vnet-run: warning: {scan}: nothing was found" in err, err


def many_have_a_column():
    scans, out = folder / "scans", folder / "many"
    scans.mkdir()
    for name, voxels in {"good": head, "slab": head[:, :, 40:45]}.items():
        nibabel.save(nibabel.Nifti1Image(voxels, affine), scans / f"{name}.nii")
    (scans / "torn.nii").write_bytes((scans / "good.nii").read_bytes()[:5000])
    words = vnet_run, plan, scans, "--output-dir", out
    status, text, err = call(*words)
    assert status == 4 and "3 scans, 1 failed, 1 with a warning" in text, text
    rows = {pathlib.Path(r["scan"]).stem: r for r in csv.DictReader(open(out / "summary.csv"))}
    assert {k: r["status"] for k, r in rows.items()} == {"good": "ok", "slab": "warning", "torn": "failed"}
    assert rows["good"]["message"] == "" and "x 10 mm" in rows["slab"]["message"] and "torn.nii" in rows["torn"]["message"]
    (scans / "torn.nii").unlink()
    before = (out / "slab.seg.nii.gz").stat().st_mtime_ns
    for options, want in ((), 0), (("--strict",), 5):
        status, text, _ = call(*words, "--resume", *options)
        assert status == want and "2 scans, 0 failed, 1 with a warning" in text, (status, text)
    assert (out / "slab.seg.nii.gz").stat().st_mtime_ns == before  # resumed: it was finished


assert call(bin_dir / "vnetc", model, "-o", plan)[0] == 0
for test in (filling_changes_nothing, air_costs_nothing, implausible_is_said, empty_is_said_without_metadata, many_have_a_column):
    test()
    print(test.__name__.replace("_", " "), flush=True)
