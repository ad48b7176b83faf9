"""vnet-run as 3D Slicer sees and calls it, and its options in every place that names them.

    run_slicer.py BIN_DIR FIXTURES_DIR SOURCE_DIR

The rules are those of Slicer's ModuleDescription.xsd and of its parser: the elements and their
order, one flag or index to a parameter, values that can be.
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

import nibabel
import numpy as np

bin_dir, fixtures, source = (pathlib.Path(a) for a in sys.argv[1:4])
scratch = tempfile.TemporaryDirectory(prefix="vnet-slicer-")
folder = pathlib.Path(scratch.name)

HEAD = ["category", "index", "title", "description", "version", "documentation-url", "license",
        "contributor", "acknowledgements", "hidden", "logo", "parameters"]
KINDS = {"integer", "integer-vector", "integer-enumeration", "float", "float-vector",
         "float-enumeration", "double", "double-vector", "double-enumeration", "string",
         "string-vector", "string-enumeration", "boolean", "file", "directory", "image", "geometry",
         "point", "pointfile", "region", "table", "transform", "measurement"}
PARTS = {"name", "flag", "longflag", "description", "label", "default", "element", "constraints",
         "channel", "index", "reference"}


def call(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def description():
    status, text, err = call(bin_dir / "vnet-run", "--xml")
    assert status == 0 and not err and text.startswith("<?xml")
    return xml.fromstring(text)


def parameters(module):
    return [p for group in module.findall("parameters") for p in group
            if p.tag not in ("label", "description")]


def schema_holds():
    module = description()
    assert module.tag == "executable"
    order = [HEAD.index(child.tag) for child in module]
    assert order == sorted(order), "elements out of order"
    for need in ("category", "title", "description", "version", "contributor", "parameters"):
        assert module.find(need) is not None, need
    for group in module.findall("parameters"):
        assert set(group.attrib) <= {"advanced"}
        assert [c.tag for c in group][:2] == ["label", "description"]
    names, places = [], []
    for p in parameters(module):
        assert p.tag in KINDS and {c.tag for c in p} <= PARTS, p.tag
        one = {c.tag: (c.text or "").strip() for c in p}
        assert re.fullmatch(r"[A-Za-z_]\w*", one["name"]) and one["label"] and one["description"]
        names.append(one["name"])
        output = one.get("channel") == "output"
        if p.tag in ("image", "file"):
            assert one["channel"] in ("input", "output")
            assert all(e.startswith(".") for e in p.get("fileExtensions").split(","))
        place = one.get("index") or one.get("longflag")
        assert place or (output and p.tag in ("double", "integer", "string")), one["name"]
        if place:
            places.append(place)
        if p.tag.endswith("-enumeration"):
            choices = [c.text for c in p.findall("element")]
            assert len(set(choices)) == len(choices) > 1 and one["default"] in choices
        limits = p.find("constraints")
        if limits is not None:
            low, high, step = (float(limits.find(k).text) for k in ("minimum", "maximum", "step"))
            assert low <= float(one["default"]) <= high and step > 0
        if p.tag == "boolean":
            assert one["default"] == "false", "a flag that is given turns it on"
    assert len(set(names)) == len(names) and len(set(places)) == len(places)
    assert {"0", "1"} <= set(places)


def slicer_calls():
    """The command line that Slicer builds: every flag with its value, then the indexed ones."""
    plan = folder / "levels.plan"
    assert call(bin_dir / "vnetc", fixtures / "scan" / "levels.onnx", "-o", plan, "--topology",
                "any")[0] == 0
    values = np.random.default_rng(5).integers(0, 4, (30, 25, 20)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / "scan.nii")
    words, files = [], {"plan": plan, "scan": folder / "scan.nii"}
    indexed = {}
    for p in parameters(description()):
        one = {c.tag: (c.text or "").strip() for c in p}
        if "index" in one:
            indexed[int(one["index"])] = files[one["name"]]
        elif one.get("channel") == "input":
            continue  # a volume that nobody has chosen
        elif "longflag" in one and p.tag in ("image", "file"):
            files[one["name"]] = folder / f"{one['name']}{p.get('fileExtensions').split(',')[0]}"
            words += [f"--{one['longflag']}", files[one["name"]]]
        elif "longflag" in one and p.tag != "boolean":
            words += [f"--{one['longflag']}", one["default"]]
    back = folder / "return.params"
    status, out, err = call(bin_dir / "vnet-run", "--processinformationaddress", "0x7ffd1234",
                            "--returnparameterfile", back, *words,
                            *(indexed[i] for i in sorted(indexed)))
    assert status == 0, err
    labels = np.asanyarray(nibabel.load(files["output"]).dataobj)
    assert np.array_equal(labels, values)
    assert files["picture"].read_bytes()[:4] == b"\x89PNG" and files["report"].exists()
    promised = [p.find("name").text for p in parameters(description())
                if p.find("index") is None and p.find("longflag") is None]
    given = dict(line.split(" = ") for line in back.read_text().splitlines())
    assert sorted(given) == sorted(promised)
    assert abs(float(given["foreground_ml"]) - np.count_nonzero(values) / 1000) < 1e-6
    steps = [float(x) for x in re.findall(r"<filter-progress>(.*?)</filter-progress>", out)]
    assert steps == sorted(steps) and steps[-1] == 1, out
    assert out.count("<filter-start>") == out.count("<filter-end>") == 1
    assert len(out.splitlines()) == len(steps) + 2 and not err.count("[")


def slicer_gives_channels():
    plan = folder / "inputs2.plan"
    assert call(bin_dir / "vnetc", fixtures / "scan" / "inputs2.onnx", "-o", plan, "--topology", "any")[0] == 0
    best = np.random.default_rng(6).integers(0, 2, (20, 15, 10))
    nibabel.save(nibabel.Nifti1Image(np.where(best == 0, 9, 3).astype(np.float32), np.eye(4)), folder / "pet.nii")
    nibabel.save(nibabel.Nifti1Image(np.full(best.shape, 20, np.int16), np.eye(4)), folder / "ct.nii")
    status, _, err = call(bin_dir / "vnet-run", "--second", folder / "ct.nii", "--output", folder / "two.nii", plan,
                          folder / "pet.nii")
    assert status == 0, err
    assert np.array_equal(np.asanyarray(nibabel.load(folder / "two.nii").dataobj), best)
    # Of one channel a second one is no second scan.
    status, _, err = call(bin_dir / "vnet-run", "--second", folder / "ct.nii", folder / "levels.plan",
                          folder / "pet.nii")
    assert status == 2 and "the network takes one" in err, (status, err)


def options_agree():
    """Slicer's flags exist, and getopt knows what --help lists and the other way round."""
    text = call(bin_dir / "vnet-run", "--help")[1]
    listed = set(re.findall(r"--[a-z][a-z-]+", text))
    known = {"--" + name for name in
             re.findall(r'\{"([a-z-]+)", \w+_argument', (source / "tools/run/options.c").read_text())}
    assert listed == known - {"--processinformationaddress", "--returnparameterfile"}, listed ^ known
    for p in parameters(description()):
        flag = p.find("longflag")
        assert flag is None or "--" + flag.text in known
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) <= 70


for test in (schema_holds, slicer_calls, slicer_gives_channels, options_agree):
    test()
    print(test.__name__.replace("_", " "), flush=True)
