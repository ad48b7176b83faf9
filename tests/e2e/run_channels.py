"""Scans of several channels, and regions that overlap, with models whose answer is known.

    run_channels.py BIN_DIR FIXTURES_DIR

The models are written by tests/peers/scan_models.py; scans are written and results read by nibabel.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

bin_dir, fixtures = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
scratch = tempfile.TemporaryDirectory(prefix="vnet-channels-")
folder = pathlib.Path(scratch.name)
random = np.random.default_rng(5)
AFFINE = np.diag([1, 1.5, 2, 1.0])
NAMES, TOPS = ("T1", "T1ce", "T2", "FLAIR"), (10, 20, 40, 80)


def call(*words, **more):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=300, **more)
    return done.returncode, done.stdout, done.stderr


def run(*words, **more):
    status, out, err = call(bin_dir / "vnet-run", *words, **more)
    assert status == 0, err
    return out


def refused(status, text, *words, **more):
    """vnet-run, which must fail with this status and one line that holds `text`."""
    before = set(folder.rglob("*"))
    got, out, err = call(bin_dir / "vnet-run", *words, **more)
    assert got == status and text in err, (got, err)
    assert err.startswith("vnet-run: ") and err.count("\n") == 1 and out == "", (out, err)
    assert set(folder.rglob("*")) == before, "a file is left"


def plan(name):
    path = folder / f"{name}.plan"
    if not path.exists():
        done = call(bin_dir / "vnetc", fixtures / "scan" / f"{name}.onnx", "-o", path, "--topology", "any")
        assert done[0] == 0, done[2]
    return path


def save(path, values, affine=AFFINE, kind=nibabel.Nifti1Image):
    image = kind(values, affine)
    if kind is not nibabel.MGHImage:
        image.header.set_xyzt_units("mm")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, folder / path)
    return folder / path


def labels_of(path):
    return np.asanyarray(nibabel.load(path).dataobj)


def four(shape=(21, 15, 11)):
    """Four channels, and which of them is highest by far on the model's scales."""
    best = random.integers(0, 4, shape)
    values = [(top * np.where(best == c, 0.9, random.uniform(0.05, 0.6, shape))).astype(np.float32)
              for c, top in enumerate(TOPS)]
    return values, best


def case_save(prefix, values, ending=".nii.gz", names=NAMES):
    return [save(f"{prefix}{name}{ending}", v) for name, v in zip(names, values)]


# ---- one case ----


def files_are_channels():
    values, best = four()
    paths = case_save("a_", values)
    out = folder / "labels.nii.gz"
    report = json.loads(run(plan("channels4"), *paths, "-o", out, "-q", "--json"))
    assert np.array_equal(labels_of(out), best)
    assert [c["name"] for c in report["channels"]] == list(NAMES)
    assert [c["intensity"] for c in report["channels"]] == [f"window 0 {top}" for top in TOPS]
    assert [c["scan"] for c in report["channels"]] == [str(p) for p in paths]
    assert nibabel.load(out).header["descrip"]
    means = [label["mean"] for label in report["labels"]]  # of the first channel's values
    assert np.allclose(means, [values[0][best == c].mean() for c in range(4)], atol=1e-4)
    # In any order, by name; results beside the first file, and called after the case.
    words = [f"{name.lower()}={path}" for name, path in zip(NAMES, paths)]
    run(plan("channels4"), *words[::-1], "-o", out)
    assert np.array_equal(labels_of(out), best)
    run(plan("channels4"), *paths)
    assert np.array_equal(labels_of(folder / "a_T1.seg.nii.gz"), best)
    # In one file: the last axis, NIfTI's fifth axis, NRRD's first, MGH's frames.
    stack = np.stack(values, 3)
    for name, array, kind in (("s.nii.gz", stack, nibabel.Nifti1Image),
                              ("v.nii", stack[:, :, :, None], nibabel.Nifti2Image),
                              ("f.mgz", stack, nibabel.MGHImage)):
        run(plan("channels4"), save(name, array, kind=kind), "-o", out)
        assert np.array_equal(labels_of(out), best) and labels_of(out).ndim == 3, name
    for name, sizes, kinds, raw in (("c.nrrd", "4 21 15 11", "vector domain domain domain", stack.transpose(2, 1, 0, 3)),
                                    ("m.nrrd", "21 15 4 11", "domain domain list domain", stack.transpose(2, 3, 1, 0)),
                                    ("l.nrrd", "21 15 11 4", "domain domain domain list", stack.transpose(3, 2, 1, 0))):
        directions = {"vector": "none", "list": "none"}
        axes = iter(("(1,0,0)", "(0,1.5,0)", "(0,0,2)"))
        lines = [directions.get(kind) or next(axes) for kind in kinds.split()]
        head = (f"NRRD0004\ntype: float\ndimension: 4\nspace: right-anterior-superior\nsizes: {sizes}\n"
                f"space directions: {' '.join(lines)}\nkinds: {kinds}\nendian: little\nencoding: raw\n"
                "space origin: (0,0,0)\n\n")
        (folder / name).write_bytes(head.encode() + np.ascontiguousarray(raw, "<f4").tobytes())
        run(plan("channels4"), folder / name, "-o", out)
        assert np.array_equal(labels_of(out), best), name
    # Two files of two volumes are four channels, too.
    halves = [save(f"half{i}.nii", stack[..., 2 * i:2 * i + 2]) for i in range(2)]
    (folder / "halves.txt").write_text("\t".join(map(str, halves)) + "\n")
    run(plan("channels4"), "--list", folder / "halves.txt", "--output-dir", folder / "halves")
    assert np.array_equal(labels_of(folder / "halves" / "half0.seg.nii.gz"), best)


def inputs_are_channels():
    """A network of two inputs of one channel; its inputs' names are the channels'."""
    shape = (20, 15, 9)
    best = random.integers(0, 2, shape)
    pet = np.where(best == 0, 9, 3).astype(np.float32)
    ct = np.full(shape, 20, np.int16)
    paths = [save("pet.nii", pet), save("ct.nii", ct)]
    run(plan("inputs2"), *paths, "-o", folder / "two.nii")
    assert np.array_equal(labels_of(folder / "two.nii"), best)
    run(plan("inputs2"), f"CT={paths[1]}", f"PET={paths[0]}", "-o", folder / "two.nii")
    assert np.array_equal(labels_of(folder / "two.nii"), best)
    refused(2, "called after channel", plan("inputs2"), paths[1], paths[0], "-o", folder / "no.nii")


def threads_change_nothing():
    paths = case_save("t_", four()[0])
    results = set()
    for threads in (1, 2, 3, 3):
        run(plan("channels4"), *paths, "-o", folder / "t.nii.gz", "--threads", threads)
        results.add((folder / "t.nii.gz").read_bytes())
    assert len(results) == 1


def wrong_cases_are_refused():
    values, _ = four()
    model, paths = plan("channels4"), case_save("w_", values)
    out = ("-o", folder / "no.nii.gz")
    refused(2, "1 volume in 1 file for a network of 4 channels (T1, T1ce, T2, FLAIR)", model,
            save("one.nii", values[0]), *out)
    stack = np.stack(values, 3)
    refused(2, "3 volumes in 1 file", model, save("three.nii", stack[..., :3]), *out)
    refused(5, "each of which is a series", model, save("five.nii", np.stack([stack, stack], 4)), *out)
    refused(2, "is called after channel", model, paths[1], paths[0], *paths[2:], *out)
    refused(2, "no channel 'T3'", model, f"T3={paths[0]}", *[f"{n}={p}" for n, p in zip(NAMES[1:], paths[1:])], *out)
    refused(2, "names no channel", model, f"T1={paths[0]}", *paths[1:], *out)
    refused(2, "FLAIR=: names no channel or no file", model, *[f"{n}={p}" for n, p in zip(NAMES[:3], paths)], "FLAIR=", *out)
    refused(2, "1 file for a network of 4", model, f"T1={paths[0]}", *out)
    refused(2, "3 volumes in 3 files for a network of 4 channels (T1, T1ce, T2, FLAIR): none is called after T1ce", model,
            paths[0], *paths[2:], *out)
    several = folder / "several.nii.gz"
    several.write_bytes(paths[0].read_bytes())
    assert "several.nii.gz: is given for several channels" in call(
        bin_dir / "vnet-run", model, *[f"{n}={several}" for n in NAMES], "-o", folder / "same.nii")[2]
    refused(2, "given twice", model, f"T1={paths[0]}", f"t1={paths[1]}", *out)
    refused(2, "2 files for a network of 4", model, f"T1={paths[0]}", f"T2={paths[2]}", *out)
    refused(3, "No such file", model, *paths[:3], folder / "absent_FLAIR.nii", *out)
    refused(4, "truncated", model, *paths[:3], cut(paths[3]), *out)
    refused(5, "T2: has 20 x 15 x 11 voxels, and the first image 21 x 15 x 11", model, *paths[:2],
            save("g_T2.nii", values[2][1:]), paths[3], *out)
    moved = AFFINE.copy()
    moved[0, 3] = 2
    refused(5, "T2: lies up to 2 mm from the first image's grid", model, *paths[:2],
            save("h_T2.nii", values[2], moved), paths[3], *out)
    far = AFFINE.copy()
    far[0, 3] = 500
    refused(5, "T2: shows nothing of what the first image shows", model, *paths[:2],
            save("i_T2.nii", values[2], far), paths[3], *out, "--match-grids")
    nan = values[2].copy()
    nan[5, 5, 5] = np.nan
    refused(4, "T2: 1 of", model, *paths[:2], save("n_T2.nii", nan), paths[3], *out)
    run(model, *paths[:2], save("n_T2.nii", nan), paths[3], *out, "--replace-nan", "-q")
    refused(6, "the limit is", model, *paths, "-o", folder / "no2.nii", "--memory-limit", "64K")
    close = AFFINE.copy()
    close[:3, 3] = 0.02  # a fiftieth of a voxel is rounding
    run(model, *paths[:2], save("j_T2.nii", values[2], close), paths[3], *out)
    # A network of one channel takes no series, and says so as before.
    refused(5, "series of 4 volumes", plan("levels"), save("series.nii", stack), *out)


def cut(path):
    short = path.with_name("cut_FLAIR.nii.gz")
    short.write_bytes(path.read_bytes()[:1500])
    return short


# ---- grids ----


def grids_are_matched():
    """Channels that are linear in the world, on grids of their own: turned, finer, shifted, oblique. On
    the first grid they are what they would have been there, away from their own borders."""
    shape = (24, 20, 16)
    oblique = np.diag([1.2, 1.1, 1.3, 1.0])
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
    oblique[:3, :3] = turn @ oblique[:3, :3]
    oblique[:3, 3] = (-6, -14, -4)
    turned = np.array([[0, -0.7, 0, 30], [0, 0, 1.4, -4], [-1.0, 0, 0, 36], [0, 0, 0, 1]])
    fine = np.diag([0.5, 0.75, 0.5, 1.0])
    fine[:3, 3] = (-2, -2, -2)
    grids = [(shape, AFFINE), ((40, 44, 40), turned), ((60, 60, 76), fine), ((44, 50, 40), oblique)]
    slopes = ((0.2, 0.01, 0.01), (0.05, 0.35, 0.02), (0.2, -0.2, 0.6), (-0.9, 0.4, 0.8))

    def ramp(shape, affine, slope, offset):
        ijk = np.moveaxis(np.indices(shape), 0, -1)
        world = ijk @ affine[:3, :3].T + affine[:3, 3]
        return world @ np.array(slope) + offset

    offsets = (2, 3, 10, 30)
    first = [ramp(shape, AFFINE, s, o) / top for s, o, top in zip(slopes, offsets, TOPS)]
    clipped = np.clip(first, 0, 1)
    want, order = clipped.argmax(0), np.sort(clipped, 0)
    sure = order[-1] - order[-2] > 1e-4
    paths = [save(f"m_{n}.nii", ramp(g, a, s, o).astype(np.float32), a)
             for n, (g, a), s, o in zip(NAMES, grids, slopes, offsets)]
    refused(5, "--match-grids", plan("channels4"), *paths, "-o", folder / "no.nii")
    run(plan("channels4"), *paths, "-o", folder / "m.nii", "--match-grids", "-q")
    have = labels_of(folder / "m.nii")
    assert have.shape == shape and len(np.unique(want[sure])) >= 3 and sure.mean() > 0.9
    assert np.array_equal(have[sure], want[sure]), np.mean(have[sure] == want[sure])


# ---- many cases ----


def many_cases():
    cases = {}
    for i in range(3):
        values, best = four((18, 14 + i, 9))
        cases[f"case-{i}"] = best
        case_save(f"numbers/case-{i}_", values, names=("0000", "0001", "0002", "0003"))
        case_save(f"named/case-{i}_", values, names=("t1", "t1ce", "t2", "flair"))
        case_save(f"patients/case-{i}/", values)
        save(f"series/case-{i}.nii.gz", np.stack(values, 3))

    def right(out, name="{}.seg.nii.gz", **more):
        text = run(plan("channels4"), *more.pop("words"), "--output-dir", folder / out, **more)
        assert "3 scans, 0 failed" in text, text
        for case, best in cases.items():
            assert np.array_equal(labels_of(folder / out / name.format(case)), best), (out, case)

    right("l1", words=[folder / "numbers"])
    right("l2", words=[folder / "named"])
    right("l3", "{}/T1.seg.nii.gz", words=[folder / "patients", "--recursive"])
    right("l4", words=[folder / "series"])
    right("l5", words=sorted((folder / "numbers").glob("case-*")))
    right("l5", words=[*sorted((folder / "numbers").glob("case-*")), "--resume"])
    table = folder / "cases.txt"
    table.write_text("# one a line\n" + "".join(
        "\t".join(f"{folder}/named/case-{i}_{n}.nii.gz" for n in ("t1", "t1ce", "t2", "flair")) + "\n"
        for i in range(3)))
    right("l6", "{}_t1.seg.nii.gz", words=["--list", table])
    table.write_text("".join(
        "\t".join(f"{n}={folder}/named/case-{i}_{n.lower()}.nii.gz" for n in NAMES[::-1]) + "\n"
        for i in range(3)))
    right("l7", "{}_flair.seg.nii.gz", words=["--list", table])
    table.write_text(table.read_text().replace("\t", " ; "))
    right("l7b", "{}_flair.seg.nii.gz", words=["--list", table])
    (folder / "a;b.nii").write_bytes((folder / "series" / "case-0.nii.gz").read_bytes())  # one name, not two
    table.write_text(f"{folder}/a;b.nii\n")
    run(plan("channels4"), "--list", table, "--output-dir", folder / "l7c")
    assert np.array_equal(labels_of(folder / "l7c" / "a;b.seg.nii.gz"), cases["case-0"])
    table.write_text("".join(f"{folder}/numbers/case-{i}_0000.nii.gz\n" for i in range(3)))
    right("l8", words=["--list", table])
    # A series called as a case's files have it in common: each has results of its own.
    values, best = four()
    case_save("beside/p_", values)
    (folder / "beside" / "p.nii.gz").write_bytes((folder / "series" / "case-1.nii.gz").read_bytes())
    run(plan("channels4"), folder / "beside", "--output-dir", folder / "l11")
    assert np.array_equal(labels_of(folder / "l11" / "p.seg.nii.gz"), cases["case-1"])
    assert np.array_equal(labels_of(folder / "l11" / "p_T1.seg.nii.gz"), best)
    # Series that end in numbers as a case's files do; and files that are links to others elsewhere.
    for i in range(3):
        save(f"digits/scan_000{i + (i > 1)}.nii.gz", np.stack(four((18, 14 + i, 9))[0], 3))
    assert "3 scans, 0 failed" in run(plan("channels4"), folder / "digits", "--output-dir", folder / "l12")
    (folder / "links").mkdir()
    for c in range(4):
        (folder / "links" / f"case_000{c}.nii.gz").symlink_to(folder / "numbers" / f"case-0_000{c}.nii.gz")
    run(plan("channels4"), folder / "links" / "case_0000.nii.gz", "-o", folder / "linked.nii.gz")
    assert np.array_equal(labels_of(folder / "linked.nii.gz"), cases["case-0"])
    # What is not whole is passed over, with a reason.
    (folder / "numbers" / "case-1_0002.nii.gz").unlink()
    status, text, err = call(bin_dir / "vnet-run", plan("channels4"), folder / "numbers", "--output-dir", folder / "l9")
    assert status == 2 and "3 volumes in 3 files" in err and "none is called after T2" in err and "3 scans, 1 failed" in text, (status, text, err)
    # Two files of one channel, beside the others and in the place of one.
    twice = folder / "twice"
    twice.mkdir()
    for name, new in (("0000.nii.gz", "0000.nii.gz"), ("0000.nii.gz", "0000.nii"), ("0001.nii.gz", "0001.nii.gz"),
                      ("0002.nii.gz", "0002.nii.gz"), ("0003.nii.gz", "0003.nii.gz")):
        (twice / f"p_{new}").write_bytes((folder / "numbers" / f"case-0_{name}").read_bytes())
    status, _, err = call(bin_dir / "vnet-run", plan("channels4"), twice, "--output-dir", folder / "l10")
    assert status == 2 and "5 volumes in 5 files" in err and "several are called after T1" in err, err
    (twice / "p_0002.nii.gz").unlink()
    status, text, err = call(bin_dir / "vnet-run", plan("channels4"), twice, "--output-dir", folder / "l10")
    assert status == 2 and "is called after channel T1, as another file of its case is" in err, err
    assert "1 scan, 1 failed" in text, text
    # The first file of a case alone stands for it.
    run(plan("channels4"), folder / "numbers" / "case-0_0000.nii.gz")
    assert np.array_equal(labels_of(folder / "numbers" / "case-0.seg.nii.gz"), cases["case-0"])


# ---- regions ----


def regions_overlap():
    values = random.uniform(0, 4, (20, 18, 13)).astype(np.float32)
    sure = (np.abs(values - np.rint(values)) > 1e-3)
    scan, out = save("r.nii", values), folder / "r.seg.nii.gz"
    report = json.loads(run(plan("regions"), scan, "--regions", folder / "each.nii.gz", "--scores",
                            folder / "p.nii", "--scores-type", "float32", "--json", "-q"))
    core, whole, enhancing = values >= 2, values >= 1, values >= 3
    want = np.select([enhancing, core, whole], [3, 1, 2], 0)
    assert np.array_equal(labels_of(out)[sure], want[sure])
    each = labels_of(folder / "each.nii.gz")
    assert each.dtype == np.uint8 and each.shape == (*values.shape, 3)
    assert np.array_equal(each[sure], np.stack([core, whole, enhancing], 3)[sure])
    p = labels_of(folder / "p.nii")
    sigmoid = 1 / (1 + np.exp(-4 * (values[..., None].astype(np.float64) - [2, 1, 3])))
    assert np.abs(p[..., 1:] - sigmoid).max() < 1e-5
    assert np.abs(p[..., 0] - (1 - sigmoid.max(3))).max() < 1e-5
    assert [label["name"] for label in report["labels"]] == ["background", "core", "whole", "enhancing"]
    assert [(r["region"], r["name"]) for r in report["regions"]] == [(1, "core"), (2, "whole"), (3, "enhancing")]
    assert [r["voxels"] for r in report["regions"]] == each.reshape(-1, 3).sum(0).tolist()
    assert np.allclose([r["mean"] for r in report["regions"]], [values[each[..., i] > 0].mean() for i in range(3)], 1e-5)
    assert [label["voxels"] for label in report["labels"]] == np.bincount(labels_of(out).ravel(), minlength=4).tolist()
    # Without vnet.labels a later region lies over an earlier one.
    run(plan("regions_plain"), scan, "-q")
    assert np.array_equal(labels_of(out)[sure], np.select([enhancing, whole, core], [3, 2, 1], 0)[sure])
    # Regions that are each other's mirror share what half of the mirrored windows say of the other one.
    labels = b'[{"value":1,"mirror":3},{"value":3,"mirror":1}]'
    entry = bytes([10, 11]) + b"vnet.labels" + bytes([18, len(labels)]) + labels
    model = (fixtures / "scan" / "regions_plain.onnx").read_bytes() + bytes([14 << 3 | 2, len(entry)]) + entry
    (folder / "sided.onnx").write_bytes(model)  # with one more of ModelProto.metadata_props
    assert call(bin_dir / "vnetc", folder / "sided.onnx", "-o", folder / "sided.plan", "--topology", "any")[0] == 0
    run(folder / "sided.plan", scan, "--scores", folder / "p.nii", "--scores-type", "float32", "--mirror", "dhw", "-q")
    shared = sigmoid[..., [0, 2]].mean(3)
    assert np.abs(labels_of(folder / "p.nii")[..., 1:] - np.stack([shared, sigmoid[..., 1], shared], 3)).max() < 1e-5
    for ending in ("nrrd", "mgz"):
        run(plan("regions"), scan, "--regions", folder / f"each.{ending}", "-q")
    assert np.array_equal(np.asanyarray(nibabel.load(folder / "each.mgz").dataobj), each)
    assert b"sizes: 20 18 13 3\n" in (folder / "each.nrrd").read_bytes()
    refused(5, "exclude each other", plan("levels"), scan, "--regions", folder / "no.nii")
    refused(2, "are for one scan", plan("regions"), scan, "--output-dir", folder / "d", "--regions", folder / "no.nii")
    refused(2, "many scans", plan("regions"), scan, "--region-maps")
    # Of many scans, each one's beside its label map; a second run takes neither for a scan.
    save("many/a.nii", values)
    save("many/b.nii", values[::-1])
    refused(5, "exclude each other", plan("levels"), folder / "many", "--output-dir", folder / "many", "--region-maps")
    for _ in range(2):
        text = run(plan("regions"), folder / "many", "--output-dir", folder / "many", "--region-maps")
        rows = (folder / "many" / "a.seg.csv").read_text().splitlines()
        assert [row.split(",")[3] for row in rows[1:]] == ["0", "1", "2", "3", "region 1", "region 2", "region 3"]
        assert [int(row.split(",")[5]) for row in rows[5:]] == each.reshape(-1, 3).sum(0).tolist()
        assert "2 scans, 0 failed" in text, text
    assert np.array_equal(labels_of(folder / "many" / "a.regions.nii.gz"), each)


for test in (files_are_channels, inputs_are_channels, threads_change_nothing, wrong_cases_are_refused,
             grids_are_matched, many_cases, regions_overlap):
    test()
    print(test.__name__.replace("_", " "), flush=True)
