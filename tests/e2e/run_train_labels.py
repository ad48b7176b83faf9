"""vnet-train on label maps as people have them: a table from values to classes, voxels to be ignored, a case
without labels, left and right; a Dice for each class; a running mean of the weights, resumed; a new head on an
old body; channels in files of their own, or as the volumes of one; cases on disk; what it refuses.

    run_train_labels.py BIN_DIR
"""
import csv
import pathlib
import resource
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

from metadata import said

bin_dir = pathlib.Path(sys.argv[1])
scratch = tempfile.TemporaryDirectory(prefix="vnet-train-labels-")
folder = pathlib.Path(scratch.name)
SMALL = ["--patch", "16x16x16", "--width", "2", "--stages", "2", "-q"]


def call(program, *words):
    done = subprocess.run([str(bin_dir / program), *map(str, words)], capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


def train(output, *words, data="cases.csv", table="table.csv"):
    words = [*words, *(["--label-table", folder / table] if table else [])]
    status, _, err = call("vnet-train", "--data", folder / data, "-o", folder / output, *words)
    assert status == 0, err
    return (folder / output).read_bytes(), err


def refused(status, text, *words, data="cases.csv"):
    got, _, err = call("vnet-train", "--data", folder / data, "-o", folder / "no.onnx", *SMALL, "--steps", "2", *words)
    assert got == status and text in err and err.count("\n") == 1, (got, err)
    assert not (folder / "no.onnx").exists()


def rows(path):
    return list(csv.DictReader(open(folder / path)))


def phantoms_make():
    """Two balls, of values 17 on the left and 53 on the right, a shell around them of 3000 and 3001."""
    random = np.random.default_rng(3)
    x, y, z = np.ogrid[-16:16, -14:14, -12:12]  # RAS: the left has small x
    left, right = ((x - s * 7) ** 2 + y**2 + z**2 < 20 for s in (-1, 1))
    shell = (x**2 + y**2 + z**2 > 150) & (x**2 + y**2 + z**2 < 220)
    label = np.select([left, right, shell & (y > 0), shell], [17, 53, 3000, 3001], 0).astype(np.int16)
    for number in range(3):
        image = 100 * (label == 17) + 100 * (label == 53) + 50 * shell + random.normal(0, 12, label.shape)
        if number == 2:
            image = random.normal(0, 12, label.shape)
        nibabel.save(nibabel.Nifti1Image(image.astype(np.float32), np.eye(4)), folder / f"s{number}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), folder / "label.nii.gz")
    (folder / "cases.csv").write_text("image,label,split\ns0.nii.gz,label.nii.gz,train\ns2.nii.gz,none,train\n"
                                      "s1.nii.gz,label.nii.gz,validation\ns2.nii.gz,none,validation\n")
    (folder / "table.csv").write_text("value,class,name,colour,mirror\n17,1,left,#c80000,2\n53,2,right,#00c800,1\n"
                                      "3000,3,shell,#0000c8,\n3001,3,,,\n")
    (folder / "short.csv").write_text("value,class\n17,1\n53,2\n")
    (folder / "rest.csv").write_text("value,class,name\n17,1,ball\n53,1,\nothers,ignore,\n")


def a_table_says_it_all():
    words = [*SMALL, "--steps", "20", "--log", folder / "t.csv", "--validate-every", "10", "--charts", folder / "t",
             "--class-weights", "1,1,1,2", "--foreground", "0.9", "--clip", "2", "--ema", "0.5"]
    whole, _ = train("t.onnx", *words, "--threads", "1")
    assert whole == train("t2.onnx", *words, "--threads", "3", "--feed-threads", "2")[0]
    assert call("vnetc", folder / "t.onnx", "-o", folder / "t.plan")[0] == 0
    told = call("vnet-plan", folder / "t.plan")[1]
    for text in ("classes=4", '"value":2,"name":"right","colour":"#00c800"', '"value":3,"name":"shell"'):
        assert text in told, told
    log, scores = rows("t.csv"), rows("t.validation.csv")
    assert all({"dice_1", "dice_2", "dice_3"} <= row.keys() for row in log)
    dice = np.array([[float(row[f"dice_{c}"]) for c in (1, 2, 3)] for row in log])
    assert np.isnan(dice).any() and np.nanmax(dice) <= 1 and np.isfinite(dice).any(axis=0).all()
    assert len(scores) == 2 * 2 * 3
    for row in scores:  # of the empty case: 1 and 0 where nothing is found, else 0 and nan
        if "s2" in row["case"]:
            assert (row["dice"], row["hd95_mm"]) in (("1.000000", "0.000"), ("0.000000", "nan")), row
    other, _ = train("other.onnx", *words[:-2], "--threads", "1")  # without the running mean
    assert other != whole
    assert (folder / "t.best.onnx").read_bytes() == (folder / "t2.best.onnx").read_bytes()


def best_says_what_it_scored():
    """Of each label the mean Dice over those cases where a map has it, as far as vnet-run's table; another
    training knows nothing of it."""
    train("scored.onnx", *SMALL, "--steps", "60", "--rate", "0.01", "--validate-every", "60", "--log", folder / "s.csv")
    again, _ = train("again.onnx", "--patch", "16x16x16", "-q", "--steps", "1", "--init", folder / "scored.best.onnx")
    key = b"vnet.validation_dice"
    for model, says in ((again, False), ((folder / "scored.onnx").read_bytes(), False),
                        ((folder / "scored.best.onnx").read_bytes(), True)):
        assert (key in model) == says
    scores = rows("s.validation.csv")
    absent = [(row["dice"], row["hd95_mm"]) == ("1.000000", "0.000") for row in scores]
    assert any(absent) and not all(absent)
    want = [np.mean([float(row["dice"]) for row, gone in zip(scores, absent) if row["label"] == label and not gone])
            for label in "123"]
    assert call("vnetc", folder / "scored.best.onnx", "-o", folder / "scored.plan")[0] == 0
    status, out, err = call("vnet-run", folder / "scored.plan", folder / "s1.nii.gz", "-o", folder / "b.nii", "--csv", "-q")
    assert status == 0, err
    told = [row["validation_dice"] for row in csv.DictReader(out.splitlines())]
    assert told[0] == "" and np.allclose([float(dice) for dice in told[1:]], want, atol=1e-4), (told, want)


def sides_are_inherited():
    """A model that tells left from right is trained on as by a table that says so; without sides it is another."""
    values = np.asanyarray(nibabel.load(folder / "label.nii.gz").dataobj)
    classes = np.select([values == 17, values == 53, values >= 3000], [1, 2, 3], 0).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(classes, np.eye(4)), folder / "classes.nii.gz")
    (folder / "own.csv").write_text("image,label\ns0.nii.gz,classes.nii.gz\n")
    head = "value,class,name,colour,mirror\n"
    (folder / "sided.csv").write_text(head + "1,1,left,#c80000,2\n2,2,right,#00c800,1\n3,3,shell,#0000c8,\n")
    (folder / "unsided.csv").write_text(head + "1,1,left,#c80000,\n2,2,right,#00c800,\n3,3,shell,#0000c8,\n")
    words = ["--init", folder / "t.onnx", "--patch", "16x16x16", "-q", "--steps", "6", "--threads", "2"]
    alone, sided, unsided = (train("own.onnx", *words, data="own.csv", table=table)[0][:-400]
                             for table in (None, "sided.csv", "unsided.csv"))  # without the metadata, which is last
    assert alone == sided and alone[:len(unsided)] != unsided
    # Other names are another run's: they say nothing of sides.
    status, _, err = call("vnet-train", "--data", folder / "own.csv", "-o", folder / "own.onnx", *words, "--resume")
    assert status == 4 and "another run" in err, err  # by the table of the last one
    train("own.onnx", *words, data="own.csv", table=None)
    status, _, err = call("vnet-train", "--data", folder / "own.csv", "-o", folder / "own.onnx", *words, "--resume",
                          "--label-names", "left,right,shell")
    assert status == 4 and "another run" in err, err


def regions_are_no_labels():
    """A model whose outputs may overlap is not trained as one whose labels exclude each other; under a new head it is."""
    (folder / "regions.onnx").write_bytes((folder / "t.onnx").read_bytes() + said("end", "threshold 0.5"))
    words = ["--init", folder / "regions.onnx", "--patch", "16x16x16", "-q", "--steps", "1"]
    status, _, err = call("vnet-train", "--data", folder / "own.csv", "-o", folder / "no.onnx", *words)
    assert status == 5 and "its 4 outputs are regions that may overlap" in err and err.count("\n") == 1, err
    headed, _ = train("headed.onnx", *words, table="rest.csv")
    assert b"vnet.end" not in headed
    # One channel of scores is inside from 0 on, which is where its sigmoid is a half.
    small = ["--member", "monai", "--width", "2", "--stages", "2", "--patch", "16x16x16", "--classes", "1", "--tail", "none"]
    assert call("vnet-model", "-o", folder / "scores.onnx", *small)[0] == 0
    one, _ = train("one.onnx", "--init", folder / "scores.onnx", "--patch", "16x16x16", "-q", "--steps", "1", table="rest.csv")
    assert b"threshold 0" in one and call("vnetc", folder / "one.onnx", "-o", folder / "one.plan")[0] == 0
    status, _, err = call("vnet-run", folder / "one.plan", folder / "s0.nii.gz", "-o", folder / "one.nii.gz")
    assert status == 0, err


def folds_are_parts():
    """Every case is validated in one of the folds; saved maps are what was scored."""
    (folder / "folds.csv").write_text("image,label\n" + "s0.nii.gz,label.nii.gz\n" * 4 + "s2.nii.gz,none\n")
    lines = []
    for fold in range(3):
        words = [*SMALL, "--steps", "3", "--log", folder / "f.csv", "--validate-every", "3", "--fold", f"{fold}/3",
                 "--validation-maps", folder / f"maps{fold}", "--threads", "1"]
        train("f.onnx", *words, data="folds.csv")
        maps = sorted((folder / f"maps{fold}").iterdir())
        lines += [int(path.name.split("-")[0]) for path in maps]
        scores = rows("f.validation.csv")
        assert len(scores) == 3 * len(maps) and all(0 <= float(row["nsd"]) <= 1 for row in scores)
        for path, row in zip(maps, scores[::3]):  # of class 1
            target = np.asanyarray(nibabel.load(folder / "label.nii.gz").dataobj) == 17
            image = nibabel.load(path)
            found = np.asanyarray(image.dataobj) == 1
            if "-s2" in path.name or not found.any():
                continue
            assert (image.affine == np.eye(4)).all()
            dice = 2 * (found & target).sum() / (found.sum() + target.sum())
            assert abs(dice - float(row["dice"])) < 1e-5, (dice, row)
    assert sorted(lines) == [2, 3, 4, 5, 6], lines
    # Nor is a rater's map of that name replaced.
    mine = folder / "maps0" / "3-s1.seg.nii.gz"
    nibabel.save(nibabel.load(folder / "label.nii.gz"), mine)
    (folder / "mine.csv").write_text(f"image,label,split\ns0.nii.gz,label.nii.gz,train\ns1.nii.gz,{mine},validation\n")
    refused(2, "3-s1.seg.nii.gz: is an input, and will not be overwritten", "--label-table", folder / "table.csv", "--log",
            folder / "f.csv", "--validate-every", "3", "--validation-maps", folder / "maps0", data="mine.csv")
    refused(2, "no --fold beside it", "--fold", "0/2", "--classes", "4")
    refused(2, "not enough for 9 folds", "--fold", "0/9", data="folds.csv")
    refused(2, "--fold: expected", "--fold", "2")
    refused(2, "--fold: expected a whole number from 0 to 2", "--fold", "3/3", data="folds.csv")


def patients_are_told_apart():
    """Files of one name and size in a folder for each patient: other folds, rows and raters are other runs. The same
    data elsewhere is the same run."""
    random = np.random.default_rng(6)
    data = folder / "patients"
    for number in range(5):
        (data / f"sub{number}").mkdir(parents=True)
        image = random.normal(0, 12, (24, 24, 24)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), data / f"sub{number}" / "t1.nii")
        for rater in "ab":
            label = np.zeros((24, 24, 24), np.uint8)
            label[number:12] = 1
            (data / rater / f"sub{number}").mkdir(parents=True)
            nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), data / rater / f"sub{number}" / "seg.nii")

    def listed(rater, order):
        return "image,label\n" + "".join(f"sub{n}/t1.nii,{rater}/sub{n}/seg.nii\n" for n in order)

    def resumed(text, *words, at=data):
        (at / "cases.csv").write_text(text)
        status, _, err = call("vnet-train", "--data", at / "cases.csv", "-o", folder / "p.onnx", *SMALL, *words)
        return status, err

    words = ["--threads", "1", "--optimizer", "sgd"]
    assert resumed(listed("a", range(5)), *words, "--fold", "0/5", "--steps", "1") == (0, "")
    for text, fold, said in ((listed("a", range(5)), "1/5", "that has --fold 0/5, this one --fold 1/5"),
                             (listed("a", (0, 1, 2, 4, 3)), "0/5", "the file sub"),
                             (listed("b", range(5)), "0/5", "/seg.nii of ")):
        status, err = resumed(text, *words, "--fold", fold, "--steps", "2", "--resume")
        assert status == 4 and "another run" in err and said in err, (status, err)
    moved = data.rename(folder / "moved")
    assert resumed(listed("a", range(5)), *words, "--fold", "0/5", "--steps", "2", "--resume", at=moved) == (0, "")


def channels_have_names():
    """The names of the columns are the model's; a list in another order is brought into it."""
    random = np.random.default_rng(5)
    for number in range(2):
        for name in ("t2", "flair"):
            image = random.normal(0, 20, (32, 28, 24)).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), folder / f"s{number}_{name}.nii.gz")
    cases = [f"s{n}.nii.gz,s{n}_t2.nii.gz,s{n}_flair.nii.gz,label.nii.gz" for n in range(2)]
    (folder / "three.csv").write_text("image_t1,image_t2,image_flair,label\n" + "\n".join(cases))
    turned = [",".join(case.split(",")[i] for i in (2, 3, 0, 1)) for case in cases]
    (folder / "turned.csv").write_text("image_FLAIR,label,image_T1,image_T2\n" + "\n".join(turned))
    small = ["--patch", "16x16x16", "--stages", "2", "-q"]
    three, _ = train("three.onnx", *small, "--steps", "3", "--threads", "1", "--intensity", "zscore; none; window -50 50",
                     "--charts", folder / "three", "--log", folder / "three.csv.log", data="three.csv")
    assert three == train("three2.onnx", *small, "--steps", "3", "--threads", "3", "--intensity",
                          "zscore; none; window -50 50", data="three.csv")[0]
    assert call("vnetc", folder / "three.onnx", "-o", folder / "three.plan")[0] == 0
    told = call("vnetc", folder / "three.onnx", "-o", folder / "three.plan")[1]
    told += call("vnet-plan", folder / "three.plan")[1]
    assert "width=9" in told and "in=3" in told and "vnet.channels = t1; t2; flair" in told and "zscore; none; window" in told, told
    more = ["--patch", "16x16x16", "--init", folder / "three.onnx", "--steps", "2", "--threads", "1", "-q"]
    assert train("m1.onnx", *more, data="three.csv")[0] == train("m2.onnx", *more, data="turned.csv")[0]
    words = ["--label-table", folder / "table.csv", "--init", folder / "three.onnx"]
    status, _, err = call("vnet-train", "--data", folder / "cases.csv", "-o", folder / "no.onnx", *words)
    assert status == 2 and "scans of 3 channels, the data has 1" in err, err
    refused(2, "rules for intensities: 2, but 3 channels", "--label-table", folder / "table.csv", "--intensity",
            "zscore; none", "--width", "3", data="three.csv")


def volumes_are_channels():
    """The channels in one file, as the Medical Segmentation Decathlon has them, in memory or on disk: the weights,
    scores and maps of a file for each, bit for bit. In another order the same under --init."""
    for number in range(2):
        parts = [nibabel.load(folder / f"s{number}{name}.nii.gz").get_fdata(dtype=np.float32) for name in ("", "_t2", "_flair")]
        for name, order in (("msd", (0, 1, 2)), ("other", (2, 0, 1))):
            stack = np.stack([parts[c] for c in order], 3)
            nibabel.save(nibabel.Nifti1Image(stack, np.eye(4)), folder / f"{name}{number}.nii.gz")
        nibabel.save(nibabel.Nifti2Image(np.stack(parts, 3)[:, :, :, None], np.eye(4)), folder / f"five{number}.nii")
    splits, label = ("train", "train", "validation"), "label.nii.gz"

    def cases(name, head, fields):
        rows = [f"{fields.replace('#', str(k % 2))},{label},{split}" for k, split in enumerate(splits)]
        (folder / name).write_text(f"{head},label,split\n" + "\n".join(rows) + "\n")

    cases("apart.csv", "image_t1,image_t2,image_flair", "s#.nii.gz,s#_t2.nii.gz,s#_flair.nii.gz")
    cases("msd.csv", "image_t1;t2;flair", "msd#.nii.gz")
    cases("five.csv", "image_t1;t2;flair", "five#.nii")
    cases("two.csv", "image_t1;t2;flair", "s#.nii.gz; s#_t2.nii.gz; s#_flair.nii.gz")
    cases("other.csv", "image_FLAIR;t1;T2", "other#.nii.gz")
    cases("bare.csv", "image", "msd#.nii.gz")
    cases("fields.csv", "image", "s#.nii.gz;s#_t2.nii.gz;s#_flair.nii.gz")
    small = ["--patch", "16x16x16", "--stages", "2", "--steps", "4", "--validate-every", "2", "--intensity",
             "zscore; percentile 1 99; none", "--threads", "2"]

    def trained(name, *more):
        model, note = train(f"v_{name}.onnx", *small, "--log", folder / f"v_{name}.csv", "--validation-maps",
                            folder / f"v_{name}", *more, data=f"{name}.csv")
        maps = {p.name.split("-")[0]: np.asanyarray(nibabel.load(p).dataobj) for p in (folder / f"v_{name}").iterdir()}
        scores = [[v for k, v in row.items() if k != "case"] for row in rows(f"v_{name}.validation.csv")]
        assert maps.keys() == {"4"} and maps["4"].shape == (32, 28, 24) and len(scores) == 6, (maps.keys(), scores)
        return model, maps["4"].tobytes(), scores, "no names" in note

    apart = trained("apart")
    assert not apart[3]
    for name, more in (("msd", []), ("five", ["--cache-limit", "1"]), ("two", [])):
        assert trained(name, *more) == apart, name
    bare = trained("bare")
    assert bare == trained("fields") and bare[3] and bare[0] != apart[0] and bare[2] == apart[2]  # but for the names
    more = ["--init", folder / "v_apart.onnx", "--patch", "16x16x16", "--steps", "2", "-q"]
    again = train("i1.onnx", *more, data="msd.csv")[0]
    assert again == train("i2.onnx", *more, data="other.csv")[0] != train("i3.onnx", *more, "--seed", "2", data="msd.csv")[0]
    plan = [call("vnet-train", "--plan", folder / name, "-q")[1].replace(name, "") for name in ("apart.csv", "msd.csv", "bare.csv")]
    assert "3 cases of 3 channels" in plan[0] and plan[0] == plan[1] == plan[2], plan
    # Other names for the same volumes are another run.
    table = ["--label-table", folder / "table.csv"]
    (folder / "swapped.csv").write_text((folder / "msd.csv").read_text().replace("t1;t2", "t2;t1"))
    resumed = ["--init", folder / "v_apart.onnx", "--patch", "16x16x16", "-q", "--steps", "3"]
    train("i1.onnx", *resumed, data="msd.csv")
    status, _, err = call("vnet-train", "--data", folder / "swapped.csv", "-o", folder / "i1.onnx", *table, *resumed,
                          "--resume")
    assert status == 4 and "another run" in err, (status, err)
    for text in ("--plan", "--data"):
        words = [text, folder / "wrong.csv", *(["-o", folder / "no.onnx", *table] if text == "--data" else [])]
        (folder / "wrong.csv").write_text(f"image,label\nmsd0.nii.gz,{label}\ns1.nii.gz,{label}\n")
        status, _, err = call("vnet-train", *words, "-q")
        assert status == 4 and "line 3: " in err and "has 1 volume in 1 file, and the first case has 3" in err, err
        (folder / "wrong.csv").write_text("image,label\nmsd0.nii.gz,msd1.nii.gz\n")
        status, _, err = call("vnet-train", *words, "-q")
        assert status == 5 and "line 2: " in err and "it has 3 volumes, and a label map has one" in err, err
    status, _, err = call("vnet-train", "--labels", folder, "-o", folder / "no.onnx", "-q")
    assert status == 5 and "and a label map has one" in err, err


def plans_can_be_followed():
    """Of three CTs, one of them with thick slices: the command that is printed trains."""
    random = np.random.default_rng(4)
    for number, slices in enumerate((20, 20, 5)):
        label = np.zeros((40, 36, slices), np.uint8)
        label[10:20, 10:20, 1:-1] = 1
        image = random.normal(np.where(label, 60, -1000), 10)
        image[-1] = np.linspace(-1000, 1000, image[-1].size).reshape(image[-1].shape)  # or the air would be filling
        grid = np.diag([0.7, 0.7, 60 / slices, 1])
        nibabel.save(nibabel.Nifti1Image(image.astype(np.int16), grid), folder / f"ct{number}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(label, grid), folder / f"ct{number}_seg.nii.gz")
    (folder / "it's.csv").write_text("image,label\n" + "".join(f"ct{n}.nii.gz,ct{n}_seg.nii.gz\n" for n in range(3)))
    status, told, err = call("vnet-train", "--plan", folder / "it's.csv", "-q", "--memory-limit", "400M")
    assert status == 0 and not err, err
    words = told.split("\n", 2)[2]
    assert "3 cases, 0 without labels" in told and ", CT" in told, told
    assert "--classes 2 --spacing '0.7 0.7 3'" in words, told  # the tenth percentile of 3, 3 and 12
    low, high = map(float, words.split("window ")[1].split("'")[0].split())
    assert 20 < low < 40 and 80 < high < 100, told
    assert "--patch 24x40x40 --width 16 --stages 4" in words, told
    command = f"'{bin_dir}'/{words.strip()} --steps 1 --threads 1 -q".replace("MODEL", f"{folder}/planned")
    subprocess.run(["sh", "-c", command], check=True, timeout=300)
    assert (folder / "planned.onnx").exists()
    # The same window as that of a CT, beside another rule for what is none: learnt the same, and --init has it, too.
    rule, logs = f"zscore, ct {low:g} {high:g}", []
    for intensity in (f"window {low:g} {high:g}", rule):
        words = ["--intensity", intensity, "--patch", "16x16x8", "--stages", "2", "--steps", "2", "--classes", "2",
                 "--log", folder / "ct.csv"]
        model, note = train("ct.onnx", *words, data="it's.csv", table=None)
        logs.append([row.split(",")[:5] for row in (folder / "ct.csv").read_text().split()])
    assert logs[0] == logs[1] and f"a CT's: the network sees {low:g} to {high:g}" in note, (logs, note)
    assert rule.encode() in model
    more, _ = train("more.onnx", "--init", folder / "ct.onnx", "--patch", "16x16x8", "--steps", "1", data="it's.csv", table=None)
    assert rule.encode() in more
    less = call("vnet-train", "--plan", folder / "it's.csv", "-q", "--memory-limit", "100M")[1]
    assert "--width 8" in less, less
    # Beside another channel, one in its file: a rule for each.
    for number in range(3):
        image = nibabel.load(folder / f"ct{number}.nii.gz")
        both = np.stack([random.normal(9, 1, image.shape), image.get_fdata()], 3).astype(np.float32)
        both[0, 0, 0, 0] = -600  # a voxel makes no CT
        nibabel.save(nibabel.Nifti1Image(both, image.affine), folder / f"pet{number}.nii.gz")
    (folder / "pet.csv").write_text("image_pet;ct,label\n" + "".join(f"pet{n}.nii.gz,ct{n}_seg.nii.gz\n" for n in range(3)))
    both = call("vnet-train", "--plan", folder / "pet.csv", "-q", "--memory-limit", "400M")[1]
    assert "3 cases of 2 channels" in both and f"--intensity 'zscore; window {low:g} {high:g}'" in both, both
    status, told, err = call("vnet-train", "--plan", folder / "it's.csv", "-q", "--memory-limit", "1M")
    assert status == 6 and "not even the smallest patch" in err and not told, (status, err)
    refused(2, "--plan only looks", "--plan", folder / "it's.csv")
    # What decided is part of the command; what could not is refused.
    status, told, err = call("vnet-train", "--plan", folder / "it's.csv", "-q", "--orientation", "SAR", "--member", "vnet",
                             "--batch", "2", "--memory-limit", "800M")
    assert status == 0 and "--member vnet --batch 2 --orientation SAR -o MODEL.onnx" in told, (told, err)
    for word, value in (("label-table", folder / "table.csv"), ("spacing", "1"), ("width", "4"), ("steps", "9")):
        status, told, err = call("vnet-train", "--plan", folder / "it's.csv", "-q", f"--{word}", value)
        assert status == 2 and f"no --{word} beside it" in err and not told, (told, err)


def means_are_resumed():
    words = [*SMALL, "--optimizer", "sgd", "--rate", "0.01", "--ema", "0.9", "--every", "5", "--threads", "1"]
    whole, _ = train("whole.onnx", *words, "--steps", "10")
    half, _ = train("half.onnx", *words, "--steps", "5")
    again, _ = train("half.onnx", *words, "--steps", "10", "--resume")
    assert again == whole != half
    status, _, err = call("vnet-train", "--data", folder / "cases.csv", "-o", folder / "half.onnx", *words, "--steps",
                          "20", "--resume", "--label-table", folder / "rest.csv")
    assert status == 4 and "another run" in err, err
    plain, _ = train("plain.onnx", *words[:-6], "--steps", "10", "--threads", "1")
    assert plain != whole


def heads_are_changed():
    """The body is the old one, byte for byte, where nothing is learnt."""
    words = ["--member", "vnet-caffe", *SMALL]
    old, _ = train("old.onnx", *words, "--steps", "1")
    again = ["--patch", "16x16x16", "--init", folder / "old.onnx", "--steps", "1", "--rate", "0"]
    new, note = train("new.onnx", *again, table="rest.csv")
    assert "tells 4 classes apart: for 2 it gets a new head" in note and "ball" in str(new), note
    other, _ = train("strange.onnx", *words, "--steps", "1", "--seed", "2")
    shares = [np.mean([old[i:i + 32] in model for i in range(0, len(old) - 32, 32)]) for model in (new, other)]
    assert shares[0] > 0.6 and shares[1] < 0.2, shares
    assert call("vnetc", folder / "new.onnx", "-o", folder / "new.plan")[0] == 0
    assert "classes=2" in call("vnet-plan", folder / "new.plan")[1]
    more, _ = train("more.onnx", "--patch", "16x16x16", "--init", folder / "new.onnx", "--steps", "2", "-q")
    assert call("vnetc", folder / "more.onnx", "-o", folder / "new.plan")[0] == 0
    assert "classes=4" in call("vnet-plan", folder / "new.plan")[1]


def cases_lie_on_disk():
    words = [*SMALL, "--steps", "4", "--threads", "1"]
    in_memory, _ = train("memory.onnx", *words)
    on_disk, _ = train("disk.onnx", *words, "--cache-limit", "1")
    assert in_memory == on_disk
    # More of them than a process may have files open.
    (folder / "hundred.csv").write_text("image,label\n" + 100 * "s0.nii.gz,label.nii.gz\n")
    words = [str(w) for w in (bin_dir / "vnet-train", "--data", folder / "hundred.csv", "-o", folder / "hundred.onnx", *words,
                              "--label-table", folder / "table.csv", "--cache-limit", "1")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    assert done.returncode == 0, done.stderr
    assert not list(folder.glob("*.cases*"))


def refusals():
    table = ["--label-table", folder / "table.csv"]
    refused(4, "which the table of labels does not name; a row 'others' says what", "--label-table", folder / "short.csv")
    refused(4, "--label-table says what other values mean", "--classes", "5")
    refused(2, "the table of labels has 4", *table, "--classes", "3")
    refused(2, "no --label-names and no --ignore", *table, "--label-names", "a,b,c")
    refused(2, "3 weights, but 4 classes", *table, "--class-weights", "1,2,3")
    refused(2, "--class-weights: expected a number", *table, "--class-weights", "1,0,3,4")
    refused(2, "--ignore 1: that is one of the 3 classes", "--classes", "3", "--ignore", "1")
    refused(2, "--ema: expected a number", *table, "--ema", "1")
    refused(3, "No such file", "--label-table", folder / "absent.csv")


phantoms_make()
a_table_says_it_all()
best_says_what_it_scored()
sides_are_inherited()
regions_are_no_labels()
folds_are_parts()
patients_are_told_apart()
channels_have_names()
volumes_are_channels()
plans_can_be_followed()
means_are_resumed()
heads_are_changed()
cases_lie_on_disk()
refusals()
print("learnt from a table, with means, under new heads, from disk; refused")
