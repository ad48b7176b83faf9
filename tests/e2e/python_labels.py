"""Checks of run_python.py: however voxels come, the package gives vnet-run's labels."""
import json
import sys
import warnings

import nibabel
import numpy as np
import vnet
from vnet import image as vnet_image

from python_help import (OBLIQUE, SHAPE, SOURCE, VALUES, ball, bin_dir, call, differ, folder, plan, raises,
                         random, scan, vnet_run)


def brain_is_vnet_runs():
    image, seen = nibabel.load(scan), []
    out = folder / "head.seg.nii.gz"
    report = json.loads(call(bin_dir / "vnet-run", plan("brain"), scan, "-o", out, "--json"))
    want = nibabel.load(out)
    with vnet.open(plan("brain")) as model:
        result = model.segment(image, progress=seen.append)
        voxels = result.labels.size  # vnet-run adds the scan as float32, and its labels
        assert model.memory(image) + 5 * voxels == report["memory_bytes"], (model.memory(image), report)
    assert np.array_equal(result.labels, np.asanyarray(want.dataobj))
    assert seen == sorted(seen) and 0 <= seen[0] < 0.2 and seen[-1] == 1 and len(seen) > 5, seen
    assert result.names[1] in result.volumes_ml and len(result.volumes_ml) == len(result.names) - 1
    for entry, have in zip(report["labels"], result.measures):
        assert have.voxels == entry["voxels"] > 0
        assert np.allclose(have.ml, entry["ml"]) and np.allclose(have.centroid_mm, entry["centroid_mm"], atol=1e-3)
        assert np.allclose([have.mean, have.sd, have.soft_ml], [entry["mean"], entry["sd"], entry["soft_ml"]])
    assert result.volumes_ml[result.names[1]] == result.measures[1].ml
    assert result.report.windows == report["windows"] and result.report.network_s > 0
    nibabel.save(result.to_nibabel(), folder / "mine.nii.gz")
    mine = nibabel.load(folder / "mine.nii.gz")
    assert np.array_equal(np.asanyarray(mine.dataobj), result.labels) and mine.get_data_dtype() == np.uint8
    compare_headers(mine.header, want.header)
    print(f"  {result.volumes_ml}, {result.report.network_s:.1f} s in the network", flush=True)


def compare_headers(have, want):
    for field in want.keys():
        if field not in ("descrip", "regular", "extents"):  # who wrote it
            assert np.array_equal(have[field], want[field], equal_nan=have[field].dtype.kind == "f"), (
                field, have[field], want[field])


def options_are_passed_on():
    image = nibabel.Nifti1Image(ball((50, 44, 30)), OBLIQUE)
    plain = None
    with vnet.open(plan("small"), threads=2) as model:
        assert model.threads == 2 and model.patch == (32, 32, 32) and model.orientation == "RAS"
        assert model.channels == 1 and model.intensity == "zscore" and model.spacing_mm is None
        for words, options in (
                ((), {}),
                (("--overlap", "0.25"), {"overlap": 0.25}),
                (("--overlap", "0"), {"overlap": 0}),
                (("--weighting", "constant"), {"weighting": "constant"}),
                (("--mirror", "dh"), {"mirror": "dh"}),
                (("--mirror", "w"), {"mirror": "w"}),
                (("--largest-component",), {"largest_component": True}),
                (("--min-volume-ml", "0.5"), {"min_volume_ml": 0.5})):
            want, report = vnet_run("small", image, *words)
            result = model.segment(image, **options)
            assert np.array_equal(result.labels, np.asanyarray(want.dataobj)), words
            assert len(np.unique(result.labels)) > 1
            assert result.report.windows == report["windows"]
            if plain is None:
                plain = result.labels
            else:
                differ(plain, result.labels)
        result = model.segment(image)
        compare_headers(result.to_nibabel().header, nibabel.load(folder / "out.nii").header)
        for threads in (1, 3):  # to the last bit
            with vnet.open(plan("small"), threads=threads) as other:
                assert [m.soft_ml for m in other.segment(image).measures] == [m.soft_ml for m in result.measures]
        # Windows of background, and voxels that are not finite.
        empty = np.pad(np.full((20, 20, 20), 9, np.float32), ((0, 60), (0, 0), (0, 0)))
        few, all_ = (model.segment(empty, np.eye(4), every_window=e).report for e in (False, True))
        assert few.skipped > 0 == all_.skipped and few.windows == all_.windows, (few, all_)
        empty[3, 4, 5] = np.nan
        raises(vnet.FormatError, "NaN", lambda: model.segment(empty, np.eye(4)))
        assert model.segment(empty, np.eye(4), replace_nan=True).report.replaced_voxels == 1


def layouts_are_one():
    want = np.asanyarray(vnet_run("small", nibabel.Nifti1Image(VALUES, OBLIQUE))[0].dataobj)
    room = np.zeros((60, 40, 50, 2), np.int16)
    room[1:59:2, 3:37, 4:50:2, 1] = VALUES
    record = np.zeros(SHAPE, [("odd", "u1"), ("value", "i2")])
    record["value"] = VALUES
    reverse = np.ascontiguousarray(VALUES[::-1, ::-1, ::-1])
    views = {
        "C": np.ascontiguousarray(VALUES), "F": np.asfortranarray(VALUES), "reversed": reverse[::-1, ::-1, ::-1],
        "permuted": np.ascontiguousarray(VALUES.transpose(1, 2, 0)).transpose(2, 0, 1),
        "within a larger one": room[1:59:2, 3:37, 4:50:2, 1], "unaligned": record["value"],
        "with a fourth axis": VALUES[..., None], "a subclass": VALUES.view(np.memmap)}
    with vnet.open(plan("small")) as model:
        for name, view in views.items():
            seen, = vnet_image.volumes_of(view, OBLIQUE, "RAS", True)
            assert np.shares_memory(seen.voxels, view), f"{name}: a copy"
            result = model.segment(view, OBLIQUE)
            assert np.array_equal(result.labels, want), name
        assert np.array_equal(model.segment(VALUES, OBLIQUE[:3]).labels, want)
        differ(model.segment(VALUES[::-1], OBLIQUE).labels, want)
        # An image and its mirrored view with the mirrored affine are one image.
        turned = OBLIQUE.copy()
        turned[:3, 3] += (SHAPE[1] - 1) * OBLIQUE[:3, 1]
        turned[:3, 1] *= -1
        assert np.array_equal(model.segment(VALUES[:, ::-1], turned).labels, want[:, ::-1])
        # One voxel for all: its strides are all 0, which the library takes for dense.
        one = np.broadcast_to(np.float32(7), (9, 9, 9))
        raises(vnet.UnsupportedError, "every voxel", lambda: model.segment(one, np.eye(4)))
        for out in (np.zeros(SHAPE, np.uint8), np.zeros((*SHAPE[::-1], 3), np.uint16)[..., 1].transpose(2, 1, 0),
                    np.zeros(SHAPE, np.uint8, order="F")[::-1, :, ::-1]):
            result = model.segment(VALUES, OBLIQUE, out=out)
            assert result.labels is out and np.array_equal(out, want)


def types_are_one():
    with vnet.open(plan("small")) as model:
        want = model.segment(VALUES, OBLIQUE).labels
        for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"):
            for order in "<>":
                result = model.segment(VALUES.astype(order + kind), OBLIQUE)
                assert np.array_equal(result.labels, want), order + kind
        low = model.segment((VALUES > 50).astype(np.uint8), OBLIQUE).labels
        differ(low, want)
        assert np.array_equal(model.segment(VALUES > 50, OBLIQUE).labels, low)
        negative = VALUES.astype(np.int16) - 60
        want = np.asanyarray(vnet_run("small", nibabel.Nifti1Image(negative, OBLIQUE))[0].dataobj)
        for kind in ("i1", "i2", "i4", "i8", "f2", "f4", "f8"):
            assert np.array_equal(model.segment(negative.astype(kind), OBLIQUE).labels, want), kind


def worlds_are_one():
    lps = np.diag([-1, -1, 1, 1]) @ OBLIQUE
    with vnet.open(plan("small")) as model:
        want = model.segment(VALUES, OBLIQUE)
        have = model.segment(VALUES, lps, world="LPS")
        assert np.array_equal(have.labels, want.labels)
        assert np.allclose(np.array(have.measures[1].centroid_mm) * [-1, -1, 1], want.measures[1].centroid_mm)
        differ(model.segment(VALUES, lps).labels, want.labels)
        for result in (have, want):
            image = result.to_nibabel()
            assert np.allclose(image.affine, OBLIQUE) and image.header["sform_code"] == 1
        raises(vnet.UnsupportedError, "", lambda: model.segment(VALUES, OBLIQUE, world="UNKNOWN"))
    with vnet.open(plan("levels")) as model:  # trained in no orientation
        image = model.segment(VALUES, OBLIQUE, world="UNKNOWN").to_nibabel()
        assert image.header["sform_code"] == image.header["qform_code"] == 0
        assert np.allclose(image.header.get_zooms(), np.sqrt((OBLIQUE[:3, :3] ** 2).sum(0)))


def files_are_nibabels():
    def saved(image, name="saved.nii"):
        nibabel.save(image, folder / name)
        return nibabel.load(folder / name)

    turn = np.linalg.qr(OBLIQUE[:3, :3])[0]
    rigid = np.eye(4)
    rigid[:3, :3] = turn * np.sign(np.diag(turn)) * [2, 1.5, 1]
    qform = nibabel.Nifti1Image(VALUES, None)
    qform.set_qform(rigid, 1)
    micron = nibabel.Nifti1Image(VALUES, OBLIQUE @ np.diag([1000, 1000, 1000, 1]))
    micron.header.set_xyzt_units("micron")
    scaled = nibabel.Nifti1Image(VALUES, OBLIQUE)
    scaled.header.set_slope_inter(0.37, -11)
    kinds = {
        "NIfTI-1": nibabel.Nifti1Image(VALUES, OBLIQUE), "NIfTI-2": nibabel.Nifti2Image(VALUES, OBLIQUE),
        "4D": nibabel.Nifti1Image(VALUES[..., None], OBLIQUE), "qform": qform, "micron": micron, "scaled": scaled,
        "big-endian": nibabel.Nifti1Image(VALUES.astype(">i2"), OBLIQUE, nibabel.Nifti1Header(endianness=">")),
        "float64": nibabel.Nifti1Image(VALUES.astype(float), OBLIQUE)}
    with vnet.open(plan("small")) as model, vnet.open(plan("levels")) as levels:
        for name, image in kinds.items():
            loaded = saved(image)
            want, report = vnet_run("small", loaded)
            result = model.segment(loaded)
            assert np.allclose([m.ml for m in result.measures], [e["ml"] for e in report["labels"]], 1e-6, 0), name
            assert np.array_equal(result.labels, np.asanyarray(want.dataobj).reshape(SHAPE)), name
            mine = result.to_nibabel()
            assert mine.shape == want.shape and type(mine) is type(want), name
            nibabel.save(mine, folder / "mine.nii")
            endian = want.header.as_byteswapped(mine.header.endianness)
            compare_headers(nibabel.load(folder / "mine.nii").header, endian)
        # Stored voxels are taken as they are, scaling apart: zscore hides it, levels does not.
        loaded = saved(scaled)
        assert vnet_image.volumes_of(loaded, None, "RAS", True)[0].voxels.dtype == np.int16
        differ(levels.segment(loaded).labels, levels.segment(VALUES, OBLIQUE).labels)
        assert np.array_equal(levels.segment(loaded).labels, levels.segment(loaded.get_fdata(), OBLIQUE).labels)
        # A pair of files, whose header nibabel has another class for; what is not NIfTI.
        pair = saved(nibabel.Nifti1Pair(VALUES, OBLIQUE), "saved.img")
        assert isinstance(pair, nibabel.Nifti1Pair) and not isinstance(pair, nibabel.Nifti1Image)
        vnet_run("small", pair)
        nibabel.save(model.segment(pair).to_nibabel(), folder / "mine.nii")
        compare_headers(nibabel.load(folder / "mine.nii").header, nibabel.load(folder / "out.nii").header)
        mgh = saved(nibabel.MGHImage(VALUES, OBLIQUE.astype("f4")), "saved.mgz")
        result = model.segment(mgh)
        assert np.array_equal(result.labels, model.segment(VALUES, OBLIQUE).labels)
        assert np.allclose(result.to_nibabel().affine, OBLIQUE, atol=1e-4)
        # What does not say how it lies.
        lost = nibabel.Nifti1Image(VALUES, None)
        raises(vnet.UnsupportedError, "", lambda: model.segment(saved(lost)))
        raises(vnet.UnsupportedError, "", lambda: model.segment(lost))
        both = nibabel.Nifti1Image(VALUES, OBLIQUE)
        both.set_qform(np.diag([-1, 1, 1, 1]), 1)
        raises(vnet.UnsupportedError, "", lambda: model.segment(saved(both)))
        for kind in (nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage, nibabel.Spm2AnalyzeImage):
            raises(vnet.UnsupportedError, "", lambda: model.segment(saved(kind(VALUES, None), "lost.img")))
        known = model.segment(saved(nibabel.Spm2AnalyzeImage(VALUES, OBLIQUE), "known.img"))  # by its .mat
        assert np.array_equal(known.labels, model.segment(VALUES, OBLIQUE).labels)
        # A sform that is no matrix, beside a qform: as vnet-run.
        zero = nibabel.Nifti1Image(VALUES, None)
        zero.set_qform(rigid, 1)
        want = model.segment(saved(zero)).labels
        zero.set_sform(rigid, 1)
        nibabel.save(zero, folder / "saved.nii")
        raw = bytearray((folder / "saved.nii").read_bytes())
        raw[280:328] = bytes(48)  # srow_x, srow_y, srow_z
        (folder / "saved.nii").write_bytes(raw)
        zero = nibabel.load(folder / "saved.nii")
        assert not zero.affine[:3, :3].any()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            result = model.segment(zero)
        assert ["its qform is used" in str(w.message) for w in said] == [True]
        assert np.array_equal(result.labels, want) and result.to_nibabel().header["sform_code"] == 1
        # Memory is known without voxels.
        loaded = saved(kinds["NIfTI-1"], "gone.nii")
        (folder / "gone.nii").unlink()
        assert model.memory(loaded) == model.memory(VALUES, OBLIQUE) > model.memory_bytes > 0


def probabilities_are_vnet_runs():
    image = nibabel.Nifti1Image(VALUES, OBLIQUE)
    with vnet.open(plan("small")) as model:
        for kind in ("float32", "uint16"):
            vnet_run("small", image, "--scores", folder / "scores.nii", "--scores-type", kind)
            want = nibabel.load(folder / "scores.nii")
            result = model.segment(image, probabilities=kind)
            have = result.probabilities
            assert have.shape == (3, *SHAPE) and have.dtype == kind
            nibabel.save(result.probabilities_to_nibabel(), folder / "mine.nii")
            mine = nibabel.load(folder / "mine.nii")
            assert np.array_equal(np.asanyarray(mine.dataobj), np.asanyarray(want.dataobj))
            compare_headers(mine.header, want.header)
            if kind == "float32":
                assert np.array_equal(have.argmax(0), result.labels)
                assert np.abs(have.sum(0) - 1).max() < 1e-5
        assert model.segment(image).probabilities is None
        raises(vnet.ArgumentError, "not asked for", model.segment(image).probabilities_to_nibabel)


def channels_are_a_list():
    with vnet.open(plan("small")) as model:
        assert np.array_equal(model.segment([VALUES], OBLIQUE).labels, model.segment(VALUES, OBLIQUE).labels)
        raises(vnet.ArgumentError, "no image", lambda: model.segment([], OBLIQUE))
        raises(vnet.Error, "", lambda: model.segment([VALUES, VALUES], OBLIQUE))
    with vnet.open(plan("pair")) as model:
        assert model.channels == 2 and model.channel_names == (None, None)
        other = np.asfortranarray(ball(), np.float32)
        a = model.segment([VALUES, other], OBLIQUE)
        b = model.segment([nibabel.Nifti1Image(VALUES, OBLIQUE), nibabel.Nifti1Image(other, OBLIQUE)])
        assert np.array_equal(a.labels, b.labels) and len(np.unique(a.labels)) > 1
        differ(a.labels, model.segment([other, VALUES], OBLIQUE).labels)
        stack = np.stack([VALUES, other], 3)
        stacked = nibabel.Nifti1Image(stack.astype(np.float32), OBLIQUE)
        for together in ((stack, OBLIQUE), (stack[:, :, :, None], OBLIQUE), (stacked,)):
            result = model.segment(*together)
            assert np.array_equal(a.labels, result.labels)
        assert result.to_nibabel().shape == SHAPE and model.memory(stacked) == model.memory(stack, OBLIQUE)
        assert np.array_equal(a.labels, np.asanyarray(vnet_run("pair", stacked)[0].dataobj))
        for wrong in (VALUES, [VALUES], [VALUES] * 3, [VALUES, other[1:]], np.stack([VALUES] * 3, 3), {"a": VALUES}):
            raises(vnet.Error, "", lambda: model.segment(wrong, OBLIQUE))
        # Brought onto the first one's grid: half of it is not there.
        half = model.segment([VALUES, other[:, 17:]], [OBLIQUE, OBLIQUE @ _shift(0, 17, 0)], match_grids=True)
        differ(half.labels, a.labels)
        more = model.memory([VALUES, other[1:]], [OBLIQUE] * 2, match_grids=True)
        assert more >= model.memory([VALUES, other], OBLIQUE) + 4 * VALUES.size
        raises(vnet.UnsupportedError, "match_grids", lambda: model.segment(
            [VALUES, other[:, 17:]], [OBLIQUE, OBLIQUE @ _shift(0, 17, 0)]))
    with vnet.open(plan("channels4")) as model:
        names = ("T1", "T1ce", "T2", "FLAIR")
        assert model.channel_names == names and model.regions == 0
        four = {name: random.uniform(0, top, (18, 14, 9)) for name, top in zip(names, (10, 20, 40, 80))}
        want = model.segment(list(four.values()), np.eye(4)).labels
        turned = {name.lower(): four[name] for name in names[::-1]}
        assert np.array_equal(model.segment(turned, np.eye(4)).labels, want)
        raises(vnet.ArgumentError, "the model's are", lambda: model.segment({"T1": VALUES}, np.eye(4)))
        raises(vnet.UnsupportedError, "exclude", lambda: model.segment(turned, np.eye(4), regions=True))


def _shift(*ijk):
    matrix = np.eye(4)
    matrix[:3, 3] = ijk
    return matrix


def regions_are_vnet_runs():
    image = nibabel.Nifti1Image(random.uniform(0, 4, (20, 18, 13)).astype(np.float32), np.eye(4))
    want, _ = vnet_run("regions", image, "--regions", folder / "each.nii", "--scores", folder / "p.nii")
    with vnet.open(plan("regions")) as model:
        assert model.regions == 3 and len(model.labels) == 4
        result = model.segment(image, regions=True, probabilities="uint16")
    each = np.asanyarray(nibabel.load(folder / "each.nii").dataobj)
    assert np.array_equal(result.labels, np.asanyarray(want.dataobj)) and len(np.unique(result.labels)) == 4
    assert result.regions.dtype == np.uint8 and np.array_equal(np.moveaxis(result.regions, 0, 3), each)
    stored = nibabel.load(folder / "p.nii").dataobj.get_unscaled()
    assert np.array_equal(np.moveaxis(result.probabilities, 0, 3), stored)
    assert np.array_equal(result.regions, result.probabilities[1:] >= 32768)


def averages_are_vnet_runs():
    image = nibabel.Nifti1Image(ball((100, 90, 75)), OBLIQUE)  # long enough to be told of on any machine
    other = folder / "other.plan"
    call(bin_dir / "vnet-model", "--member", "monai", "--width", "4", "--stages", "2", "--classes", "3", "--patch",
         "16x24x20", "--spacing", "1.5 1.5 1.5", "--orientation", "LAS", "-o", folder / "other.onnx")
    call(bin_dir / "vnetc", folder / "other.onnx", "-o", other, "-q")
    nibabel.save(image, folder / "in.nii")
    image = nibabel.load(folder / "in.nii")  # whose affine is now the file's, in float32
    report = json.loads(call(bin_dir / "vnet-run", f"{plan('small')},{other}", folder / "in.nii", "-o",
                             folder / "out.nii", "--json", "-q"))
    want, seen = np.asanyarray(nibabel.load(folder / "out.nii").dataobj), []
    with vnet.open([plan("small"), other]) as model:
        result = model.segment(image, progress=seen.append, probabilities="float32")
        assert model.memory(image) + 5 * result.labels.size == report["memory_bytes"]
        assert np.array_equal(result.labels, want) and result.report.windows == report["windows"]
        assert seen == sorted(seen) and seen[-1] == 1 and len(seen) > 3, seen
        cancel = vnet.Cancel()
        for at in (0.2, 0.8):  # in the one model and in the other
            raises(vnet.CancelledError, "cancelled", lambda: model.segment(
                image, cancel=cancel, progress=lambda done: done > at and cancel.press()))
            cancel = vnet.Cancel()
        assert np.array_equal(model.segment(image).labels, want)
    with vnet.open(plan("scored")) as one, vnet.open(other) as two, vnet.open(plan("pair")) as pair:
        apart = [m.segment(image, probabilities="float32").probabilities for m in (one, two)]
        assert np.abs(result.probabilities - (apart[0] + apart[1]) / 2).max() < 1e-6
        alone, memory = one.segment(image).labels, (one.memory_bytes, two.memory_bytes)
        raises(vnet.ArgumentError, "takes 2 channels, and the first model 1", lambda: one.add(pair))
        raises(vnet.ArgumentError, "with itself", lambda: one.add(one))
        assert pair.channels == 2 and np.array_equal(one.segment(image).labels, alone)
        assert np.array_equal(one.validation_dice, (np.nan, np.nan, 0.25), equal_nan=True) and two.validation_dice is None
        one.add(two)
        assert one.validation_dice is None
        assert one.memory_bytes == sum(memory) and np.array_equal(one.segment(image).labels, want)
        differ(alone, want)
        raises(vnet.ArgumentError, "closed", lambda: two.segment(image))
        raises(vnet.ArgumentError, "averaged already", lambda: pair.add(one))
    raises(vnet.ArgumentError, "no plans", lambda: vnet.open([]))


def example_runs():
    image = nibabel.Nifti1Image(VALUES, OBLIQUE)
    want, report = vnet_run("small", image, "--largest-component")
    out = call(sys.executable, SOURCE / "examples" / "segment.py", plan("small"), folder / "in.nii",
               folder / "example.nii.gz")
    assert np.array_equal(np.asanyarray(nibabel.load(folder / "example.nii.gz").dataobj), np.asanyarray(want.dataobj))
    assert out.splitlines() == [f"{e['name']}: {e['ml']:.1f} ml" for e in report["labels"][1:]], out


def tensors_are_vnet_runs():
    x = random.standard_normal((1, 1, 32, 32, 32)).astype(np.float32)
    np.save(folder / "x.npy", x)
    call(bin_dir / "vnet-run", plan("small"), "--tensor", folder / "x.npy", "-o", folder / "y.npy")
    seen = []
    with vnet.Plan(plan("small")) as file, vnet.Exec(file) as network:
        y, = network.run([x], progress=seen.append)
        assert np.array_equal(y, np.load(folder / "y.npy")) and seen[-1] == 1 and seen == sorted(seen)
        assert np.array_equal(network.run([x.transpose(0, 1, 4, 3, 2).copy().transpose(0, 1, 4, 3, 2)])[0], y)
        assert file.inputs[0].shape == x.shape and file.outputs[0].shape == y.shape
        assert file.meta("vnet.orientation") == "RAS" and file.meta("vnet.nothing") is None
        assert len(network.steps) > 5 and sum(s.last_ms for s in network.steps) > 0
        assert vnet.Exec.measure(file).arena_bytes == network.info.arena_bytes > 0
        raises(vnet.ArgumentError, "shape", lambda: network.run([x[0]]))
        raises(vnet.ArgumentError, "2 arrays", lambda: network.run([x, x]))
        raises(vnet.ArgumentError, "complex", lambda: network.run([x.astype(complex)]))
        with vnet.Plan(plan("small").read_bytes()) as memory, vnet.Exec(memory, threads=1) as one:
            assert memory.checksum == file.checksum and np.array_equal(one.run([x])[0], y)
        file.close()  # takes effect with network's
        assert np.array_equal(network.run([x])[0], y)
        raises(vnet.ArgumentError, "closed", lambda: vnet.Exec(file))
    with vnet.Plan(plan("levels_argmax")) as file, vnet.Exec(file) as network:
        assert network.run([np.full(file.inputs[0].shape, 2.0)])[0].dtype == np.int64
        assert (network.run([np.full(file.inputs[0].shape, 2.0)])[0] == 2).all()


CHECKS = (tensors_are_vnet_runs, layouts_are_one, types_are_one, worlds_are_one, files_are_nibabels,
          options_are_passed_on, probabilities_are_vnet_runs, channels_are_a_list, regions_are_vnet_runs,
          averages_are_vnet_runs, example_runs, brain_is_vnet_runs)
