"""A user's data set, start to end, following the README: 12 subjects warped from ch2 and its atlas, two channels,
one of them without labels; a model of this trainer and one of MONAI's VNet with MONAI's recipe, both trained for
the same number of patches on the same cores; Dice on a subject that neither has seen, and the time of training.

    python own_data.py --build ../../build [--steps 600] [--threads 2] [--only vnet|monai] [--folder DIR]

Needs MRIcron's templates (Debian: mricron-data). Some 6 minutes for this trainer, 20 for MONAI's on two quiet
cores. Fails where the Dice is worse than MONAI's by more than 0.01, or the time is more than a third of its time.
"""
import argparse
import pathlib
import subprocess
import tempfile
import time

import nibabel
import numpy as np
from scipy import ndimage

TEMPLATES = pathlib.Path("/usr/share/mricron/templates")
MM, PATCH = 3, (48, 64, 48)
# What the atlas calls them, and FreeSurfer's values, which the label maps get.
VALUES = {37: 17, 38: 53, 71: 11, 72: 50, 77: 10, 78: 49, **{cerebellum: 8 for cerebellum in range(91, 117)}}
TABLE = """value,class,name,colour,mirror
17,1,left hippocampus,#c83232,2
53,2,right hippocampus,#ff9090,1
11,3,left caudate,#32c832,4
50,4,right caudate,#90ff90,3
10,5,left thalamus,#3232c8,6
49,6,right thalamus,#9090ff,5
8,7,cerebellum,#c8c832,
"""
CLASS = {17: 1, 53: 2, 11: 3, 50: 4, 10: 5, 49: 6, 8: 7}
UNLABELLED, UNSEEN = 7, 11


def subject_make(folder, number, image, label, affine, random):
    """The template under a random affine map and bend; its contrast as it is and, roughly, turned around."""
    size = [n // MM for n in image.shape]
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")).astype(np.float32) * MM
    centre = np.reshape([n * MM / 2 for n in size], (3, 1, 1, 1))
    turn = random.normal(0, 0.06, (3, 3)) + np.eye(3) * random.uniform(0.92, 1.08)
    place = np.einsum("ij,jxyz->ixyz", turn, grid - centre) + centre + random.normal(0, 3, (3, 1, 1, 1))
    smooth = lambda sd, n: ndimage.zoom(random.normal(0, sd, (n, n, n)), [s / n for s in size], order=3)
    for axis in range(3):
        place[axis] += smooth(6, 5)
    voxels = ndimage.map_coordinates(image, place, order=1)
    labels = ndimage.map_coordinates(label, place, order=0)
    one = voxels * np.exp(smooth(0.1, 4)) * random.uniform(0.7, 1.4) + random.normal(0, 4, size)
    two = (voxels.max() - voxels) * (voxels > 25) * random.uniform(0.7, 1.4) + random.normal(0, 6, size)
    grid_affine = np.diag([MM, MM, MM, 1.0])
    grid_affine[:3, 3] = affine[:3, 3]
    for name, data, kind in (("t1", one, np.float32), ("t2", two, np.float32), ("seg", labels, np.int16)):
        nibabel.save(nibabel.Nifti1Image(data.astype(kind), grid_affine), folder / f"s{number:02}_{name}.nii.gz")


def data_make(folder):
    random = np.random.default_rng(1)
    template, atlas = (nibabel.load(TEMPLATES / f"{name}.nii.gz") for name in ("ch2", "aal"))
    table = np.zeros(256, np.int16)
    for value, kept in VALUES.items():
        table[value] = kept
    image = ndimage.gaussian_filter(np.asanyarray(template.dataobj).astype(np.float32), MM / 2.5)
    label = table[np.asanyarray(atlas.dataobj).astype(int)]
    lines = ["image_t1,image_t2,label,split"]
    for number in range(12):
        subject_make(folder, number, image, label, template.affine, random)
        name = f"s{number:02}"
        seg = "none" if number == UNLABELLED else f"{name}_seg.nii.gz"
        if number != UNSEEN:
            lines.append(f"{name}_t1.nii.gz,{name}_t2.nii.gz,{seg},{'train' if number < 9 else 'validation'}")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    (folder / "labels.csv").write_text(TABLE)


def voxels_of(folder, number, name):
    return np.asanyarray(nibabel.load(folder / f"s{number:02}_{name}.nii.gz").dataobj)


def classes_of(folder, number):
    values = voxels_of(folder, number, "seg")
    return sum(c * (values == value) for value, c in CLASS.items()).astype(np.int64)


def dice_of(found, target):
    return np.array([2 * ((found == c) & (target == c)).sum() / max(1, (found == c).sum() + (target == c).sum())
                     for c in range(1, 8)])


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def vnet(folder, args):
    """As the README says."""
    tools = pathlib.Path(args.build).resolve() / "tools"
    print(run(tools / "vnet-train", "--plan", folder / "cases.csv", "-q"))
    start = time.monotonic()
    run(tools / "vnet-train", "--data", folder / "cases.csv", "--label-table", folder / "labels.csv", "--spacing", MM,
        "--patch", "x".join(map(str, PATCH)), "--width", 16, "--stages", 5, "--steps", args.steps, "--threads",
        args.threads, "--log", folder / "own.csv", "--charts", folder / "own", "-o", folder / "own.onnx", "-q")
    seconds = time.monotonic() - start
    unseen = [folder / f"s{UNSEEN:02}_{channel}.nii.gz" for channel in ("t1", "t2")]
    run(tools / "vnet-run", folder / "own.onnx", *unseen, "-o", folder / "own.nii.gz", "-q")
    return np.asanyarray(nibabel.load(folder / "own.nii.gz").dataobj), seconds


def monai(folder, args):
    """MONAI's VNet and what its tutorials do: cropped by labels, flipped (never left to right), intensities
    scaled and shifted, Dice and cross-entropy, Adam, sliding windows."""
    import torch
    from monai import transforms as t
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceCELoss
    from monai.networks.nets import VNet

    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    keys = ["image", "label"]
    normal = t.NormalizeIntensity(channel_wise=True)
    images = {n: normal(np.stack([voxels_of(folder, n, c) for c in ("t1", "t2")]).astype(np.float32))
              for n in [*range(9), UNSEEN]}
    labels = {n: np.zeros_like(classes_of(folder, n)) if n == UNLABELLED else classes_of(folder, n) for n in range(9)}
    patch = PATCH[::-1]  # arrays are x y z here
    change = t.Compose([
        t.SpatialPadd(keys, patch),
        t.RandCropByPosNegLabeld(keys, label_key="label", spatial_size=patch, pos=1, neg=1, num_samples=1),
        t.RandFlipd(keys, 0.5, spatial_axis=1), t.RandFlipd(keys, 0.5, spatial_axis=2),
        t.RandScaleIntensityd("image", 0.1, prob=0.5), t.RandShiftIntensityd("image", 0.1, prob=0.5)])
    change.set_random_state(1)
    network = VNet(spatial_dims=3, in_channels=2, out_channels=8, dropout_prob_down=0.0, dropout_prob_up=(0.0, 0.0))
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, args.steps)
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True)
    random = np.random.default_rng(1)
    start = time.monotonic()
    for _ in range(args.steps):
        number = int(random.integers(9))
        sample = change({"image": torch.as_tensor(images[number]), "label": torch.as_tensor(labels[number])[None]})[0]
        optimiser.zero_grad()
        loss_of(network(sample["image"][None]), sample["label"][None]).backward()
        optimiser.step()
        schedule.step()
    seconds = time.monotonic() - start
    network.eval()
    with torch.no_grad():
        scores = sliding_window_inference(torch.as_tensor(images[UNSEEN])[None], patch, 1, network, 0.5, "gaussian")
    return scores[0].argmax(0).numpy(), seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="../../build")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["vnet", "monai"])
    parser.add_argument("--folder")
    args = parser.parse_args()
    scratch = tempfile.TemporaryDirectory()
    folder = pathlib.Path(args.folder or scratch.name)
    folder.mkdir(exist_ok=True)
    data_make(folder)
    target = classes_of(folder, UNSEEN)
    result = {}
    for name, train in (("vnet", vnet), ("monai", monai)):
        if args.only in (None, name):
            found, seconds = train(folder, args)
            dice = dice_of(found, target)
            result[name] = dice.mean(), seconds
            each = " ".join(f"{d:.2f}" for d in dice)
            print(f"{name:6} Dice {dice.mean():.3f} ({each}), {seconds:.0f} s", flush=True)
    if len(result) == 2:
        (mine, took), (theirs, theirs_took) = result["vnet"], result["monai"]
        assert mine >= theirs - 0.01 and took <= theirs_took / 3, result


main()
