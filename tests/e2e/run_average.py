"""Averages of several models: vnet-run a.plan,b.plan against numpy's mean of what each of them gives; and what
probabilities add up to, of one model and of several.

    run_average.py BIN_DIR FIXTURES_DIR

Models are untrained members of the family, whose answers differ, and those of tests/fixtures/scan, whose
bytes are changed here and there. Scans are written and results read by nibabel.
"""
import csv
import io
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import nibabel
import numpy as np
import scipy.ndimage

from metadata import said

bin_dir, fixtures = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) / "scan"
scratch = tempfile.TemporaryDirectory(prefix="vnet-average-")
folder = pathlib.Path(scratch.name)
random = np.random.default_rng(3)
TURNED = np.array([[0, -1.2, 0, 30], [0, 0, 1.6, -4], [-1.0, 0, 0, 36], [0, 0, 0, 1]])
SHAPE = (27, 31, 22)


def call(*words, **more):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=300, **more)
    return done.returncode, done.stdout, done.stderr


def run(models, *words, **more):
    status, out, err = call(bin_dir / "vnet-run", ",".join(map(str, models)), *words, **more)
    assert status == 0, err
    return out


def refused(status, text, models, *words):
    before = set(folder.rglob("*"))
    got, out, err = call(bin_dir / "vnet-run", ",".join(map(str, models)), *words)
    assert got == status and text in err, (got, err)
    assert err.startswith("vnet-run: ") and err.count("\n") == 1 and out == "", (out, err)
    assert set(folder.rglob("*")) == before, "a file is left"


def compiled(name, *options):
    status, _, err = call(bin_dir / "vnetc", folder / f"{name}.onnx", "-o", folder / f"{name}.plan", "-q", *options)
    assert status == 0, err
    return folder / f"{name}.plan"


def member(name, *words):
    """An untrained network of three labels."""
    status, _, err = call(bin_dir / "vnet-model", "--width", "4", "--stages", "2", "--classes", "3", *words,
                          "-o", folder / f"{name}.onnx")
    assert status == 0, err
    return compiled(name)


def changed(source, name, changes=(), **metadata):
    """A fixture with other bytes of the same number, and with more metadata."""
    data = (fixtures / f"{source}.onnx").read_bytes()
    for old, new in changes:
        assert data.count(old) == 1 and len(old) == len(new), (old, new)
        data = data.replace(old, new)
    for key, value in metadata.items():
        data += said(key, value)
    (folder / f"{name}.onnx").write_bytes(data)
    return compiled(name, "--topology", "any")


def save(path, values, affine=TURNED):
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, folder / path)
    return folder / path


def read(path):
    return np.asanyarray(nibabel.load(path).dataobj)


def scores_of(models, *words):
    """And labels, which are the same where nobody asks for scores."""
    run(models, *words, "-o", folder / "s.nii", "--scores", folder / "s_p.nii", "--scores-type", "float32", "-q")
    run(models, *words, "-o", folder / "alone.nii", "-q")
    assert (read(folder / "alone.nii") == read(folder / "s.nii")).all()
    return read(folder / "s_p.nii"), read(folder / "s.nii")


def sure(scores):
    order = np.sort(scores, -1)
    return order[..., -1] - order[..., -2] > 1e-6


def blobs(shape=SHAPE):
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return (60 * np.exp(-3 * sum((g - 0.2) ** 2 for g in grid)) + 40 * (np.sin(5 * grid[0] + 3 * grid[1]) > 0.3) +
            random.uniform(0, 20, shape)).astype(np.float32)


FOLDS = [member("fold0", "--patch", "16x16x16", "--orientation", "RAS", "--intensity", "zscore", "--tail", "softmax"),
         member("fold1", "--patch", "12x20x24", "--seed", "7", "--orientation", "LIP", "--spacing", "1.5 1 2",
                "--intensity", "percentile 1 99", "--member", "monai"),
         member("fold2", "--patch", "20x16x12", "--seed", "9", "--intensity", "window 0 100", "--tail", "logsoftmax")]
SCAN = save("t1.nii.gz", blobs())


# ---- labels that exclude each other ----


def mean_is_numpys():
    """Each model in its own orientation, grid, window and rule; and with what a run may ask for."""
    for words in ((), ("--overlap", "0.25", "--weighting", "constant"), ("--mirror", "dw")):
        each = [scores_of([f], SCAN, *words) for f in FOLDS]
        for some in ((0, 1), (2, 1), (0, 1, 2)):
            mean = np.mean([each[i][0].astype(np.float64) for i in some], 0)
            have, labels = scores_of([FOLDS[i] for i in some], SCAN, *words)
            assert np.abs(have - mean).max() < 1e-6, np.abs(have - mean).max()
            assert sure(mean).mean() > 0.99 and np.array_equal(labels[sure(mean)], mean.argmax(-1)[sure(mean)])
            for i in some:  # or a single model would pass
                assert np.mean(each[i][1] != labels) > 0.01, "an average is one of its models"
    # One model with itself is that model.
    have, labels = scores_of([FOLDS[0], FOLDS[0]], SCAN)
    alone, want = scores_of([FOLDS[0]], SCAN)
    assert np.abs(have - alone).max() < 1e-6 and np.array_equal(labels[sure(alone)], want[sure(alone)])


def threads_change_nothing():
    results = set()
    for threads in (1, 2, 3, 3):
        run(FOLDS, SCAN, "-o", folder / "t.nii.gz", "--scores", folder / "t_p.nii.gz", "--threads", threads, "-q")
        results.add((folder / "t.nii.gz").read_bytes() + (folder / "t_p.nii.gz").read_bytes())
    assert len(results) == 1


def filling_is_background():
    values = blobs() - 30
    values[:, :4] = -3024
    scan = save("ct.nii", values)
    each = [scores_of([f], scan) for f in FOLDS[:2]]
    mean = np.mean([scores.astype(np.float64) for scores, _ in each], 0)
    have, labels = scores_of(FOLDS[:2], scan)
    assert np.abs(have - mean).max() < 1e-6 and not labels[:, :4].any() and labels[:, 4:].any()


def clean_up_is_of_the_mean():
    _, labels = scores_of(FOLDS, SCAN)
    _, cleaned = scores_of(FOLDS, SCAN, "--largest-component")
    want = np.zeros_like(labels)
    for label in (1, 2):
        pieces, _ = scipy.ndimage.label(labels == label, np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        assert len(sizes) > 1 and np.sum(sizes == sizes.max()) == 1
        want[pieces == 1 + sizes.argmax()] = label
    assert np.array_equal(cleaned, want)


def reports_name_all_models():
    report = json.loads(run(FOLDS, SCAN, "-o", folder / "r.nii", "--csv", folder / "r.csv", "--report",
                            folder / "r.json", "--json", "-q"))
    assert json.loads((folder / "r.json").read_text())["windows"] == report["windows"]
    single = [json.loads(run([f], SCAN, "-o", folder / "r1.nii", "--json", "-q")) for f in FOLDS]
    assert report["plan"] == str(FOLDS[0]) and report["plan_checksum"] == single[0]["plan_checksum"]
    assert [m["plan"] for m in report["averaged_with"]] == [str(f) for f in FOLDS[1:]]
    assert [m["plan_checksum"] for m in report["averaged_with"]] == [s["plan_checksum"] for s in single[1:]]
    assert report["windows"] == sum(s["windows"] for s in single)
    assert report["network_bytes"] == sum(s["network_bytes"] for s in single)
    assert "averaged_with" not in single[0]
    checksums = "+".join(s["plan_checksum"] for s in single)
    rows = (folder / "r.csv").read_text().splitlines()
    assert len(rows) == 4 and all(row.split(",")[-3] == checksums for row in rows[1:]), rows
    for words in (["--csv"], ["--csv", "-q"]):  # with a name it is a file, without one it is printed
        assert run(FOLDS, SCAN, "-o", folder / "r1.nii", *words).splitlines() == rows, words
    labels = read(folder / "r.nii")
    assert [label["voxels"] for label in report["labels"]] == np.bincount(labels.ravel(), minlength=3).tolist()
    note = bytes(nibabel.load(folder / "r.nii").header["descrip"].item()).decode()
    assert note.endswith(f"plan {single[0]['plan_checksum']} and 2 more"), note
    # Of memory, all networks and four bytes of each voxel and label; the limit is for all of it.
    voxels = np.prod(SHAPE)
    most = max(s["memory_bytes"] - s["network_bytes"] for s in single)
    assert report["memory_bytes"] == report["network_bytes"] + most + 12 * voxels, report["memory_bytes"]
    below = report["memory_bytes"] - 1
    refused(6, "the limit is", FOLDS, SCAN, "-o", folder / "no.nii", "--memory-limit", below)
    run(FOLDS, SCAN, "-o", folder / "r1.nii", "--memory-limit", below + 1, "-q")


def many_scans():
    scans = folder / "scans"
    scans.mkdir()
    want = {}
    for i in range(3):
        save(f"scans/p{i}.nii.gz", blobs((20, 18, 16 + i)))
        want[i] = scores_of(FOLDS, scans / f"p{i}.nii.gz")[1]
    (folder / "list.txt").write_text("".join(f"{scans}/p{i}.nii.gz\n" for i in range(3)))
    for out, words in (("m1", [scans]), ("m2", ["--list", folder / "list.txt"])):
        text = run(FOLDS, *words, "--output-dir", folder / out)
        assert "3 scans, 0 failed" in text, text
        for i in range(3):
            assert np.array_equal(read(folder / out / f"p{i}.seg.nii.gz"), want[i])
    # --resume takes results of the same models, in their order, alone.
    kept = folder / "m1" / "p0.seg.nii.gz"
    times = [kept.stat().st_mtime_ns]
    for models in (FOLDS, FOLDS[:2], FOLDS[:2], FOLDS[:2][::-1]):
        run(models, scans, "--output-dir", folder / "m1", "--resume", "-q")
        times.append(kept.stat().st_mtime_ns)
    assert [b > a for a, b in zip(times, times[1:])] == [False, True, False, True], times


# ---- regions ----

LISTED = b'{"value":2,"name":"whole"},{"value":1,"name":"core"}'
BIAS = struct.pack("<3f", -8, -4, -12)


def regions_are_averaged():
    first = changed("regions", "regions")
    other = changed("regions", "wider", [(BIAS, struct.pack("<3f", -5, -7, -9))], spacing_mm="1.3 1.3 1.3",
                    orientation="RAS")
    scan = save("regions.nii", random.uniform(0, 4, (20, 18, 13)).astype(np.float32))
    each = [scores_of([m], scan)[0].astype(np.float64) for m in (first, other)]
    mean = (each[0] + each[1])[..., 1:] / 2
    have, labels = scores_of([first, other], scan, "--regions", folder / "each.nii")
    assert np.abs(have[..., 1:] - mean).max() < 1e-6
    assert np.abs(have[..., 0] - (1 - mean.max(-1))).max() < 1e-6
    clear = (np.abs(mean - 0.5) > 1e-6).all(-1)
    core, whole, enhancing = (mean[..., i] >= 0.5 for i in range(3))
    assert np.array_equal(read(folder / "each.nii")[clear], (mean >= 0.5)[clear])
    assert np.array_equal(labels[clear], np.select([enhancing, core, whole], [3, 1, 2], 0)[clear])
    turned = changed("regions", "turned", [(LISTED, b'{"value":1,"name":"core"},{"value":2,"name":"whole"}')])
    strict = changed("regions", "strict", end="threshold 0.5 0.5 0.75")
    out = ("-o", folder / "no.nii")
    refused(2, "turned.plan: lists its regions in another order", [first, turned], scan, *out)
    refused(2, "strict.plan: has a threshold of 0.75 for region 3, and the first model 0.5", [first, strict], scan, *out)
    refused(2, "levels.plan: tells labels that exclude each other, and the first model regions",
            [first, changed("levels", "levels")], scan, *out)
    # What is no probability is not averaged.
    loose = changed("levels", "loose", end="threshold 0.5")
    refused(5, "the network's regions leave [0, 1]", [loose, loose], scan, *out)


# ---- soft volumes ----


def soft_volumes(models, scan, *words):
    """Of labels, and of regions, whose rows come behind them."""
    rows = list(csv.DictReader(io.StringIO(run(models, scan, *words, "-o", folder / "v.nii", "--csv", "-q"))))
    report = json.loads(run(models, scan, *words, "-o", folder / "v.nii", "--json", "-q"))
    want = [each["soft_ml"] for each in report["labels"] + report.get("regions", [])]
    have = [float(row["soft_ml"]) if row["soft_ml"] else None for row in rows]
    assert have == want, (have, want)
    return np.array(have, float)  # None is NaN


def soft_volumes_are_sums():
    """Of the probabilities that are written: exactly where the network ends in them, and nearly where they
    are made of scores that were interpolated. The voxels of SCAN are 1.92 cubic millimetres."""
    fine = member("fine", "--patch", "12x20x24", "--seed", "5", "--orientation", "LIP", "--spacing", "0.9 1.1 2.3",
                  "--intensity", "zscore", "--tail", "softmax")
    wide = member("wide", "--patch", "32x24x40", "--seed", "6", "--spacing", "1.3 1.3 1.3", "--orientation", "RAS",
                  "--intensity", "zscore", "--tail", "softmax")  # its window is larger than the scan's grid
    for model, near in ((FOLDS[0], 1e-6), (fine, 1e-6), (wide, 1e-6), (FOLDS[2], 1e-6), (FOLDS[1], 1e-2)):
        for words in ((), ("--mirror", "dw"), ("--overlap", "0")):
            want = scores_of([model], SCAN, *words)[0].sum((0, 1, 2), dtype=float) * 1.92e-3
            have = soft_volumes([model], SCAN, *words)
            assert np.allclose(have, want, near, 1e-6) and (have > 0.1).all(), (model, words, have, want)
            assert abs(have.sum() - np.prod(SHAPE) * 1.92e-3) < 1e-5, have
    counted = [label["ml"] for label in json.loads(run(FOLDS[:1], SCAN, "-o", folder / "v.nii", "--json", "-q"))["labels"]]
    assert not np.allclose(soft_volumes(FOLDS[:1], SCAN), counted, 1e-2), "soft volumes are those of the labels"
    mean = np.mean([soft_volumes([f], SCAN) for f in FOLDS], 0)
    for words in ((), ("--threads", "1"), ("--threads", "3"), ("--largest-component",)):
        assert np.allclose(soft_volumes(FOLDS, SCAN, *words), mean, 0, 2e-6), words


def soft_volumes_of_regions():
    regions = changed("regions", "soft")
    scan = save("regions.nii", random.uniform(0, 4, (20, 18, 13)).astype(np.float32))
    want = scores_of([regions], scan)[0].sum((0, 1, 2), dtype=float) * 1.92e-3
    assert np.allclose(soft_volumes([regions], scan), [*want, *want[1:]], 1e-6)
    other = changed("regions", "soft_wide", [(BIAS, struct.pack("<3f", -5, -7, -9))], spacing_mm="1.3 1.3 1.3",
                    orientation="RAS")
    for models in ([other], [regions, other]):
        want = scores_of(models, scan)[0].sum((0, 1, 2), dtype=float)[1:] * 1.92e-3
        have = soft_volumes(models, scan)
        assert np.allclose(have[1:], [*want, *want], 1e-6) and 0 < have[0] < 20 * 18 * 13 * 1.92e-3, (have, want)
    loose = changed("levels", "soft_loose", end="threshold 0.5")
    assert np.isnan(soft_volumes([loose], scan)).all()  # they are no probabilities, and labels all the same


# ---- what the model scored before ----


def sides_are_shared():
    """Left and right of a model that does not tell them apart by vnet.labels are those of the one that does, whichever
    comes first; and two that contradict each other are refused."""
    words = ("--patch", "16x16x16", "--orientation", "RAS", "--intensity", "zscore", "--tail", "softmax")
    sides = '[{"value":1,"name":"left","mirror":2},{"value":2,"name":"right","mirror":1}]'
    plain, sided, other = (member(name, *words, "--seed", seed, *(["--labels", sides] if name != "plain" else []))
                           for name, seed in (("plain", 11), ("sided", 11), ("other", 12)))
    want = scores_of([other, sided], SCAN, "--mirror", "w")[0]
    for models in ([other, plain], [plain, other]):
        assert np.abs(scores_of(models, SCAN, "--mirror", "w")[0] - want).max() < 1e-6, models
    alone, mixed = (scores_of([model], SCAN, "--mirror", "w")[0] for model in (sided, plain))
    assert np.abs(alone - mixed).max() > 0.01, "sides make no difference"
    two = [member(name, *words, "--classes", "4", "--labels", labels) for name, labels in
             (("one_two", sides), ("one_three", sides.replace('"value":2', '"value":3').replace('"mirror":2', '"mirror":3')))]
    refused(2, "one_three.plan: has label 3 as the mirror of 1, and the first model label 2", two, SCAN, "-o",
            folder / "no.nii")


def validation_is_told():
    """Of labels and of regions, as the metadata has it; what they do not say is empty, and an average has none."""
    scored = FOLDS[0].with_name("scored.onnx")
    scored.write_bytes(FOLDS[0].with_suffix(".onnx").read_bytes() + said("validation_dice", "2 0.25"))
    scored = compiled("scored")
    regions = changed("regions", "scored_regions", validation_dice=" 3 1  1 0.5 ")
    mixed = save("mixed.nii", random.uniform(0, 4, (20, 18, 13)).astype(np.float32))
    for models, scan, want in (([scored], SCAN, [None, None, 0.25]), ([scored, FOLDS[1]], SCAN, [None] * 3),
                               ([regions], mixed, [None, 0.5, None, 1, 0.5, None, 1])):
        report = json.loads(run(models, scan, "-o", folder / "v.nii", "--csv", folder / "v.csv", "--json", "-q"))
        assert [each["validation_dice"] for each in report["labels"] + report.get("regions", [])] == want, report
        told = [row["validation_dice"] for row in csv.DictReader(open(folder / "v.csv"))]
        assert [float(dice) if dice else None for dice in told] == want, told


# ---- what does not go together ----


def misfits_are_refused():
    out = ("-o", folder / "no.nii")
    first = FOLDS[0]
    refused(2, "four.plan: tells 4 labels with the background, and the first model 3",
            [first, member("four", "--classes", "4")], SCAN, *out)
    refused(2, "two.plan: takes 2 channels, and the first model 1",
            [first, member("two", "--in-channels", "2")], SCAN, *out)
    one, two = (member(f"named{i}", "--labels", f'[{{"value":1,"name":"{name}"}}]') for i, name in
                enumerate(("liver", "spleen")))
    refused(2, "named1.plan: has 'spleen' as label 1, and the first model 'liver'", [one, two], SCAN, *out)
    run([one, first], SCAN, "-o", folder / "named.nii", "-q")  # a model that names nothing contradicts nothing
    four = changed("channels4", "channels4")
    other = changed("channels4", "order4", [(b"T1; T1ce; T2; FLAIR", b"T2; T1ce; T1; FLAIR")])
    channels = [save(f"c_{name}.nii", blobs()) for name in ("T1", "T1ce", "T2", "FLAIR")]
    refused(2, "order4.plan: has T2 as channel 1, and the first model T1", [four, other], *channels, *out)
    refused(5, "levels_argmax.plan: the network ends in ArgMax", [first, changed("levels_argmax", "levels_argmax")],
            SCAN, *out)
    refused(2, "a model's name is missing beside a comma", [first, "", first], SCAN, *out)
    refused(2, "a model's name is missing beside a comma", [first, ""], SCAN, *out)
    refused(3, "absent.plan: there is no such file", [first, "absent.plan"], SCAN, *out)
    refused(2, "is a scan; the plan comes before it", [first, SCAN], SCAN, *out)
    refused(2, "more than 16 models", [first] * 17, SCAN, *out)
    refused(2, "fold1.plan", [first, FOLDS[1]], SCAN, "-o",
            folder / "x.nii", "--report", FOLDS[1])
    np.save(folder / "t.npy", np.zeros((1, 1, 16, 16, 16), np.float32))
    refused(2, "--tensor runs one network, and these are 2", [first, first], "--tensor", folder / "t.npy", "-o",
            folder / "no.npy")
    # Of one model's grid, which one it is.
    coarse = member("coarse", "--spacing", "50 50 50", "--orientation", "RAS")
    refused(5, "model 2: ", [first, coarse], SCAN, *out)


def channels_are_averaged():
    four = changed("channels4", "channels4")
    window = changed("channels4", "window4", [(b"window 0 80", b"window 0 60")], spacing_mm="1.1 1.1 1.1")
    values = [(top * random.uniform(0, 1, SHAPE)).astype(np.float32) for top in (10, 20, 40, 80)]
    channels = [save(f"c_{name}.nii", v) for name, v in zip(("T1", "T1ce", "T2", "FLAIR"), values)]
    mean = sum(scores_of([m], *channels)[0].astype(np.float64) for m in (four, window)) / 2
    have, labels = scores_of([four, window], *channels)
    assert np.abs(have - mean).max() < 1e-6
    assert np.array_equal(labels[sure(mean)], mean.argmax(-1)[sure(mean)])


def names_and_models_of_onnx():
    """Names of installed models, ONNX files, and a file with a comma in its name, which is one model."""
    models = folder / "models"
    models.mkdir()
    (models / "liver.plan").write_bytes(FOLDS[0].read_bytes())
    (models / "both.onnx").write_bytes((folder / "fold1.onnx").read_bytes())
    want = scores_of(FOLDS[:2], SCAN)[1]
    run(["liver", "both"], SCAN, "-o", folder / "n.nii", "-q", env={**os.environ, "VNET_MODELS": str(models)})
    assert np.array_equal(read(folder / "n.nii"), want)
    comma = folder / "a,b.plan"
    comma.write_bytes(FOLDS[0].read_bytes())
    assert np.array_equal(scores_of([comma], SCAN)[1], scores_of(FOLDS[:1], SCAN)[1])


for test in (mean_is_numpys, threads_change_nothing, filling_is_background, clean_up_is_of_the_mean,
             reports_name_all_models, many_scans, regions_are_averaged, soft_volumes_are_sums,
             soft_volumes_of_regions, validation_is_told, sides_are_shared, misfits_are_refused, channels_are_averaged,
             names_and_models_of_onnx):
    test()
    print(test.__name__.replace("_", " "), flush=True)
