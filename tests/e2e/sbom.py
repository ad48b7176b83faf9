"""A bill of materials against the files that it speaks of.

    sbom.py SBOM.cdx.json ROOT [FILE…]

Every rule of CycloneDX 1.5's schema that concerns the members which are used here; every file that
is listed has its hash, every FILE (default: all below ROOT) is listed; every library that a program
loads is, and is known by version and licence, but for libc's own.
"""
import hashlib
import json
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(sys.argv[2])
sbom = json.loads(pathlib.Path(sys.argv[1]).read_text())
files = [pathlib.Path(f) for f in sys.argv[3:]] or [
    f for f in root.rglob("*") if f.is_file() and not f.is_symlink() and f.name != "sbom.cdx.json"]

assert sbom["bomFormat"] == "CycloneDX" and sbom["specVersion"] == "1.5" and sbom["version"] >= 1
uuid = r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
assert re.fullmatch(uuid, sbom["serialNumber"]), sbom["serialNumber"]
assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", sbom["metadata"]["timestamp"])
assert set(sbom) == {"bomFormat", "specVersion", "serialNumber", "version", "metadata",
                     "components", "dependencies"}
parts = [sbom["metadata"]["component"]] + sbom["components"]
refs = [part["bom-ref"] for part in parts]
assert len(set(refs)) == len(refs), "two components of one name"
for part in parts:
    assert part["type"] in ("application", "library", "file") and part["name"], part
    assert set(part) <= {"type", "bom-ref", "name", "version", "purl", "cpe", "licenses", "hashes",
                         "properties"}, part
    if "cpe" in part:
        assert re.fullmatch(r"cpe:2\.3:a(:[\w.*-]+){10}", part["cpe"]), part
    if "purl" in part:
        assert re.fullmatch(r"pkg:generic/[\w.-]+@[\w.]+", part["purl"]), part
for dependency in sbom["dependencies"]:
    assert dependency["ref"] in refs and set(dependency["dependsOn"]) <= set(refs)

listed = {p["name"]: p["hashes"] for p in parts if p["type"] == "file"}
for name, hashes in listed.items():
    right = hashlib.sha256((root / name).read_bytes()).hexdigest()
    assert hashes == [{"alg": "SHA-256", "content": right}], name
missing = {str(f.relative_to(root)) for f in files} - set(listed)
assert listed and not missing, missing

libraries = {p["name"]: p for p in parts if p["type"] == "library"}
NAMES = {"libz": "zlib", "libpng16": "libpng", "libXNNPACK": "XNNPACK", "libmpi": "openmpi",
         "libpthreadpool": "pthreadpool", "libprotobuf-c": "protobuf-c"}
OF_LIBC = {"libc", "libm", "ld-linux-x86-64", "ld-linux-aarch64"}
loaded = set()
for file in files:
    if file.read_bytes()[:4] == b"\x7fELF":
        text = subprocess.run(["readelf", "-d", file], capture_output=True, text=True, check=True)
        loaded |= {s.split(".so")[0] for s in re.findall(r"NEEDED.*\[(.*)\]", text.stdout)}
loaded = {s for s in loaded if not s.startswith("libvnet")}
for name in {NAMES.get(s, s) for s in loaded - OF_LIBC} | {"xxhash"}:
    part = libraries[name]
    assert re.match(r"\d", part["version"]) and part["licenses"][0]["license"]["id"], part
assert loaded & OF_LIBC <= set(libraries), loaded
