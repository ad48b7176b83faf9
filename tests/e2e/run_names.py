"""Many scans as they lie on people's disks: what is taken, what results are called, what is never
overwritten, and what names from outside do to a terminal, a spreadsheet and a parser.

    run_names.py BIN_DIR FIXTURES_DIR [MPIRUN]

Read back by nibabel, and Python's csv and json. Every result equals the one of its scan alone.
"""
import csv
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np

bin_dir, fixtures = (pathlib.Path(a).resolve() for a in sys.argv[1:3])
mpirun = sys.argv[3] if len(sys.argv) > 3 else None
scratch = tempfile.TemporaryDirectory(prefix="vnet-names-")
folder = pathlib.Path(scratch.name)
vnet_run, plan = bin_dir / "vnet-run", folder / "levels.plan"
random = np.random.default_rng(3)
values = {}  # what the network must find, by path: its result is its input, rounded
EVIL = "=cmd,\"x\"\n\x1b[31m\u202e.nii"


def call(*words, **more):
    done = subprocess.run([os.fsencode(str(w)) for w in words], capture_output=True, timeout=120,
                          cwd=folder, **more)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def right(*words, **more):
    status, text, err = call(*words, **more)
    assert status == 0, (status, err)
    return text, err


def refused(text, *words):
    before = snapshot()
    status, _, err = call(*words)
    assert status == 2 and text in err and err.count("\n") == 1, (status, err)
    assert snapshot() == before, "something was written"


def snapshot():
    return {p: (p.lstat().st_mtime_ns, p.lstat().st_ino) for p in sorted(folder.rglob("*"))}


def save(path, labels=False):
    """A scan of no two alike; its name may end in capitals, which nibabel does not write."""
    path = folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    data = random.integers(0, 4, (9 + len(values), 8, 7)).astype(np.uint8)
    image = nibabel.Nifti1Image(data, np.eye(4))
    if labels:
        image.header.set_intent("label")
    plain = path.with_name("new" + ".nii" + (".gz" if str(path).lower().endswith(".gz") else ""))
    nibabel.save(image, plain)
    plain.rename(path)
    values[path] = data
    return path


def results(out):
    return sorted(str(p.relative_to(out)) for p in out.rglob("*.seg.nii.gz"))


def result_is(out, name, scan):
    found = np.asanyarray(nibabel.load(out / name).dataobj)
    assert np.array_equal(found, values[folder / scan]), name


def rows_of(out):
    return list(csv.DictReader(open(out / "summary.csv", newline="", encoding="utf-8"), strict=True))


TAKEN = {  # under scans/: the result's name
    "a.nii": "a.nii.seg.nii.gz",
    "a.nii.gz": "a.nii.gz.seg.nii.gz",
    "B.NII.GZ": "B.seg.nii.gz",
    "a_b/c.nii": "a_b/c.seg.nii.gz",
    "a/b_c.nii": "a/b_c.seg.nii.gz",
    "masked.nii": "masked.seg.nii.gz",
    "patient1/T1.nii.gz": "patient1/T1.seg.nii.gz",
    "patient2/T1.nii.gz": "patient2/T1.seg.nii.gz",
    "patient2/b/T1.nii.gz": "patient2/b/T1.seg.nii.gz",
    "odd/" + EVIL: "odd/" + EVIL.replace(".nii", ".seg.nii.gz"),
    "odd/-1.nii": "odd/-1.seg.nii.gz",
    "odd/@sum, here.nii": "odd/@sum, here.seg.nii.gz",
}
PASSED = ["x_mask.nii.gz", "x_SEG.nii.gz", "x-label.nii.gz", "x.seg.nii.gz", "x.Seg.nii",
          "sub-1_dseg.nii.gz"]


def prepare():
    right(bin_dir / "vnetc", fixtures / "scan" / "levels.onnx", "-q", "-o", plan, "--topology", "any")
    for name in list(TAKEN) + PASSED:
        save("scans/" + name)
    save("scans/atlas.nii.gz", labels=True)
    save("scans/derivatives/d.nii")
    for name in (".hidden/e.nii", "._a.nii", "patient1/.T1.nii.gz"):
        save("scans/" + name)
    (folder / "scans/notes.txt").write_text("not a scan")
    (folder / "scans/loop").symlink_to(".")
    (folder / "scans/a/up").symlink_to("../../scans")
    (folder / "scans/1st").symlink_to("patient1")  # one folder, one name: its own
    save("elsewhere/far.nii")
    (folder / "scans/linked").symlink_to("../elsewhere")
    TAKEN["linked/far.nii"] = "linked/far.seg.nii.gz"
    values[folder / "scans/linked/far.nii"] = values[folder / "elsewhere/far.nii"]


def folders_are_mirrored():
    out = folder / "out"
    text, err = right(vnet_run, plan, "scans", "--recursive", "--exclude", "deriv*", "--output-dir", out)
    assert results(out) == sorted(TAKEN.values()), results(out)
    for scan, name in TAKEN.items():
        result_is(out, name, "scans/" + scan)
        report = json.loads((out / name).with_suffix("").with_suffix(".json").read_text())
        assert report["scan"] == "scans/" + scan and report["output"] == str(out / name)
    assert f"{len(PASSED)}, such as" in err and "by their names" in err, err
    assert "by their headers: 1, such as scans/atlas.nii.gz" in err, err
    assert f"{len(TAKEN)} scans, 0 failed" in text
    scans = {row["scan"] for row in rows_of(out)}
    assert len(rows_of(out)) == 4 * len(TAKEN) and len(scans) == len(TAKEN), scans
    flat = folder / "flat"
    right(vnet_run, plan, "scans/", "--output-dir", flat)
    assert results(flat) == sorted(name for name in TAKEN.values() if "/" not in name)
    refused("--recursive looks into", vnet_run, plan, save("deep/er/x.nii").parents[1],
            "--output-dir", folder / "out")
    refused("needs --output-dir", vnet_run, plan, "scans", "deep")
    # A pattern of paths; a folder's name in one; a folder that is left out is not looked into.
    right(vnet_run, plan, "scans", "--recursive", "--exclude", "*/patient?/*", "--exclude", "odd",
          "--exclude", "*.nii", "--output-dir", folder / "some")
    assert results(folder / "some") == ["B.seg.nii.gz", "a.seg.nii.gz"], results(folder / "some")


def ranks_agree():
    if not mpirun:
        return
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    right(mpirun, *root, "--oversubscribe", "-n", "2", vnet_run, plan, "scans", "--recursive",
          "--exclude", "derivatives", "--threads", "1", "--output-dir", "ranks",
          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # OpenMPI's own
    assert results(folder / "ranks") == results(folder / "out")
    assert (folder / "ranks/summary.csv").read_bytes() == (folder / "out/summary.csv").read_bytes()


def growing_lists_keep_names():
    """What has results is not made again under another name when other scans join it."""
    out, names = folder / "grown", folder / "cases.txt"

    def run(*scans):
        names.write_text("\n".join(str(folder / scan) for scan in scans))
        before = {name: (out / name).stat().st_mtime_ns for name in results(out)}
        right(vnet_run, plan, "--list", names, "--output-dir", out, "--resume")
        for name, stamp in before.items():
            assert (out / name).stat().st_mtime_ns == stamp, f"{name} was made again"
        return set(results(out)) - set(before)

    first = [save("g/p1/T1.nii"), save("g/p1/T2.nii")]
    assert run(*first) == {"T1.seg.nii.gz", "T2.seg.nii.gz"}
    second = [save("g/p2/T1.nii"), save("g/p1/T1.nii.gz")]
    assert run(*second, *first) == {"p2/T1.seg.nii.gz", "p1/T1.nii.gz.seg.nii.gz"}
    third = [save("h/p1/T1.nii")]
    assert run(*first, *second, *third) == {"h/p1/T1.seg.nii.gz"}
    assert not run(*third, *second, *first) and len(rows_of(out)) == 5 * 4
    for name, scan in (("T1", "g/p1/T1.nii"), ("p2/T1", "g/p2/T1.nii"), ("h/p1/T1", "h/p1/T1.nii")):
        result_is(out, name + ".seg.nii.gz", scan)
    _, err = right(vnet_run, plan, first[0], f"{folder}/h/../g//p1/./T1.nii", "--output-dir", out)
    assert "given twice" in err
    # Listed is taken, whatever it is called; not what is excluded.
    names.write_text(f"{folder}/scans/x_mask.nii.gz\n{folder}/scans/atlas.nii.gz\nscans/a.nii\n")
    right(vnet_run, plan, "--list", names, "--exclude", "a.nii", "--output-dir", folder / "listed")
    assert results(folder / "listed") == ["atlas.seg.nii.gz", "x_mask.seg.nii.gz"]


def patterns_of_the_shell():
    for i in range(3):
        save(f"shell/case{i}.nii.gz")
    save("shell/case0_seg.nii.gz")
    line = ["bash", "-c", f'"$0" "$1" shell/*.nii.gz "${{@:2}}"', vnet_run, plan]
    text, err = right(*line, "--output-dir", folder / "pattern")
    want = [f"case{i}.seg.nii.gz" for i in range(3)]
    assert results(folder / "pattern") == want and "case0_seg" in err
    text, _ = right(*line)  # beside each
    assert results(folder / "shell") == want and "3 scans, 0 failed\n" in text
    text, _ = right(*line, "--resume")  # its own results are no scans
    assert results(folder / "shell") == want and "3 scans, 0 failed\n" in text
    assert (folder / "shell/case1.seg.csv").exists() and not (folder / "summary.csv").exists()


def inputs_stay():
    """Whatever a result would be called, and whatever leads there."""
    home = folder / "stay"
    home.mkdir()
    scan, mine = save("stay/a.nii"), save("stay/a.seg.nii.gz")
    names = folder / "both.txt"
    names.write_text(f"{scan}\n{mine}\n")
    batch = [vnet_run, plan, "--list", names, "--output-dir"]
    refused("is an input", *batch, home)
    refused("is an input", *batch, f"{home}/../stay/.")
    os.link(mine, folder / "hard.nii.gz")
    names.write_text(f"{scan}\n{folder}/hard.nii.gz\n")
    (folder / "way").symlink_to(home)
    (folder / "soft.nii").symlink_to(mine)
    for out in ("stay", "way"):
        names.write_text(f"{scan}\nhard.nii.gz\n")
        assert call(*batch, folder / "fine")[0] == 0
        names.write_text(f"stay/a.nii\nsoft.nii\n")
        (folder / "target").mkdir(exist_ok=True)
        (folder / "target/stay").unlink(missing_ok=True)
        (folder / "target/stay").symlink_to(folder / out)
        refused("is an input", *batch, folder / "target")
    (folder / "other").mkdir()
    (folder / "other/summary.csv").symlink_to(names)
    refused("both.txt: is an input", *batch, folder / "other")
    (folder / "third").mkdir()
    (folder / "third/a.seg.json").symlink_to(plan)
    refused("levels.plan: is an input", vnet_run, plan, scan, "--output-dir", folder / "third")
    pair = nibabel.Nifti1Pair(values[scan], np.eye(4))
    nibabel.save(pair, folder / "pair.hdr")
    refused("is an input", vnet_run, plan, folder / "pair.hdr", f"--csv={folder / 'pair.img'}")
    refused("is an input", vnet_run, plan, scan, "--report", plan)


def outputs_differ():
    scan = save("o/scan.nii")
    (folder / "o/link").symlink_to(folder / "o")
    (folder / "o/there.nii").write_bytes(b"")
    (folder / "o/soft.nii").symlink_to("there.nii")
    os.link(folder / "o/there.nii", folder / "o/hard.nii")
    spelled = ["o/x.nii", "./o/x.nii", "o/link/x.nii", folder / "o/../o/x.nii"]
    for a, b in itertools.combinations_with_replacement(spelled, 2):
        refused("one file", vnet_run, plan, scan, "-o", a, "--scores", b)
    for a, b in itertools.combinations(["--report", "--csv", "--picture", "--returnparameterfile"], 2):
        refused("one file", vnet_run, plan, scan, a, "o/x.png", b, "o/link/x.png")
    refused("one file", vnet_run, plan, scan, "-o", "o/soft.nii", "--scores", "o/there.nii")
    refused("one file", vnet_run, plan, scan, "-o", "o/hard.nii", "--scores", "o/there.nii")
    refused("one file", vnet_run, plan, scan, "--csv=o/scan.seg.nii.gz")
    right(bin_dir / "vnetc", fixtures / "scan" / "phantom.onnx", "-q", "-o", "o/named.plan",
          "--topology", "any")
    for table in ("ctbl", "label.txt"):  # made without being asked for
        refused("one file", vnet_run, "o/named.plan", scan, "-o", "o/x.nii", "--csv", f"o/x.{table}")
    several = fixtures / "models" / "outputs-several.onnx"
    right(bin_dir / "vnetc", several, "-q", "-o", "o/several.plan", "--topology", "any")
    array = fixtures / "golden" / "outputs-several.in.npy"
    run = [vnet_run, "o/several.plan", "--tensor", array]
    refused("one file", *run, "-o", "o/x.npy", "-o", "o/link/x.npy")
    refused("is an input", *run, "-o", "o/link/several.plan")
    model = folder / "o/model.onnx"
    model.write_bytes(several.read_bytes())
    refused("is an input", bin_dir / "vnetc", model, "--topology", "any", "-o", "o/link/model.onnx")


NAMES = ["=HYPERLINK(\"http://x/\",\"y\")", "+1, \"q\"", "-2+3", "@SUM(A1)", "'quoted'", "plain, name"]


def names_are_harmless():
    """A terminal gets no control character, a spreadsheet no formula; parsers get what was meant."""
    labels = [{"value": i + 1, "name": name} for i, name in enumerate(NAMES)]
    escape = "\x1b]0;title\x07\x1b[2J\u009b31m\u202e"
    right(bin_dir / "vnet-model", "--width", "4", "--stages", "2", "--patch", "8x8x8", "--classes",
          len(NAMES) + 1, "--labels", json.dumps(labels), "--intensity", "none", "-o", "named.onnx")
    right(bin_dir / "vnetc", "named.onnx", "-q", "-o", "named.plan")
    scan = save("odd.nii")
    right(vnet_run, "named.plan", scan, "--csv", "odd.csv", "--report", "odd.json")
    rows = list(csv.DictReader(open(folder / "odd.csv", newline=""), strict=True))
    for row, name in zip(rows[1:], NAMES):
        assert row["name"] == ("'" if name[0] in "=+-@" else "") + name, row
        assert row["name"][0] not in "=+-@\t\r" and row["label"].isdigit()
    report = json.loads((folder / "odd.json").read_text())
    assert [label["name"] for label in report["labels"][1:]] == NAMES
    snap = [re.fullmatch(r' *(\d+) +(\d+) +(\d+) +(\d+) +([\d.]+) +(\d) +(\d) +"([^"]*)"', line)
            for line in (folder / "odd.seg.label.txt").read_text().splitlines() if line[0] != "#"]
    assert [m[8] for m in snap[1:]] == [name.replace('"', "'") for name in NAMES]
    slicer = [line.split() for line in (folder / "odd.seg.ctbl").read_text().splitlines() if line[0] != "#"]
    assert [(len(words), words[1]) for words in slicer[1:]] == [(6, n.replace(" ", "_")) for n in NAMES]
    # Metadata, names of layers and of files, on both streams of every program.
    right(bin_dir / "vnet-model", "--width", "4", "--stages", "2", "--patch", "8x8x8", "--intensity",
          "none", "-o", f"{escape}.onnx")
    with open(folder / f"{escape}.onnx", "ab") as model:  # what vnet-model would not write
        entry = b"".join(bytes([tag, len(text)]) + text
                         for tag, text in ((10, b"vnet.orientation"), (18, escape.encode())))
        model.write(bytes([14 << 3 | 2, len(entry)]) + entry)
    shown = [right(bin_dir / "vnetc", f"{escape}.onnx", "-o", f"{escape}.plan"),
             right(bin_dir / "vnetc", f"{escape}.onnx", "-o", f"{escape}.plan", "-d", "i"),
             right(bin_dir / "vnet-plan", f"{escape}.plan"),
             right(bin_dir / "vnet-bench", f"{escape}.plan", "--repeat", "1", "--threads", "1"),
             right(bin_dir / "vnet-bench", f"{escape}.plan", "--repeat", "1", "--json"),
             right(vnet_run, plan, "scans/odd", "--output-dir", f"{escape}out"),
             call(vnet_run, plan, f"absent{escape}.nii")[1:],
             call(vnet_run, f"absent{escape}.plan", scan)[1:],
             call(vnet_run, f"{escape}.plan", scan)[1:],
             call(vnet_run, plan, scan, f"absent{escape}.nii", "--output-dir", "out2")[1:],
             call(bin_dir / "vnetc", f"absent{escape}", "-o", "x")[1:],
             call(bin_dir / "vnet-plan", f"absent{escape}")[1:],
             call(bin_dir / "vnet-train", "--data", f"absent{escape}", "-o", "x")[1:],
             call(bin_dir / "vnet-model", "--member", escape, "-o", "x")[1:]]
    for text in itertools.chain(*shown, ["".join(row.values()) for row in rows_of(folder / "out")]):
        bad = re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]", text)
        assert not bad, (bad, text)
    assert all("title" in text + err for text, err in shown), "names are gone, not shown"
    odd = [row["scan"] for row in rows_of(folder / "out") if "cmd" in row["scan"]][0]
    assert odd == 'scans/odd/=cmd,"x"\\x0a\\x1b[31m\\u202e.nii', odd


prepare()
for test in (folders_are_mirrored, ranks_agree, growing_lists_keep_names, patterns_of_the_shell,
             inputs_stay, outputs_differ, names_are_harmless):
    start = time.monotonic()
    test()
    print(f"{test.__name__.replace('_', ' ')}: {time.monotonic() - start:.1f} s", flush=True)
