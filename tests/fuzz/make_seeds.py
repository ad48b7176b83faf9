"""First inputs for the fuzz targets that need no plan or model, a folder for each target: scans by
nibabel (both versions, byte orders, gzip, odd types; MGH), NRRD, arrays by numpy, and texts.

    make_seeds.py FOLDER
"""
import gzip
import pathlib
import struct
import sys
import zlib

import nibabel
import numpy as np

root = pathlib.Path(sys.argv[1])
golden = pathlib.Path(__file__).resolve().parents[1] / "golden" / "passes"


def put(target, name, content):
    folder = root / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


# ---- scans ----

folder = root / "scan"
folder.mkdir(parents=True, exist_ok=True)
affine = np.array([[-1, 0.1, 0, 5], [0, 1.5, 0.2, -7], [0, 0, 2, 9], [0, 0, 0, 1.0]])
values = np.arange(4 * 5 * 6).reshape(4, 5, 6)


def save(name, kind, dtype, order="<", slope=None):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    image = kind(values.astype(dtype), affine, header)
    image.set_qform(affine, code=1, strip_shears=True)
    image.set_sform(affine, code=2)
    if slope:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, folder / name)


save("one.nii", nibabel.Nifti1Image, np.int16)
save("scaled.nii", nibabel.Nifti1Image, np.uint8, slope=(0.5, -3))
save("big.nii", nibabel.Nifti1Image, np.float32, order=">")
save("two.nii", nibabel.Nifti2Image, np.float64)
save("two_big.nii", nibabel.Nifti2Image, np.int32, order=">")
save("one.nii.gz", nibabel.Nifti1Image, np.float32)
save("two.nii.gz", nibabel.Nifti2Image, np.int16)

nibabel.save(nibabel.MGHImage(values.astype(np.int16), affine), folder / "one.mgh")
nibabel.save(nibabel.MGHImage(values.astype(np.float32), affine), folder / "two.mgz")

FIELDS = """NRRD0004
# a comment
type: short
dimension: 3
space: left-posterior-superior
sizes: 4 5 6
space directions: (1,0.1,0) (0,1.5,0.2) (0,0,2)
kinds: domain domain domain
endian: big
encoding: raw
space origin: (5,-7,9)
Segment0_Name:=brain
"""
BARE = """NRRD0001
type: unsigned short int
dimension: 4
sizes: 4 5 6 1
spacings: 1 1.5 2 nan
units: "mm" "um" "mm" ""
encoding: ascii
"""
raw = values.astype(">i2").tobytes(order="F")
(folder / "raw.nrrd").write_bytes(FIELDS.encode() + b"\n" + raw)
(folder / "gzip.nrrd").write_bytes(FIELDS.replace("raw", "gzip").replace("\n", "\r\n").encode() + b"\r\n" +
                                   gzip.compress(raw))
(folder / "text.nrrd").write_bytes(BARE.encode() + b"\n" + " ".join(map(str, values.ravel())).encode())
# The file in memory is /proc/self/fd/3, mostly: a header whose data file is itself.
(folder / "skips.nhdr").write_bytes(FIELDS.encode() + b"data file: ./3\nline skip: 3\nbyte skip: -1\n\n" + raw)

# ---- arrays ----

for name, array in (("f4", np.zeros((2, 3), "<f4")), ("i8", np.arange(5)), ("scalar", np.float32(1))):
    (root / "npy").mkdir(exist_ok=True)
    np.save(root / "npy" / f"{name}.npy", array)

# ---- tables, lists, texts ----

put("cases", "split", "image,label,split\na.nii,b.nii,train\n\"c,\"\"d\"\"\",e.nii,validation\n")
put("values", "table", "value,class,name,colour,mirror\n17,1,left,#c83232,2\n53,2,right,#3232c8,1\n"
    "10,3,\"grey, all\",,\n49,3,,,\n77,ignore,,,\nothers,0,,,\n")
put("values", "plain", "class,value\n1,1\n2,2\n")
put("cases", "plain", "\xef\xbb\xbflabel, image\r\n x y ,/z\r\n\n")
put("cases", "channels", "image_t1;t2,label\n1.nii; 2.nii,none\n")
put("cases", "columns", "image_t1,label,image_t2\n1.nii,a.nii,2.nii\n")
put("list", "folders", "# scans\na/T1.nii.gz\r\nb/T1.nii.gz\n\na/T1.nii\n./b//../a/T1.nii\n/x/t1_seg.NII\n")
put("table", "log", "step,loss,dice,rate,seconds\n1,0.5,nan,1e-3,2\n2,0.25,.5,1e-3,4\n")
put("table", "quoted", "dice,\"step\",loss,\"a,\"\"b\"\n0,\"1\",-2,x\n")
put("labels", "palette", "\0" + '[{"value": 1, "name": "br\\u00e4in", "colour": "#e6b400"}, '
    '{"value": 2, "color": [1, 2, 255], "more": {"a": [true, null, -1.5e3]}}]')
for i, rule in enumerate(("none", "zscore", "percentile 0.5 99.5", "window -160 240", "zscore, ct 0 80")):
    put("labels", f"rule{i}", "\1" + rule)
put("labels", "numbers", "\2" + "1 0x1p-3 1e30")
put("labels", "scores", "\3" + "1 0.814 3 0.7 2 1")
for text in sorted(golden.glob("*.txt")):
    for i, stage in enumerate(text.read_text().split("\n# ")):
        if len(stage) < 4000:
            put("graph", f"{text.stem}{i}", stage.partition("\n")[2] + "\n")

head = (6, 4, 7, 1, zlib.crc32(b"weight\0" + struct.pack("<Q", 6)), 19, 0)
progress = (0.5, 0.25, 7, 0.5, 0, 0, 0, 0, 0)
identity, floats = b"member vnet\nseed 1\n", struct.pack("<22f", *range(22))
checkpoint = bytearray(b"VNTCKPT3" + struct.pack("<7Q9d", *head, *progress) + identity + floats)
checkpoint[56:64] = struct.pack("<Q", zlib.crc32(bytes(checkpoint)))
put("checkpoint", "whole", bytes(checkpoint))

# ---- metadata, choices, voxels ----

metas = ("vnet.orientation=RAS", "vnet.spacing_mm=1 1.5 2", "vnet.intensity=percentile 0.5 99.5",
         "vnet.intensity=zscore", "vnet.intensity=window -1 1", "vnet.patch=4 4 4",
         'vnet.labels=[{"value": 1, "name": "brain"}]')
for i in range(12):
    rng = np.random.default_rng(i)
    lines = "".join(f"{m}\n" for m in metas[i % len(metas):][:3]) + "\n"
    put("segment", f"case{i}", lines.encode() + rng.integers(0, 256, 160).astype("u1").tobytes())
    put("steps", f"case{i}", rng.integers(0, 256, 120).astype("u1").tobytes())
