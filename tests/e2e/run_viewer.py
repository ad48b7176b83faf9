"""The example viewer as a person uses it: a real window, keys, mouse, what is seen on the screen.

    run_viewer.py VIEWER PLAN SCAN VNET_RUN

VIEWER is examples/viewer's program, PLAN is models/brain.onnx compiled, SCAN a head, oriented by its
file. Needs the VIEWER_PACKAGES of tools/packages.sh; exits with 77 (skipped) when one is missing. Texts
are read from the accessibility bus, pictures from the screen; labels are vnet-run's, voxel for voxel.
Screenshots stay in a temporary folder, which is named, when something is wrong.
"""
import atexit
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

INSIDE = "VNET_TEST_DISPLAY"
for program in ("xvfb-run", "xauth", "xdotool", "import", "dbus-run-session"):
    if not shutil.which(program):
        print(f"skipped: no {program}")
        sys.exit(77)
try:
    import gi
    gi.require_version("Atspi", "2.0")
    from gi.repository import Atspi, GLib
    import nibabel
    import numpy as np
    from PIL import Image
except (ImportError, ValueError) as error:
    print(f"skipped: {error}")
    sys.exit(77)

viewer, plan, scan, vnet_run = (pathlib.Path(p).resolve() for p in sys.argv[1:5])
if INSIDE not in os.environ:  # once more, on a display and a bus of its own
    with tempfile.TemporaryDirectory(prefix="vnet-home-") as home:
        surroundings = dict(os.environ, GSK_RENDERER="cairo", GTK_A11Y="atspi", GDK_BACKEND="x11", HOME=home,
                            XDG_RUNTIME_DIR=home, NO_AT_BRIDGE="0", LC_ALL="C.UTF-8", **{INSIDE: "1"})
        os.chmod(home, 0o700)
        # Without -noreset Xvfb starts anew, and answers nobody, whenever its last window has closed.
        done = subprocess.run(["xvfb-run", "-a", "-s", "-screen 0 1280x1000x24 -noreset",
                               "dbus-run-session", "--", sys.executable, *sys.argv],
                              env=surroundings, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.stderr.write("".join(line + "\n" for line in done.stderr.splitlines() if "dbus-daemon" not in line))
    sys.exit(done.returncode)

OPACITY, MARGIN, PATIENCE_S = 0.5, 0.96, 120
folder = pathlib.Path(tempfile.mkdtemp(prefix="vnet-viewer-"))
PLANES = {"Axial plane": (0, 1, 2), "Coronal plane": (0, 2, 1), "Sagittal plane": (1, 2, 0)}


def fail(message):
    print(f"FAILED: {message}\nscreenshots: {folder}")
    sys.exit(1)


def check(good, message):
    if not good:
        fail(message)


# ---- the window ----

class Window:
    """A running viewer. Everything is looked up anew: nothing here may be a cached past."""

    def __init__(self, *words):
        self.process = subprocess.Popen([viewer, *map(str, words)])
        atexit.register(self.process.kill)
        mine = ("search", "--onlyvisible", "--pid", self.process.pid)
        self.id = self.wait("a window", lambda: xdotool(*mine).split())[0]
        self.wait("its tree", self.frame)
        self.focus(self.id)

    def focus(self, window):
        xdotool("windowfocus", "--sync", window)

    def alive(self):
        return self.process.poll() is None

    def wait(self, what, ask, seconds=PATIENCE_S):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            check(self.alive(), f"the viewer ended with {self.process.returncode} before {what}")
            if found := ask():
                return found
            time.sleep(0.02)
        picture("timeout")
        fail(f"no {what} within {seconds} s; the window says {self.texts()}")

    def frame(self):
        for app in children(Atspi.get_desktop(0)):
            if app.get_process_id() == self.process.pid:
                for frame in children(app):
                    return frame
        return None

    def nodes(self):
        todo, seen = [self.frame()], []
        while todo:
            if node := todo.pop(0):
                seen.append(node)
                todo += children(node)
        return seen

    def texts(self):
        return [text for text in map(name_of, self.nodes()) if text]

    def says(self, words):
        return next((text for text in self.texts() if words in text), None)

    def wait_says(self, words, seconds=PATIENCE_S):
        return self.wait(f"'{words}'", lambda: self.says(words), seconds)

    def title(self):
        return xdotool("getwindowname", self.id).strip()

    def press(self, key):
        xdotool("key", key)

    def panes(self):
        """Name to rectangle on the screen; the frame lies in the window with a border around it."""
        frame = extents(self.frame())
        size = dict(line.split("=") for line in xdotool("getwindowgeometry", "--shell", self.id).split())
        left = int(size["X"]) + (int(size["WIDTH"]) - frame.width) // 2
        top = int(size["Y"]) + (int(size["HEIGHT"]) - frame.height) // 2
        found = {}
        for node in self.nodes():
            if name_of(node) in PLANES:
                box = extents(node)
                found[name_of(node)] = (left + box.x, top + box.y, box.width, box.height)
        check(len(found) == 3, f"planes found: {list(found)}")
        return found

    def open(self, path):
        self.press("ctrl+o")
        dialog = self.wait("a dialog", lambda: xdotool("search", "--onlyvisible", "--name", "Open a scan").split())[0]
        self.focus(dialog)
        time.sleep(0.5)
        xdotool("type", "--delay", "5", str(path))
        time.sleep(0.5)
        self.press("Return")
        self.wait("end of the dialog", lambda: dialog not in xdotool("search", "--onlyvisible", "--name", "").split())
        self.focus(self.id)

    def close(self, seconds=10):
        self.press("ctrl+q")
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            fail(f"the window was still open {seconds} s after Ctrl+Q")
        check(status == 0, f"the viewer ended with {status}")


def xdotool(*words):
    return subprocess.run(["xdotool", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True).stdout


def children(node):
    with contextlib.suppress(GLib.Error):
        node.clear_cache()
        return [node.get_child_at_index(i) for i in range(node.get_child_count())]
    return []


def name_of(node):
    with contextlib.suppress(GLib.Error):
        return node.get_name()
    return None


def extents(node):
    return Atspi.Component.get_extents(node, Atspi.CoordType.WINDOW)


def picture(name):
    time.sleep(0.4) # what is on its way to the screen arrives
    path = folder / f"{name}.png"
    subprocess.run(["import", "-window", "root", path], check=True)
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float64)


# ---- what should be on it ----

def voxels(path):
    return np.asanyarray(nibabel.load(path).dataobj)


def expected(image, values, cursor, name, size):
    """The plane's slice through `cursor` (an index of the file's own grid), on an area of `size`: patient's
    right on the left, front and top up; -1 beside the scan."""
    across, down, through = PLANES[name]
    marker = np.zeros(values.shape, np.uint8)
    marker[tuple(cursor)] = 1
    turned = [nibabel.as_closest_canonical(nibabel.Nifti1Image(a, image.affine))
              for a in (values.astype(np.float32), marker)]
    mm = np.abs(np.diag(turned[0].affine)[:3])
    at = np.argwhere(turned[1].get_fdata() > 0)[0][through]
    flat = np.take(turned[0].get_fdata(), at, axis=through) # remaining axes keep their order: across, down
    flat = flat[::-1, ::-1].T
    scale = MARGIN * min(size[0] / (flat.shape[1] * mm[across]), size[1] / (flat.shape[0] * mm[down]))
    x = (np.arange(size[0]) + 0.5 - size[0] / 2) / (scale * mm[across]) + flat.shape[1] / 2
    y = (np.arange(size[1]) + 0.5 - size[1] / 2) / (scale * mm[down]) + flat.shape[0] / 2
    inside = ((y >= 0) & (y < flat.shape[0]))[:, None] & ((x >= 0) & (x < flat.shape[1]))[None, :]
    pick = flat[np.clip(y, 0, flat.shape[0] - 1).astype(int)][:, np.clip(x, 0, flat.shape[1] - 1).astype(int)]
    return np.where(inside, pick, -1)


def likeness(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def crop(screen, box):
    x, y, width, height = box
    return screen[y:y + height, x:x + width]


def scan_seen(window, screen, path, what):
    """Does every pane show the scan's middle where and how it should be, and not mirrored?"""
    image, values = nibabel.load(path), voxels(path)
    low, high = np.percentile(values, [1, 99.5])
    for name, box in window.panes().items():
        grey = crop(screen, box).mean(axis=2)
        want = np.clip(expected(image, values, [n // 2 for n in values.shape], name, box[2:]), low, high)
        straight = likeness(grey, want)
        check(straight > 0.93, f"{what}: {name} is like its slice by {straight:.3f} only")
        for way, other in (("left to right", want[:, ::-1]), ("upside down", want[::-1])):
            check(likeness(grey, other) < straight - 0.003, f"{what}: {name} is as good {way}")


def coloured(before, after, rgb):
    """Pixels of `rgb` at the viewer's opacity over what was there before."""
    want = (1 - OPACITY) * before + OPACITY * np.asarray(rgb, np.float64)
    return np.abs(after - want).max(axis=2) < 12


def labels_seen(window, before, after, path, labels, colours, what):
    image = nibabel.load(path)
    for name, box in window.panes().items():
        shown = expected(image, labels, [n // 2 for n in labels.shape], name, box[2:])
        for value, (rgb, _) in colours.items():
            mask = shown == value
            got = coloured(crop(before, box), crop(after, box), rgb)
            either = np.count_nonzero(mask | got)
            share = np.count_nonzero(mask & got) / either if either else 1
            check(mask.any() or not got.any(), f"{what}: {name} has pixels of label {value}, the map has none there")
            check(share > 0.9, f"{what}: {name}: pixels of label {value} and its mask share {share:.3f}")


def colours_read(path):
    """ITK-SNAP's file beside vnet-run's label map: value to colour and name."""
    found = {}
    for line in path.read_text().splitlines():
        words = line.split(None, 7)
        if len(words) == 8 and words[0].isdigit() and words[0] != "0":
            found[int(words[0])] = (tuple(map(int, words[1:4])), words[7].strip('"'))
    check(found, f"{path} names no labels")
    return found


def reference(path):
    out = folder / f"want-{path.name}"
    subprocess.run([vnet_run, plan, path, "-o", out, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return voxels(out), colours_read(out.with_name(out.name.replace(".nii.gz", ".label.txt")))


# ---- the story ----

def segment(window):
    window.press("ctrl+r")
    window.wait("start", lambda: window.says("Segmenting") or window.says("Segmented in"))
    window.wait("end of the segmentation", lambda: not window.says("Segmenting"))
    check(window.says("Segmented in"), f"segmented, but the window says {window.texts()}")


def saved_check(window, want, what):
    output.unlink(missing_ok=True)
    window.press("ctrl+s")
    window.wait_says(f"Saved {output.name}")
    got = nibabel.load(output)
    check(np.array_equal(np.asanyarray(got.dataobj), want), f"{what}: the saved labels are not vnet-run's")
    return got


def list_check(window, path, labels, colours):
    ml = np.abs(np.linalg.det(nibabel.load(path).affine[:3, :3])) / 1000
    for value, (_, name) in colours.items():
        volume = f"{np.count_nonzero(labels == value) * ml:.1f} ml"
        check(name in window.texts(), f"no label '{name}' in the list")
        check(volume in window.texts(), f"no '{volume}' in the list: {window.texts()}")


def layout_check():
    """A scan with a bright box towards right, front and top, its axes turned, one thinned."""
    image = nibabel.as_closest_canonical(nibabel.load(scan))
    values = np.asanyarray(image.dataobj).astype(np.float32)
    low, high = ([int(n * a) for n in values.shape] for a in (0.6, 0.8))
    for a in range(3): # so that each middle slice has one
        box = [slice(l, h) for l, h in zip(low, high)]
        box[a] = slice(None)
        values[tuple(box)] = np.percentile(values, 99)
    marked = nibabel.Nifti1Image(values, image.affine @ np.diag([1, 1, 2.5, 1]))
    for axes in ("RAS", "PIR", "SLA"):
        there = nibabel.orientations.ornt_transform(nibabel.io_orientation(marked.affine),
                                                    nibabel.orientations.axcodes2ornt(axes))
        path = folder / f"marked-{axes}.nii.gz"
        nibabel.save(marked.as_reoriented(there), path)
        window = Window(path)
        window.wait_says("Opened marked")
        scan_seen(window, picture(f"layout-{axes}"), path, axes)
        window.close()


def start_check():
    """What is wrong on the command line stays to be read, and the rest is opened."""
    missing = folder / "missing.nii.gz"
    window = Window("--plan", plan, missing)
    window.wait_says(f"Opened {plan.name}")
    check(window.says("The scan could not be opened: "), f"nothing on a missing scan: {window.texts()}")
    window.close()
    window = Window("--plan", scan, scan)
    window.wait_says("The model could not be opened: ")
    check(window.title().startswith(scan.name), "with a broken model there is no scan")
    window.press("ctrl+r") # nothing to run
    time.sleep(0.5)
    check(not window.says("Segment") or window.says("Segment") == "Segment", "it segments without a model")
    window.close()


def mouse_check(window):
    """A click moves the crosshair, wheel and keys the slice, a right drag the window: the status line follows."""
    x, y, width, height = window.panes()["Axial plane"]
    before = window.says(" voxel ")
    xdotool("mousemove", x + width // 2 + 40, y + height // 2 + 30)
    xdotool("click", 1)
    place = window.wait("another place", lambda: (text := window.says(" voxel ")) != before and text)
    was, now = ([float(word.strip(",")) for word in text.split(" mm")[0].split()] for text in (before, place))
    # The screen's right is the patient's left: to smaller x.
    check(now[0] < was[0] - 5 and now[1] < was[1] - 5 and now[2] == was[2],
          f"a click to the left and back: from {was} to {now}")
    xdotool("click", 4)
    place = window.wait("another slice", lambda: (text := window.says(" voxel ")) != place and text)
    up = float(place.split(" mm")[0].split()[2])
    check(up > now[2], f"the wheel went from {now[2]} to {up}")
    window.press("Next")
    place = window.wait("the slice before", lambda: (text := window.says(" voxel ")) != place and text)
    down = float(place.split(" mm")[0].split()[2])
    check(down == now[2], f"Page Down went from {up} to {down}")
    xdotool("mousemove", x + width // 2, y + height // 2)
    xdotool("mousedown", 3)
    for _ in range(8):
        xdotool("mousemove_relative", 10, 0)
    xdotool("mouseup", 3)
    window.wait("another window", lambda: place.split("window")[1] not in window.says(" voxel "))
    window.press("f") # as it was


def session():
    window = Window("--plan", plan, "--output", output, scan)
    window.wait_says(f"Opened {plan.name}")
    check(window.title().startswith(scan.name), f"the title is '{window.title()}'")
    before = picture("opened")
    scan_seen(window, before, scan, "the scan")
    labels, colours = reference(scan)

    segment(window)
    after = picture("segmented")
    labels_seen(window, before, after, scan, labels, colours, "segmented")
    window.press("o")
    hidden = picture("hidden")
    window.press("o")
    again = picture("shown")
    for name, box in window.panes().items():
        check(np.array_equal(crop(hidden, box), crop(before, box)), f"{name} without labels is not the scan")
        check(np.array_equal(crop(again, box), crop(after, box)), f"{name}: labels did not come back")
    list_check(window, scan, labels, colours)
    got = saved_check(window, labels, "first")
    check(np.allclose(got.affine, nibabel.load(scan).affine), "the saved labels lie elsewhere")
    mouse_check(window)

    broken = folder / "broken.nii.gz"
    broken.write_bytes(scan.read_bytes()[:5000])
    window.open(broken)
    window.wait_says("The scan could not be opened: ")
    picture("broken")
    check(window.title().startswith(scan.name), "the broken file took the scan away")
    saved_check(window, labels, "after a broken file")
    again_check(window)
    window.close()


def again_check(window):
    """A larger scan in the same window: cancelled half way, and once more."""
    large = folder / "large.nii.gz"
    image = nibabel.load(scan)
    nibabel.save(nibabel.Nifti1Image(np.tile(np.asanyarray(image.dataobj), (2, 2, 2)), image.affine), large)
    labels, colours = reference(large)
    window.open(large)
    window.wait_says(f"Opened {large.name}")
    before = picture("large")
    segment(window)
    after = picture("large-segmented")
    labels_seen(window, before, after, large, labels, colours, "large")
    saved_check(window, labels, "large")

    window.press("ctrl+r")
    percent = lambda: (t := window.title()) and "%" in t and int(t.split()[0])
    first = window.wait("progress", percent)
    window.wait("half of it", lambda: (percent() or 0) >= 40)
    x, y, width, height = window.panes()["Axial plane"]
    place, start = window.says(" voxel "), time.monotonic()
    xdotool("mousemove", x + width // 3, y + height // 3)
    window.wait("an answer to the mouse", lambda: window.says(" voxel ") != place, 4)
    check(percent(), "the run was over before it could be cancelled")
    check(first < percent(), "progress stood still")
    print(f"the window answered in {time.monotonic() - start:.2f} s at {percent()} %")
    start = time.monotonic()
    window.press("Escape")
    window.wait_says("Cancelled", 10)
    print(f"cancelled in {time.monotonic() - start:.2f} s")
    xdotool("mousemove", 1, 999)
    difference = np.abs(picture("cancelled") - after)
    for name, box in window.panes().items():
        check(crop(difference, box).max() == 0, f"{name} changed with a cancelled run")
    saved_check(window, labels, "after cancelling")
    segment(window)
    list_check(window, large, labels, colours)
    saved_check(window, labels, "once more")

    output.unlink()
    os.link(large, output) # a second name of the scan
    bytes_before = large.read_bytes()
    window.press("ctrl+s")
    window.wait_says("that is the scan itself")
    check(large.read_bytes() == bytes_before, "the scan was overwritten")
    output.unlink()
    window.press("ctrl+r") # close() follows while this is under way
    window.wait("progress", percent)


output = folder / "labels.nii.gz"
layout_check()
start_check()
session()
shutil.rmtree(folder)
print("all good")
