"""Blended class probabilities of a scan against MONAI's sliding_window_inference around ONNX Runtime.

    run_window.py BIN_DIR FIXTURES_DIR GOLDEN_DIR

The golden is written by tests/peers/onnx_window.py; the scan is the same formula here and there.
"""
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

bin_dir, fixtures, golden = (pathlib.Path(a) for a in sys.argv[1:4])
want = np.load(golden / "window" / "blend.npy")
d, h, w = np.meshgrid(*(np.arange(n) for n in (37, 41, 50)), indexing="ij")
scan = (np.sin(d * 0.9 + h * 0.35) + np.cos(w * 0.7 - h * 0.2) + (d * h * w % 7) / 7).astype(np.float32)
with tempfile.TemporaryDirectory(prefix="vnet-window-") as name:
    folder = pathlib.Path(name)
    nibabel.save(nibabel.Nifti1Image(scan.transpose(2, 1, 0), np.eye(4)), folder / "scan.nii")

    def run(*words):
        subprocess.run([str(x) for x in words], check=True, capture_output=True)

    def scores(*words):
        run(bin_dir / "vnet-run", folder / "plan", folder / "scan.nii", "--scores",
            folder / "scores.nii", *words)
        return nibabel.load(folder / "scores.nii"), nibabel.load(folder / "scan.seg.nii.gz")

    run(bin_dir / "vnetc", fixtures / "scan" / "blend.onnx", "-o", folder / "plan", "--topology", "any")
    image, labels = scores("--scores-type", "float32")
    have = np.asanyarray(image.dataobj)
    assert have.dtype == np.float32 and image.shape == (50, 41, 37, 3)
    error = np.abs(have.transpose(3, 2, 1, 0)[:, ::2, ::3, ::3] - want).max()
    assert error <= 1e-5, error
    assert np.array_equal(np.asanyarray(labels.dataobj), have.argmax(3))
    packed, _ = scores()
    assert packed.get_data_dtype() == np.uint16
    assert np.abs(packed.get_fdata() - have).max() <= 0.51 / 65535
    # Mirrored along every axis, the average of eight views: no longer the same, and still one.
    mirrored = np.asanyarray(scores("--scores-type", "float32", "--mirror", "dhw")[0].dataobj)
    assert np.abs(mirrored.sum(3) - 1).max() < 1e-5 and np.abs(mirrored - have).max() > 0.01
    # A scan of one window and its mirror image have mirrored results.
    one = np.ascontiguousarray(scan[:16, :24, :20].transpose(2, 1, 0))
    results = []
    for view in (one, one[::-1, ::-1, ::-1].copy()):
        nibabel.save(nibabel.Nifti1Image(view, np.eye(4)), folder / "scan.nii")
        results.append(np.asanyarray(scores("--scores-type", "float32", "--mirror", "dhw")[0].dataobj))
    assert np.abs(results[0] - results[1][::-1, ::-1, ::-1]).max() < 1e-5
    # Where a model tells left from right, its labels change sides with the body's, and with no other axis.
    model = (fixtures / "scan" / "blend.onnx").read_bytes()
    labels = b'[{"value":1,"name":"left","mirror":2},{"value":2,"name":"right","mirror":1}]'
    entry = bytes([10, 11]) + b"vnet.labels" + bytes([18, len(labels)]) + labels
    (folder / "sided.onnx").write_bytes(model + bytes([14 << 3 | 2, len(entry)]) + entry)  # ModelProto.metadata_props
    run(bin_dir / "vnetc", folder / "sided.onnx", "-o", folder / "plan", "--topology", "any")
    turned = np.eye(4)[[2, 1, 0, 3]]  # k runs to the right
    for affine, letter, axis, order in ((np.eye(4), "w", 0, [0, 2, 1]), (np.eye(4), "h", 1, [0, 1, 2]),
                                        (turned, "d", 2, [0, 2, 1]), (turned, "w", 0, [0, 1, 2])):
        results = []
        for view in (one, np.flip(one, axis)):
            nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(view), affine), folder / "scan.nii")
            results.append(np.asanyarray(scores("--scores-type", "float32", "--mirror", letter)[0].dataobj))
        assert np.abs(results[0] - np.flip(results[1], axis)[..., order]).max() < 1e-5, (letter, axis)
    nibabel.save(nibabel.Nifti1Image(one, None), folder / "scan.nii")
    done = subprocess.run([bin_dir / "vnet-run", folder / "plan", folder / "scan.nii", "--mirror", "w"],
                          capture_output=True, text=True)
    assert done.returncode == 5 and "labels change sides in mirrored windows" in done.stderr, done
    print(f"largest difference from MONAI and ONNX Runtime: {error:.1e}")
