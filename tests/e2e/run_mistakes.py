"""What a new user gets wrong, program by program, and the sentence that names the way out.

    run_mistakes.py BIN_DIR MODEL.onnx

A row: exit status, command, what the one line on standard error has to say. No file may be left.
"""
import gzip
import os
import pathlib
import shlex
import struct
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

from metadata import said

bin_dir, model = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
scratch = tempfile.TemporaryDirectory(prefix="vnet-mistakes-")
folder = pathlib.Path(scratch.name)

MISTAKES = """
2 vnet-run                                          | vnet-run PLAN SCAN
2 vnet-run brain                                    | expected a plan and a scan: vnet-run PLAN SCAN
2 vnet-run t1.nii.gz                                | expected a plan and a scan
2 vnet-run t1.nii.gz brain.plan                     | t1.nii.gz: is a scan; the plan comes before it
2 vnet-run t1.nii.gz brain                          | t1.nii.gz: is a scan; the plan comes before it
2 vnet-run '' t1.nii.gz                             | the plan: the name is empty
2 vnet-run brain ''                                 | the scan: the name is empty
3 vnet-run brian t1.nii.gz                          | no model of this name; models that have a name: brain
3 vnet-run brain.plam t1.nii.gz                     | brain.plam: there is no such file
3 vnet-run ./none/brain.plan t1.nii.gz              | ./none/brain.plan: No such file
4 vnet-run notes.txt t1.nii.gz                      | notes.txt: too short for a plan, which vnetc makes of an ONNX model
4 vnet-run long.txt t1.nii.gz                       | long.txt: not a plan, which vnetc makes of an ONNX model
4 vnet-run cut.plan t1.nii.gz                       | cut.plan: the plan has 5000 bytes and should have
4 vnet-run text.onnx t1.nii.gz                      | text.onnx: not a usable ONNX model
5 vnet-run later.plan t1.nii.gz                     | format version 2.1, this library reads 1.x: compile the model again
5 vnet-run older.plan t1.nii.gz                     | format version 0.1, this library reads 1.x: compile the model again
4 vnet-run level.plan t1.nii.gz                     | vnet-run: the model's vnet.foreground is 'nan', not a number
4 vnet-run levels.plan t1.nii.gz                    | vnet-run: the model's vnet.foreground is '0 1', not a number
4 vnet-run flat.plan t1.nii.gz                      | vnet-run: the model's vnet.spacing_mm is '2 2 0', not three numbers
4 vnet-run order.plan t1.nii.gz                     | vnet-run: the model's vnet.intensity is 'percentile 9.5 00.5', not none
4 vnet-run ends.plan t1.nii.gz                      | vnet-run: the model's vnet.expect holds ' surface 1 nan', not extent
4 vnet-run scored.plan t1.nii.gz                    | vnet-run: the model's vnet.validation_dice is '2 0.9', not LABEL DICE
3 vnet-run brain absent.nii.gz                      | absent.nii.gz: No such file
2 vnet-run brain scans                              | scans: is a folder; where its results go is said with --output-dir
4 vnet-run brain cut.nii.gz                         | cut.nii.gz: truncated
2 vnet-run brain t1.nii.gz --picture                | --picture lacks its file: a .png
2 vnet-run brain t1.nii.gz --picture p.jpg          | p.jpg: pictures are PNG: choose a name that ends in .png
2 vnet-run brain t1.nii.gz --picture=p.tiff         | p.tiff: pictures are PNG
2 vnet-run brain t1.nii.gz --picture=p              | p: pictures are PNG
2 vnet-run brain t1.nii.gz -o out                   | out: the output's name must end in .nii
2 vnet-run brain t1.nii.gz -o scans                 | scans: the output's name must end in .nii
2 vnet-run brain t1.nii.gz --scores p.npy           | p.npy: the output's name must end in .nii
2 vnet-run brain t1.nii.gz -o t1.nii.gz             | t1.nii.gz: is an input, and will not be overwritten
3 vnet-run brain t1.nii.gz -o none/x.nii.gz         | cannot write: there is no folder none/
3 vnet-run brain t1.nii.gz --report none/r.json     | none/r.json: cannot write: there is no folder none/
3 vnet-run brain t1.nii.gz --csv scans              | scans: is a folder, and a file's name is wanted
2 vnet-run brain t1.nii.gz --csv --json             | both go to standard output: name the csv
2 vnet-run brain scans --output-dir o --csv         | are for one scan
2 vnet-run brain t1.nii.gz -o                       | -o lacks its value
2 vnet-run brain t1.nii.gz -x                       | there is no option -x
2 vnet-run brain t1.nii.gz --largest-componant      | there is no option --largest-componant
2 vnet-run brain t1.nii.gz --l                      | --l may be --largest-component or --list
2 vnet-run brain t1.nii.gz --report                 | --report lacks its value
2 vnet-run brain t1.nii.gz --json=yes               | --json takes no value
2 vnet-run brain t1.nii.gz --threads 0.5            | --threads: expected a whole number from 0 to 1024, got 0.5
2 vnet-run brain t1.nii.gz --threads -1             | --threads: expected a whole number from 0 to 1024, got -1
2 vnet-run brain t1.nii.gz --isa sse                | portable, ref
2 vnet-run brain t1.nii.gz --memory-limit 4X        | expected a size such as 800M or 4G
6 vnet-run brain t1.nii.gz --memory-limit 4         | raise the limit to
2 vnet-run brain t1.nii.gz --overlap 50             | --overlap: expected a number from 0 to 0.9, got 50
2 vnet-run brain t1.nii.gz --overlap 0,5            | --overlap: expected a number from 0 to 0.9, got 0,5
2 vnet-run brain t1.nii.gz --mirror xyz             | expected some of the network's axes d, h and w
2 vnet-run brain t1.nii.gz --weighting gauss        | --weighting: expected gaussian or constant
2 vnet-run brain t1.nii.gz --resume                 | are for many scans, with --output-dir
2 vnet-run brain,brain, t1.nii.gz                   | a model's name is missing beside a comma
3 vnet-run brain,fold1.plan t1.nii.gz               | fold1.plan: there is no such file
2 vnet-run brain,brain --tensor x.npy -o y.npy      | --tensor runs one network, and these are 2
2 vnet-run brain --list list.txt                    | --list needs --output-dir
3 vnet-run brain --list none.txt --output-dir l     | none.txt: No such file
2 vnet-run brain empty --output-dir l               | empty: there is no scan in it
4 vnet-run brain --tensor t1.nii.gz -o y.npy        | t1.nii.gz: not a .npy file

2 vnetc                                             | vnetc MODEL.onnx -o FILE.plan
2 vnetc brain.onnx                                  | where the plan goes is missing: vnetc MODEL.onnx -o FILE.plan
2 vnetc brain.onnx x.plan                           | where the plan goes is missing
2 vnetc brain.onnx x.plan -o y.plan                 | expected one model, got 2
2 vnetc brain.onnx -o brain.onnx                    | brain.onnx: is an input, and will not be overwritten
3 vnetc brain.onnx -o none/x.plan                   | none/x.plan: cannot write: there is no folder none/
3 vnetc brain.onnx -o scans                         | scans: is a folder, and a file's name is wanted
3 vnetc absent.onnx -o x.plan                       | absent.onnx: No such file
3 vnetc scans -o x.plan                             | scans: not a regular file
4 vnetc brain.plan -o x.plan                        | brain.plan: is a plan already, which vnet-run takes
4 vnetc net.pt -o x.plan                            | net.pt: is a zip archive, as PyTorch's own files are
4 vnetc net.h5 -o x.plan                            | net.h5: is HDF5
4 vnetc t1.nii.gz -o x.plan                         | t1.nii.gz: is gzipped
4 vnetc notes.txt -o x.plan                         | notes.txt: not a usable ONNX model
2 vnetc brain.onnx -o x.plan --patch 96,112,96      | expected DxHxW such as 64x128x128
2 vnetc brain.onnx -o x.plan --patch 97x112x96      | the model's grid is fixed at 96 along d
2 vnetc brain.onnx -o x.plan --topology unet        | "unet" is no member of the family: vnet,
5 vnetc brain.onnx -o x.plan --topology vnet        | not a vnet: left 1, convolution 1
2 vnetc brain.onnx -o x.plan --conv fourier         | 'fourier' is not auto, winograd
2 vnetc brain.onnx -o x.plan -d q                   | --dump: expected letters of isnbfck, got q
6 vnetc brain.onnx -o x.plan --memory-limit 1M      | brain.onnx: no plan of this network runs in 1 MiB

2 vnet-plan                                         | expected one plan, got 0
4 vnet-plan t1.nii.gz                               | not a plan, which vnetc makes of an ONNX model
2 vnet-plan brain --isa mmx                         | instruction set "mmx" is not one of this build's
2 vnet-plan brain --width 3                         | --width: expected a whole number from 20
2 vnet-bench                                        | expected one plan, got 0
2 vnet-bench brain --repeat 0                       | --repeat: expected a whole number from 1
6 vnet-bench brain --memory-limit 1M                | raise the limit to

2 vnet-model                                        | where the model goes is missing: vnet-model -o MODEL.onnx
2 vnet-model m.onnx                                 | where the model goes is missing
2 vnet-model -o m.onnx n.onnx                       | n.onnx: an argument too many
2 vnet-model -o m.onnx --member unet                | "unet" is no member of the family: vnet,
2 vnet-model -o m.onnx --patch 64x100x100           | every axis has to be a multiple of 16
2 vnet-model -o m.onnx --act relu                   | --act: expected prelu or elu, got relu
2 vnet-model -o m.onnx --tail sigmoid               | --tail: expected none, softmax or logsoftmax, got sigmoid
2 vnet-model -o m.onnx --orientation XYZ            | --orientation: expected three letters
2 vnet-model -o m.onnx --spacing 1                  | --spacing: expected three numbers
2 vnet-model -o m.onnx --intensity minmax           | --intensity: expected none, zscore, 'percentile A B'
2 vnet-model -o m.onnx --labels liver               | --labels: expected JSON

2 vnet-train                                        | what to train on is missing: --data CASES.csv or --labels DIR
2 vnet-train ok.csv -o m.onnx                       | ok.csv: an argument too many; cases come after --data
2 vnet-train --data ok.csv                          | where the model goes is missing: -o MODEL.onnx
3 vnet-train --data absent.csv -o m.onnx            | absent.csv: No such file
4 vnet-train --data semi.csv -o m.onnx              | separated by commas
4 vnet-train --data nohead.csv -o m.onnx            | which the first line has to name
4 vnet-train --data split.csv -o m.onnx             | split is 'test', neither train nor validation
4 vnet-train --data t1.nii.gz -o m.onnx             | not a list of cases
3 vnet-train --data lost.csv -o m.onnx              | lost.csv, line 2: absent.nii.gz: No such file
4 vnet-train --data five.csv -o m.onnx              | the labels are 0 to 1, as many as --classes
3 vnet-train --data ok.csv -o none/m.onnx           | none/m.onnx: cannot write: there is no folder none/
2 vnet-train --data ok.csv -o m.onnx --patch 70x70x70 | every axis has to be a multiple of 8
2 vnet-train --data ok.csv -o m.onnx --classes 1    | --classes: expected a whole number from 2
2 vnet-train --data ok.csv -o m.onnx --orientation XYZ | --orientation: expected three letters, of R or L
2 vnet-train --data ok.csv -o m.onnx --intensity minmax | --intensity: expected none, zscore
2 vnet-train --data ok.csv -o m.onnx --spacing 1,1,1 | expected one number or 'X Y Z'
2 vnet-train --data ok.csv -o m.onnx --label-names a:red | a:red: expected NAME or NAME:#rrggbb
2 vnet-train --data ok.csv -o m.onnx --contrast t1      | --contrast is of scans that --labels renders
2 vnet-train --labels scans -o m.onnx --contrast t2     | --contrast: 't2' is not one of those in --help
2 vnet-train --data ok.csv -o m.onnx --validate-every 5 | need --log FILE.csv
2 vnet-train --data ok.csv -o m.onnx --validate-every 5 --log l.csv | no case is for validation: a column split or --fold says which
4 vnet-train --data ok.csv -o m.onnx --init brain.plan | brain.plan: not a usable ONNX model
"""


def prepare():
    random = np.random.default_rng(5)
    scan = random.normal(0, 1, (40, 40, 40)).astype(np.float32)
    for name, values in (("t1", scan), ("label", (scan > 1).astype(np.uint8)), ("five", (scan > 1).astype(np.uint8) * 5)):
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / f"{name}.nii.gz")
    for name in ("scans", "empty", "l"):
        (folder / name).mkdir()
    for name, text in (("ok", "image,label\nt1.nii.gz,label.nii.gz\n"), ("five", "image,label\nt1.nii.gz,five.nii.gz\n"),
                       ("lost", "image,label\nt1.nii.gz,absent.nii.gz\n"), ("nohead", "t1.nii.gz,label.nii.gz\n"),
                       ("semi", "image;label\nt1.nii.gz;label.nii.gz\n"),
                       ("split", "image,label,split\nt1.nii.gz,label.nii.gz,test\n")):
        (folder / f"{name}.csv").write_text(text)
    (folder / "brain.onnx").symlink_to(model)
    (folder / "list.txt").write_text("t1.nii.gz\n")
    (folder / "notes.txt").write_text("hello\n")
    (folder / "long.txt").write_text("hello\n" * 100)
    (folder / "text.onnx").write_text("hello\n" * 100)
    (folder / "net.pt").write_bytes(b"PK\3\4" + bytes(100))
    (folder / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (folder / "cut.nii.gz").write_bytes((folder / "t1.nii.gz").read_bytes()[:5000])
    subprocess.run([bin_dir / "vnetc", "-q", model, "-o", folder / "brain.plan"], check=True)
    data = model.read_bytes()
    for name, old, new in (("level", b"\x12\x030.1", b"\x12\x03nan"), ("levels", b"\x12\x030.1", b"\x12\x030 1"),
                           ("flat", b"\x12\x052 2 2", b"\x12\x052 2 0"), ("order", b"0.5 99.5", b"9.5 00.5"),
                           ("ends", b"surface 1 8.8", b"surface 1 nan")):
        assert data.count(old) == 1, old
        (folder / "bad.onnx").write_bytes(data.replace(old, new))
        subprocess.run([bin_dir / "vnetc", "-q", folder / "bad.onnx", "-o", folder / f"{name}.plan"], check=True)
    (folder / "bad.onnx").write_bytes(data + said("validation_dice", "2 0.9"))
    subprocess.run([bin_dir / "vnetc", "-q", folder / "bad.onnx", "-o", folder / "scored.plan"], check=True)
    plan = (folder / "brain.plan").read_bytes()
    (folder / "cut.plan").write_bytes(plan[:5000])
    for name, major in (("later", 2), ("older", 0)):
        (folder / f"{name}.plan").write_bytes(plan[:12] + struct.pack("<H", major) + plan[14:])


def main():
    prepare()
    before, bad = set(folder.rglob("*")), 0
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "none")}
    rows = [row.split("|", 1) for row in MISTAKES.splitlines() if row.strip()]
    for command, sentence in rows:
        status, program, *words = shlex.split(command)
        done = subprocess.run([bin_dir / program, *words], capture_output=True, text=True, timeout=60, cwd=folder, env=env)
        left = set(folder.rglob("*")) - before
        right = (done.returncode == int(status) and sentence.strip() in done.stderr and done.stdout == ""
                 and done.stderr.startswith(f"{program}: ") and done.stderr.count("\n") == 1 and not left)
        if not right:
            bad += 1
            print(f"{command.strip()}\n    wanted {sentence.strip()}\n    status {done.returncode}, {done.stderr.strip()!r}, "
                  f"{done.stdout[:80]!r}, left {[p.name for p in left]}")
            for path in left:
                path.unlink()
    print(f"{len(rows)} mistakes, {bad} answered badly")
    return bad > 0


sys.exit(main())
