"""NRRD and MGH scans against the tools of those who made the formats or read them best: teem's own
unu, and nibabel.

    run_formats.py SCAN_DUMP REAL_SCAN
"""
import gzip
import itertools
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np

dump, real = sys.argv[1], pathlib.Path(sys.argv[2])
scratch = tempfile.TemporaryDirectory(prefix="vnet-formats-")
folder = pathlib.Path(scratch.name)
random = np.random.default_rng(4)
SHAPE = (5, 4, 3)
TYPES = {"unsigned char": "u1", "signed char": "i1", "ushort": "u2", "short int": "i2",
         "unsigned int": "u4", "int32_t": "i4", "uint64": "u8", "long long int": "i8", "float": "f4",
         "double": "f8"}
SIGNS = {"RAS": (1, 1, 1), "left-anterior-superior": (-1, 1, 1), "LAS": (-1, 1, 1),
         "left-posterior-superior": (-1, -1, 1), "LPS": (-1, -1, 1)}
TURN = np.array([[0.1, -1.9, 0.3, 7.7], [1.1, 0.2, -0.4, -80], [0.1, 0.5, 2.8, 33]])  # columns: axes


def unu(*words, data=None):
    done = subprocess.run(["teem-unu", *map(str, words)], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[:600]
    return done.stdout


class Seen:
    """What the reader makes of a file, and what the writer writes for it."""

    def __init__(self, path, ending, *geometry):
        labels = folder / f"labels{ending}"
        out = subprocess.run([dump, path, folder / "seen.npy", labels, *geometry], check=True, text=True,
                             capture_output=True, timeout=20).stdout.split("\n")
        self.voxels, self.labels = np.load(folder / "seen.npy").T, labels
        self.affine = np.array(out[0].split(), float).reshape(3, 4)
        self.unoriented, self.note = out[1], out[2]


def refused(status, text, path, *geometry):
    """In no time, with this status and one line that holds `text`."""
    done = subprocess.run([dump, path, folder / "no.npy", folder / "no.nii", *geometry], text=True,
                          capture_output=True, timeout=10)
    assert done.returncode == status and text in done.stderr, (path, done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1 and not (folder / "no.npy").exists()


def values_of(kind, shape=SHAPE):
    if np.dtype(kind).kind == "f":
        return (random.standard_normal(shape) * 1e3).astype(kind)
    info = np.iinfo(kind)
    return random.integers(info.min, info.max, shape, dtype=kind, endpoint=True)


def same_voxels(seen, values):
    np.testing.assert_allclose(seen.voxels, values.astype(np.float64).astype(np.float32), rtol=2e-7, atol=0)


def vectors(turn):
    return " ".join("(%s)" % ",".join("%.17g" % x for x in turn[:, j]) for j in range(turn.shape[1]))


def fields(path):
    """A NRRD header as teem reads it, which ends with a complaint where teem cannot."""
    unu("save", "-f", "nrrd", "-e", "raw", "-i", path, "-o", folder / "again.nrrd")
    lines = path.read_bytes().split(b"\n\n")[0].decode().splitlines()
    return dict(line.split(":=" if ":=" in line else ": ", 1) for line in lines[1:] if line[0] != "#")


def teem_voxels(path, kind, shape=SHAPE):
    """As teem decodes them."""
    data = unu("save", "-f", "nrrd", "-e", "raw", "-i", path).split(b"\n\n", 1)[1]
    return np.frombuffer(data, kind).reshape(shape, order="F")


# ---- NRRD ----


def nrrd_as_teem_writes_it():
    cases = itertools.product(TYPES.items(), ("little", "big"), ("raw", "gzip", "ascii"))
    for n, ((name, kind), endian, encoding) in enumerate(cases):
        if n % 3 == n // 3 % 3:  # two encodings of each type in each order are enough
            continue
        space, sign = list(SIGNS.items())[n % len(SIGNS)]
        values = values_of(kind)
        if encoding == "ascii" and kind in ("f4", "f8"):
            values = np.rint(values)  # teem prints eight digits
        raw = values.astype(np.dtype(("<" if endian == "little" else ">") + kind)).tobytes(order="F")
        made = unu("make", "-t", name, "-s", *SHAPE, "-en", endian, "-spc", space, "-orig",
                   vectors(TURN[:, 3:]), "-dirs", vectors(TURN[:, :3]), data=raw)
        path = folder / "scan.nrrd"
        order = () if encoding == "ascii" else ("-en", endian)  # unu swaps even what it prints
        unu("save", "-f", "nrrd", "-e", encoding, *order, "-o", path, data=made)
        seen = Seen(path, ".seg.nrrd")
        same_voxels(seen, values)
        np.testing.assert_allclose(seen.affine, TURN * np.array(sign)[:, None], rtol=1e-14)
        assert not seen.unoriented and not seen.note
        if n % 4:
            continue
        was, now = fields(path), fields(seen.labels)
        for field in ("space", "space directions", "space origin"):
            assert was[field] == now[field], field
        index = np.arange(values.size).reshape(SHAPE, order="F") % 7
        assert np.array_equal(teem_voxels(seen.labels, "u1"), index)
        assert np.array_equal(Seen(seen.labels, ".nii").voxels, index)
    assert now["Segment5_LabelValue"] == "6" and "Segment6_ID" not in now
    assert now["Segment0_Name"] == 'piece, of "it"' and now["Segment0_Color"] == "1.0000 0.0000 0.2000"
    assert now["Segment0_Extent"] == "0 4 0 3 0 2" and now["kinds"] == "domain domain domain"


MIN = "NRRD0001\ntype: short\ndimension: 3\nsizes: 5 4 3\nendian: little\nencoding: raw\n"
SPACED = MIN.replace("0001", "0004") + f"space: LPS\nspace directions: {vectors(TURN[:, :3])}\n"


def nrrd_as_people_write_it():
    """What teem reads of text that no program would write."""
    values = values_of("i2")
    raw = values.tobytes(order="F")
    text = "\n".join(" ".join(map(str, row)) for row in values.reshape(5, -1, order="F").T).encode()
    four = SPACED.replace("dimension: 3", "dimension: 4").replace("sizes: 5", "sizes: 1 5")
    four = four.replace("directions: ", "directions: none ") + "kinds: list domain domain domain\n"
    headers = {
        "plain": (MIN, raw),
        "CRLF, comments, keys": (SPACED.replace("\n", "\r\n") + "# a: b\r\nDWMRI_b:=7: 8\r\n\r\n", raw),
        "blanks and case": (MIN.replace("type: short", "Type:  Signed Short Int").replace("raw", "RAW"), raw),
        "spacings": (MIN + "spacings: 1 1.5 -2\n", raw),
        "commas": (MIN.replace("raw", "text") + "\n", text.replace(b" ", b", ")),
        "axis of one": (four, raw),
        "lines": (MIN + "line skip: 2\n\n", b"one\ntwo\n" + raw),
        "lines and bytes": (MIN + "lineskip: 1\nbyte skip: 3\n\n", b"one\nabc" + raw),
        "from the end": (MIN + "byte skip: -1\n\n", b"whatever" + raw),
        "bytes inside gzip": (MIN.replace("raw", "gz") + "line skip: 1\nbyte skip: 3\n\n",
                              b"one\n" + gzip.compress(b"abc" + raw)),
    }
    for name, (head, data) in headers.items():
        path = folder / "people.nrrd"
        head = head if head.endswith("\n\n") or "\r\n\r\n" in head else head + "\n"
        path.write_bytes(head.encode() + data)
        seen = Seen(path, ".nrrd")
        same_voxels(seen, values)
        shape = (1, 5, 4, 3) if name == "axis of one" else SHAPE
        assert np.array_equal(teem_voxels(path, "i2", shape).reshape(SHAPE), values), name
        fields(seen.labels)
        if "directions" in head:
            assert not seen.unoriented
            want = np.diag([-1, -1, 1]) @ np.c_[TURN[:, :3], [0, 0, 0]]
            np.testing.assert_allclose(seen.affine, want, rtol=1e-14)
            assert fields(seen.labels)["space directions"] == vectors(TURN[:, :3])
        else:
            assert "left from right" in seen.unoriented
            size = [1, 1.5, 2] if name == "spacings" else [1, 1, 1]
            assert np.array_equal(seen.affine[:, :3], np.diag(size))
            assert ("size is not given" in seen.note) == (name != "spacings")
        if "directions" not in head:  # FreeSurfer's would have one taken for granted
            done = subprocess.run([dump, path, folder / "x.npy", folder / "x.mgz"], capture_output=True, text=True)
            assert done.returncode == 5 and "an MGH file says how it lies" in done.stderr, done.stderr
    five = MIN.replace("dimension: 3", "dimension: 5").replace("sizes: 5 4 3", "sizes: 5 4 3 4 1")
    for more in ("", "spacings: 1 1.5 2 7 8\n", "kinds: domain domain domain list ???\n"):
        path.write_bytes((five + more + "\n").encode() + 4 * raw)
        refused(5, "4 values for each voxel or a series of volumes", path)
    for space, known in (("scanner-xyz", False), ("3D-right-handed", False), ("RAS", True)):
        path.write_bytes(SPACED.replace("LPS", space).encode() + b"\n" + raw)
        assert ("which does not say" in Seen(path, ".nrrd").unoriented) != known
    path.write_bytes(SPACED.encode() + b'space units: "um" "um" "um"\n\n' + raw)
    np.testing.assert_allclose(Seen(path, ".nrrd").affine, want / 1000, rtol=1e-14)
    path.write_bytes(MIN.replace("little", "big").replace("short", "float").replace("raw", "ascii").encode() +
                     b"\n" + b"nan INF 1e3 -1.5 " + b"0 " * 56)
    assert np.array_equal(Seen(path, ".nrrd").voxels.ravel("F")[:4], [np.nan, np.inf, 1e3, -1.5], equal_nan=True)


def nrrd_in_two_files():
    values = values_of("i2")
    inside, outside = folder / "in", folder / "out.raw"
    inside.mkdir()
    (inside / "a b.raw").write_bytes(b"junk\n" + values.tobytes(order="F"))
    (inside / "a.raw.gz").write_bytes(gzip.compress(values.tobytes(order="F")))
    outside.write_bytes(values.tobytes(order="F"))
    path = inside / "scan.nhdr"
    for more in ("line skip: 1\ndata file: a b.raw\n", "datafile: ./a b.raw\nbyte skip: -1\n\n"):
        path.write_text(MIN + more)
        same_voxels(Seen(path, ".nrrd"), values)
        assert np.array_equal(teem_voxels(path, "i2"), values)
    path.write_text(MIN.replace("raw", "gzip") + "data file: a.raw.gz\n")
    same_voxels(Seen(path, ".nrrd"), values)
    for name in ("../out.raw", str(outside), "sub/a.raw", "..", "", "a\\b.raw"):
        path.write_text(MIN + f"data file: {name}\n")
        refused(5, "must lie beside its header", path)
    for name in ("LIST\na.raw\nb.raw", "LIST 2\nx", "a%02d.raw 1 3 1"):
        path.write_text(MIN + f"data file: {name}\n")
        refused(5, "in several files", path)
    path.write_text(MIN + "data file: absent.raw\n")
    refused(3, "its data file: No such file", path)
    os.mkfifo(inside / "fifo.raw")
    path.write_text(MIN + "data file: fifo.raw\n")
    refused(3, "not a regular file", path)
    path.write_text(MIN.replace("raw", "gzip") + "data file: a b.raw\n")
    refused(4, "not gzipped", path)


def nrrd_is_doubted():
    raw = values_of("i2").tobytes(order="F")
    path = folder / "bad.nrrd"
    made = unu("make", "-t", "short", "-s", *SHAPE, data=raw)
    for encoding in ("hex", "bzip2"):
        unu("save", "-f", "nrrd", "-e", encoding, "-o", path, data=made)
        refused(5, f"in the encoding '{encoding}'", path)
    for old, new, status, text in (
            ("type: short", "type: block", 5, "type 'block'"),
            ("type: short", "type: char", 5, "type 'char'"),
            ("type: short\n", "", 4, "lacks the field 'type'"),
            ("encoding: raw\n", "", 4, "lacks the field 'encoding'"),
            ("endian: little\n", "", 4, "which byte order"),
            ("endian: little", "endian: middle", 4, "which byte order"),
            ("dimension: 3", "dimension: 0", 4, "dimension is '0'"),
            ("dimension: 3", "dimension: 17", 4, "dimension is '17'"),
            ("dimension: 3", "dimension: 3x", 4, "dimension is '3x'"),
            ("dimension: 3", "dimension: 2", 4, "more sizes"),
            ("dimension: 3", "dimension: 4", 4, "not 4 whole numbers"),
            ("sizes: 5 4 3", "sizes: 5 0 3", 4, "whole numbers above 0"),
            ("sizes: 5 4 3", "sizes: 5 -4 3", 4, "whole numbers above 0"),
            ("sizes: 5 4 3", "sizes: 5 4 99999999999999999999", 4, "whole numbers above 0"),
            ("sizes: 5 4 3", "sizes: 4294967296 4294967296 4294967296", 4, "can be counted"),
            ("sizes: 5 4 3", "sizes: 5 4 300000", 4, "truncated"),
            ("sizes: 5 4 3", "sizes: 5 4 2", 0, ""),
            ("dimension: 3\nsizes: 5 4 3", "dimension: 4\nsizes: 2 5 2 3", 5, "values for each voxel"),
            ("dimension: 3\nsizes: 5 4 3", "dimension: 2\nsizes: 20 3", 5, "2 axes of space"),
            ("sizes: 5 4 3", "sizes: 5 4 3\nkinds: vector domain domain", 5, "5 values for each voxel"),
            ("raw\n", "raw\ntype: float\n", 4, "says 'type' twice"),
            ("raw\n", "raw\nnonsense\n", 4, "no field: nonsense"),
            ("raw\n", "raw\n\0: 1\n", 4, "zero byte"),
            ("NRRD0001", "NRRD0001 x", 4, "first line"),
            ("raw\n", "raw\nspace directions: (1,0,0) (0,1,0)\n", 4, "not 3 vectors"),
            ("raw\n", "raw\nspace directions: (1,0,0) (0,1,0) (0,1)\n", 4, "not 3 vectors"),
            ("raw\n", "raw\nspace directions: (1,0,0) (0,1,0) (0,1,0)\n", 4, "not an invertible"),
            ("raw\n", "raw\nspace directions: (1,0,0) (0,1,0) (0,0,inf)\n", 4, "not an invertible"),
            ("raw\n", "raw\nspace directions: (1,0,0) (0,1,0) none\n", 5, "3 values for each voxel"),
            ("raw\n", "raw\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (1,2)\n", 4, "origin"),
            ("raw\n", "raw\nspacings: 1 1\n", 4, "spacings"), ("raw\n", "raw\nspacings: 1 1 0\n", 4, "spacings"),
            ("raw\n", "raw\nspacings: 1 1 nan\n", 4, "spacings"),
            ("raw\n", "raw\nline skip: 9\n", 4, "lines to skip"), ("raw\n", "raw\nline skip: -1\n", 4, "line skip"),
            ("raw\n", "raw\nbyte skip: -2\n", 4, "byte skip"), ("raw\n", "raw\nbyte skip: 1\n", 4, "truncated"),
            ("raw\n", "raw\nbyte skip: 9223372036854775807\n", 4, "truncated"),
            ("raw", "gzip\nbyte skip: -1", 5, "for raw voxels alone"), ("raw", "gzip", 4, "not gzipped"),
            ("raw", "ascii", 4, ""), ("raw\n", "raw\n# " + "x" * (5 << 20) + "\n", 4, "no end within")):
        assert old in MIN
        path.write_bytes(MIN.replace(old, new).encode() + b"\n" + raw)
        if status:
            refused(status, text, path)
        else:
            Seen(path, ".nrrd")
    for size in (0, 1, 59):
        path.write_bytes(MIN.replace("raw", "ascii").encode() + b"\n" + b"7 " * size)
        refused(4, "truncated", path)
    path.write_bytes(MIN.replace("raw", "ascii").encode() + b"\n" + b"7 " * 30 + b"seven " + b"7 " * 30)
    refused(4, "voxel 30 is not a number", path)
    # A bomb: a header that promises little before data that unpack to much.
    path.write_bytes(MIN.replace("raw", "gzip").encode() + b"\n" + gzip.compress(bytes(64 << 20)))
    refused(4, "more than its header", path)
    whole = MIN.replace("raw", "gzip").encode() + b"\n" + gzip.compress(raw)
    for cut in range(5, len(whole), 9):
        path.write_bytes(whole[:cut])
        refused(4, "truncated" if cut <= len(MIN) or cut > len(MIN) + 4 else "", path)


# ---- MGH ----


def mgh_as_nibabel_writes_it():
    affine = np.vstack([TURN, [0, 0, 0, 1]])
    for kind, ending in itertools.product(("u1", "i2", "i4", "f4"), (".mgh", ".mgz")):
        values = values_of(kind)
        path = folder / f"scan{ending}"
        nibabel.save(nibabel.MGHImage(values, affine), path)
        seen = Seen(path, ".seg.mgz")
        same_voxels(seen, values)
        was, now = nibabel.load(path), nibabel.load(seen.labels)
        np.testing.assert_allclose(seen.affine, was.affine[:3], rtol=1e-6, atol=1e-5)
        assert np.array_equal(now.affine, was.affine) and now.get_data_dtype() == np.uint8
        for field in ("delta", "Mdc", "Pxyz_c", "goodRASFlag", "dims"):
            assert np.array_equal(was.header[field], now.header[field]), field
        index = np.arange(values.size).reshape(SHAPE, order="F") % 7
        assert np.array_equal(np.asanyarray(now.dataobj), index)
        nifti = nibabel.load(Seen(path, ".nii.gz").labels)
        np.testing.assert_allclose(nifti.affine, was.affine, atol=1e-5)
        assert np.array_equal(np.asanyarray(nifti.dataobj), index)
    # From the other formats, as far as float32 goes; NIfTI's 16 bits are there, too.
    nibabel.save(nibabel.Nifti1Image(values, affine), folder / "scan.nii")
    for ending in (".mgh", ".mgz"):
        now = nibabel.load(Seen(folder / "scan.nii", ending).labels)
        np.testing.assert_allclose(now.affine, affine, atol=2e-5)
        assert np.array_equal(np.asanyarray(now.dataobj), index)
    now = nibabel.load(Seen(Seen(folder / "scan.nii", ".nrrd").labels, ".nii").labels)
    np.testing.assert_allclose(now.affine, affine, atol=1e-5)


def mgh_is_doubted():
    values = values_of("i2")
    nibabel.save(nibabel.MGHImage(values, np.eye(4)), folder / "one.mgh")
    whole = (folder / "one.mgh").read_bytes()

    def patched(at, form, *numbers):
        (folder / "two.mgh").write_bytes(whole[:at] + struct.pack(form, *numbers) +
                                         whole[at + struct.calcsize(form):])
        return folder / "two.mgh"

    seen = Seen(patched(28, ">h", 0), ".mgh")  # FreeSurfer's default: i to the left, j down, k forwards
    assert np.array_equal(seen.affine, [[-1, 0, 0, 2.5], [0, 0, 1, -1.5], [0, -1, 0, 2]])
    assert "FreeSurfer's default" in seen.note and not seen.unoriented
    assert seen.labels.read_bytes()[28:30] == b"\0\0"
    seen = Seen(patched(20, ">i", 10), ".mgh")  # MRI_USHRT, which nibabel does not know
    same_voxels(seen, values.view("u2"))
    for extent in ((0, "extent of 0"), (-1, "extent of -1"), (2 ** 31 - 1, "truncated")):
        refused(4, extent[1], patched(8, ">i", extent[0]))
    refused(4, "can be counted", patched(4, ">iii", 2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1))
    refused(5, "series of 2 volumes", patched(16, ">i", 2))
    for kind in (2, 5, 6, 7, 9, 11, -1):
        refused(5, "of MGH type", patched(20, ">i", kind))
    for at in (30, 42, 78):
        refused(4, "not an invertible", patched(at, ">f", np.nan))
    refused(4, "not an invertible", patched(30, ">f", 0))
    (folder / "two.mgh").write_bytes(whole + b"\0" * 20 + b"a tag that FreeSurfer left" * 99)
    same_voxels(Seen(folder / "two.mgh", ".mgz"), values)
    (folder / "two.mgh").write_bytes(whole + bytes(2 << 20))
    refused(4, "bytes more than its header", folder / "two.mgh")
    end = 284 + 2 * values.size
    for cut in list(range(4, 284, 31)) + [283, 284, end - 1]:
        (folder / "two.mgh").write_bytes(whole[:cut])
        refused(4, "truncated", folder / "two.mgh")
        (folder / "two.mgz").write_bytes(gzip.compress(whole[:cut]))
        refused(4, "truncated", folder / "two.mgz")
    (folder / "two.mgz").write_bytes(gzip.compress(whole[:end] + bytes(64 << 20)))
    refused(4, "more than its header", folder / "two.mgz")


# ---- NIfTI that others read ----


def nifti_is_read_as_others_read_it():
    """Voxels and affine are nibabel's, and the note says what was done."""
    affine = np.array([[0, 1.5, 0, -8], [-2, 0, 0, 4], [0, 0, 3, -9], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(values_of("i2"), affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    nibabel.save(image, folder / "sound.nii")
    sound = bytearray((folder / "sound.nii").read_bytes())
    path = folder / "odd.nii"
    offset = {name: image.header.template_dtype.fields[name][1] for name in image.header.keys()}
    forms = {"both": {}, "q": {"sform_code": ("<h", 0)}, "s": {"qform_code": ("<h", 0)}}
    qform, sform = forms["q"], forms["s"]

    def odd(changes):
        data = bytearray(sound)
        for name, (form, *numbers) in changes.items():
            name, _, index = name.partition("+")
            struct.pack_into(form, data, offset[name] + int(index or 0), *numbers)
        path.write_bytes(data)
        return path

    zero = {f"srow_{x}": ("<4f", 0, 0, 0, 0) for x in "xyz"}
    for changes, note, reference in (
            ({}, "", True), (qform, "", True), (sform, "", True),
            ({**qform, "pixdim+4": ("<3f", -2, -1.5, -3)}, "pixdim is negative", True),
            ({**qform, "pixdim+4": ("<f", -2)}, "pixdim is negative", True),
            ({**qform, "pixdim+8": ("<f", 0)}, "pixdim is 0", True),
            ({**qform, "pixdim": ("<f", 2)}, "pixdim[0], is 2: 1 is taken", True),
            ({**qform, "pixdim": ("<f", np.nan)}, "pixdim[0], is nan: 1 is taken", True),
            ({**qform, "pixdim": ("<f", 0)}, "", True),
            ({"quatern_b": ("<f", np.nan)}, "qform is not a rotation: its sform is used", True),
            ({"pixdim+4": ("<f", np.nan)}, "the sform is used", True),
            ({**sform, "pixdim+4": ("<f", np.nan)}, "the sform is used", True),
            ({"bitpix": ("<h", 0)}, "bitpix is 0", True), ({"bitpix": ("<h", 64)}, "bitpix is 64", True),
            ({"dim": ("<5h", 4, 5, 4, 3, 1)}, "", True), ({"scl_slope": ("<f", np.inf)}, "not scaled", True),
            # nibabel keeps what makes no sense here: a shape without voxels, a singular affine.
            ({"dim": ("<5h", 4, 5, 4, 3, 0)}, "extent of 0 along axis 4", False),
            ({"dim": ("<8h", 7, 5, 4, 3, 1, 0, -1, 0)}, "extent of -1 along axis 6", False),
            (zero, "its qform is used", False),
            ({"srow_y": ("<4f", *affine[0])}, "its qform is used", False),
            ({"srow_x+4": ("<f", np.nan)}, "its qform is used", False)):
        seen = Seen(odd(changes), ".nii")
        assert note in seen.note and bool(note) == bool(seen.note), (changes, seen.note)
        assert not seen.unoriented, changes
        want, voxels = affine, np.asanyarray(image.dataobj)
        if reference:
            want = nibabel.load(path).affine
        np.testing.assert_allclose(seen.affine, want[:3], atol=1e-5, err_msg=str(changes))
        same_voxels(seen, voxels)
        nibabel.load(seen.labels)
    # How far apart two forms may be before it is said.
    for angle, shift, said in ((0, 0, False), (5, 2, False), (30, 0, True), (0, 40, True), (89, 0, True)):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        moved = affine.copy()
        middle = affine @ [2, 1.5, 1, 1]
        moved[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ affine[:3, :3]
        moved[:3, 3] = middle[:3] - moved[:3, :3] @ [2, 1.5, 1] + [shift, 0, 0]
        seen = Seen(odd({f"srow_{x}": ("<4f", *moved[i]) for i, x in enumerate("xyz")}), ".nii")
        assert (f"{angle} degrees and {shift} mm apart" in seen.note) == said, seen.note
    # Neither form, or two that contradict each other: someone must say.
    flipped = {"srow_x": ("<4f", *-affine[0])}
    plain = [[0, 1.5, 0], [-2, 0, 0], [0, 0, 3]]
    for changes, reason in ((flipped, "different directions"), ({**qform, **sform}, "neither sform nor qform"),
                            ({**sform, **zero}, "not an invertible matrix, and no qform"),
                            ({**qform, "quatern_c": ("<f", np.inf)}, "not a rotation, and no sform"),
                            ({**zero, "quatern_c": ("<f", np.inf)}, "and a qform that is not")):
        assert reason in Seen(odd(changes), ".nii").unoriented
        seen = Seen(path, ".nii", "PRS")
        assert not seen.unoriented and np.array_equal(seen.affine[:, :3], np.array(plain) * 1)
        assert np.allclose(seen.affine @ [2, 1.5, 1, 1], 0)
    assert "contradict" in Seen(odd(flipped), ".nii").note and not Seen(path, ".nii", "qform").note
    seen = Seen(odd({**qform, **sform, "pixdim+4": ("<f", 0)}), ".nii")
    assert seen.unoriented and "pixdim is 0" in seen.note and seen.affine[0, 0] == 1
    odd(flipped)
    assert np.allclose(Seen(path, ".nii", "qform").affine, affine[:3], atol=1e-5)
    assert np.allclose(Seen(path, ".nii", "sform").affine[0], -affine[0], atol=1e-5)
    assert nibabel.aff2axcodes(np.vstack([Seen(path, ".nii", "lpi").affine, [0, 0, 0, 1]])) == ("L", "P", "I")
    refused(2, "has no qform", odd(sform), "qform")
    refused(2, "is not an invertible", odd(zero), "sform")
    for wrong in ("", "RA", "RASR", "RLA", "RRS", "sForm", "XYZ"):
        refused(2, "is not a geometry", path, wrong)
    refused(4, "voxel size is not finite", odd({**qform, **sform, "pixdim+4": ("<f", np.nan)}))
    for unit, factor in (("meter", 1000), ("micron", 0.001), ("mm", 1)):
        image.header.set_xyzt_units(unit)
        nibabel.save(image, path)
        seen = Seen(path, ".nii")
        np.testing.assert_allclose(seen.affine, affine[:3] * factor, rtol=1e-6)
        assert ("its unit is the" in seen.note) == (unit != "mm")
    refused(2, "not a NIfTI file", Seen(path, ".nrrd").labels, "sform")


# ---- what is no scan ----


def others_are_named():
    for name, data, text in (
            ("a.dcm", bytes(128) + b"DICM" + bytes(99), "DICOM file: dcm2niix"),
            ("IM0001", bytes(128) + b"DICM", "DICOM file: dcm2niix"), ("a.nii.bz2", b"BZh91AY", "bunzip2"),
            ("a.nii.xz", b"\xfd7zXZ\0" + bytes(9), "unxz"), ("a.nii.zst", b"\x28\xb5\x2f\xfd" + bytes(9), "unzstd"),
            ("a.zip", b"PK\3\4" + bytes(9), "zip archive"), ("a.mnc", b"\x89HDF\r\n\x1a\n" + bytes(9), "mnc2nii"),
            ("b.mnc", b"CDF\1" + bytes(9), "mnc2nii"), ("a.mha", b"ObjectType = Image\nNDims = 3\n", "MetaImage"),
            ("a.mhd", b"NDims = 3\nDimSize = 2 2 2\n", "MetaImage"), ("a.png", b"\x89PNG\r\n\x1a\n", "PNG picture"),
            ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(9), "JPEG picture"), ("a.tif", b"II*\0" + bytes(9), "TIFF picture"),
            ("a.npy", b"\x93NUMPY\1\0", "numpy array"), ("a.plan", b"VNETPLAN" + bytes(99), "a plan that vnetc"),
            ("a.onnx", b"\x08\x08\x12\x07pytorch" + bytes(9), "ONNX model"),
            ("gz.nrrd", gzip.compress(MIN.encode()), "NRRD file inside gzip"),
            ("tar.gz", gzip.compress(bytes(257) + b"ustar" + bytes(512)), "tar archive")):
        (folder / name).write_bytes(data)
        refused(5, text, folder / name)
    for name, data, text in (("empty.nii", b"", "an empty file"), ("empty.nii.gz", gzip.compress(b""), "an empty file"),
                             ("notes.txt", b"a patient's notes\n", "a text file"), ("rest", b"\1\2\3\4", "not a scan")):
        (folder / name).write_bytes(data)
        refused(4, text, folder / name)
    (folder / "study").mkdir()
    refused(3, "a folder, not a file", folder / "study")
    for i in range(9):
        (folder / "study" / str(i)).write_bytes(bytes(128) + b"DICM")
    refused(5, "folder of DICOM files: dcm2niix", folder / "study")


def nothing_is_waited_for():
    start = time.monotonic()
    os.mkfifo(folder / "fifo.nii")
    refused(3, "not a regular file", folder / "fifo.nii")
    refused(3, "not a regular file", "/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.nii"))
        refused(3, "", folder / "socket.nii")
    (folder / "pair.img").write_bytes(b"")
    os.mkfifo(folder / "pair.hdr")
    refused(3, "not a regular file", folder / "pair.img")
    assert time.monotonic() - start < 5


def names_are_not_trusted():
    """A format is known by content: every format under every other's name."""
    if not real.exists():
        return
    want = np.asanyarray(nibabel.load(real).dataobj)[::4, ::4, ::4]
    nibabel.save(nibabel.Nifti1Image(want, nibabel.load(real).affine), folder / "real.nii.gz")
    nibabel.save(nibabel.MGHImage(want.astype("f4"), nibabel.load(real).affine), folder / "real.mgz")
    for source, name in (("real.nii.gz", "x.mgz"), ("real.mgz", "x.nrrd"), ("real.mgz", "x"), ("real.nii.gz", "x.raw")):
        (folder / name).write_bytes((folder / source).read_bytes())
        same_voxels(Seen(folder / name, ".nrrd"), want)


for test in (nrrd_as_teem_writes_it, nrrd_as_people_write_it, nrrd_in_two_files, nrrd_is_doubted,
             mgh_as_nibabel_writes_it, mgh_is_doubted, nifti_is_read_as_others_read_it, others_are_named,
             nothing_is_waited_for, names_are_not_trusted):
    start = time.monotonic()
    test()
    print(f"{test.__name__.replace('_', ' ')}: {time.monotonic() - start:.1f} s", flush=True)
