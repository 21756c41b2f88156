"""What a save does to what is there already, and what it leaves behind; what is opened as a file and what is not."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import FileError, GraphError, LucidError
from lucid.formats.files import open_regular, write_atomically
from lucid.formats.serialize import dump, load, loads, save
from lucid.formats.text import parse_text, to_text
from tests.graphs import same_graph

HERE = Path(__file__).parent / "files"
unix = pytest.mark.skipif(os.name != "posix", reason="modes, owners and pipes as Unix has them")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@unix
@pytest.mark.parametrize("old", [0o600, 0o640, 0o444, 0o777, 0o604])
def test_the_mode_stays(old: int, tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    save(path, {}, extra=1)
    usual = mode(path)
    path.chmod(old)
    save(path, {}, extra=2)
    assert mode(path) == old
    assert load(path).extra == 2
    before = os.umask(0)
    os.umask(before)
    assert usual == 0o666 & ~before


@unix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    save(path, {}, extra=1)
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    save(path, {}, extra=2)
    found = path.stat()
    assert (found.st_uid, found.st_gid, mode(path)) == (12345, 23456, 0o640)


@unix
def test_what_is_written_is_never_more_open_than_what_it_replaces(tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    seen = []

    def chunks() -> Iterator[bytes]:
        (name,) = set(os.listdir(tmp_path)) - {path.name}
        seen.append(mode(tmp_path / name))
        yield b"new"

    write_atomically(path, chunks())
    assert seen == [0o600]


@unix
def test_no_file_is_put_in_place_of_something_else(tmp_path: Path) -> None:
    pipe, loop, other, folder = (tmp_path / name for name in ("pipe", "loop", "other", "folder"))
    os.mkfifo(pipe)
    loop.symlink_to(other)
    other.symlink_to(loop)
    folder.mkdir()
    to_pipe, to_null = tmp_path / "to_pipe", tmp_path / "to_null"
    to_pipe.symlink_to(pipe)
    to_null.symlink_to(os.devnull)
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(tmp_path)  # a socket's path is short
    try:
        listener.bind("socket")
    finally:
        os.chdir(here)
    before = {name: os.lstat(tmp_path / name) for name in os.listdir(tmp_path)}
    for path in (pipe, loop, other, folder, to_pipe, to_null, tmp_path / "socket", Path(os.devnull)):
        with pytest.raises(FileError, match="cannot be written"):
            save(path, {})
        with pytest.raises(FileError, match="cannot be read"):  # at once: nobody writes to the pipe
            load(path)
    assert {name: os.lstat(tmp_path / name).st_mode for name in os.listdir(tmp_path)} == {
        name: status.st_mode for name, status in before.items()
    }
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    listener.close()


@unix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes devices")
def test_a_device_stays_a_device(tmp_path: Path) -> None:
    path = tmp_path / "null"
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this sandbox makes none")
    with pytest.raises(FileError, match="it is a device, not a file"):
        save(path, {})
    with pytest.raises(FileError, match="it is a device, not a file"):
        load(path)
    assert stat.S_ISCHR(path.stat().st_mode)


def test_links_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first, second, real = tmp_path / "first", tmp_path / "a" / "second", tmp_path / "a" / "real"
    first.symlink_to("a/second")
    second.symlink_to("real")
    for extra in (1, 2):  # at first it leads to nothing yet
        save(first, {}, extra=extra)
        assert first.is_symlink()
        assert second.is_symlink()
        assert load(real).extra == extra


@pytest.mark.parametrize("length", [200, 240, 246, 247, 254, 255])
def test_long_names(length: int, tmp_path: Path) -> None:
    for name in ("x" * length, "ü" * (length // 2)):
        save(tmp_path / name, {}, extra=1)
        save(tmp_path / name, {}, extra=2)
        assert load(tmp_path / name).extra == 2
    assert len(os.listdir(tmp_path)) == 2
    with pytest.raises(FileError, match="cannot be written"):
        save(tmp_path / ("x" * 256), {})


@pytest.mark.parametrize(
    "path", ["a\0b", "", "x" * 5000, "/".join(["x"] * 5000), "\ud800", 3.5, None, [], "no/such/folder/a"]
)
def test_impossible_paths(path: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LucidError, match="cannot be written"):
        save(path, {})  # type: ignore[arg-type]
    for read in (load, lucid.load):
        with pytest.raises(LucidError, match="cannot be read"):
            read(path)  # type: ignore[operator]
    assert os.listdir(tmp_path) == []


@unix
def test_what_a_killed_save_left_goes_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    save(path, {}, extra="old")
    killed = "os.replace = lambda *a: os.kill(os.getpid(), 9)"
    code = f"import os, sys; from lucid.formats.serialize import save; {killed}; save(sys.argv[1], {{}})"
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
        assert len(os.listdir(tmp_path)) == 2  # the second has removed what the first left
    (tmp_path / ".lucid-notes.tmp").write_text("of somebody else")
    save(tmp_path / "another", {})
    assert sorted(os.listdir(tmp_path)) == [".lucid-notes.tmp", "another", "net.lucid"]
    assert load(path).extra == "old"


def test_a_save_does_not_disturb_another_that_goes_on(tmp_path: Path) -> None:
    def slowly() -> Iterator[bytes]:
        yield b"half"
        save(tmp_path / "b", {}, extra=1)  # sees the file of the other, which is being written
        yield b"whole"

    write_atomically(tmp_path / "a", slowly())
    assert (tmp_path / "a").read_bytes() == b"halfwhole"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_many_saves_at_once(tmp_path: Path) -> None:
    """All into one folder, half of them over one file: no error, no leftovers, and always one of the contents."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                save(tmp_path / ("same" if number % 2 else str(number)), {}, extra=[number, turn])
                if number % 2:
                    assert load(tmp_path / "same").extra[0] % 2 == 1
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(os.listdir(tmp_path)) == ["0", "2", "4", "same"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_nothing_is_left_after_an_exception(error: type[BaseException], tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise error

    with pytest.raises(error):
        write_atomically(tmp_path / "a", chunks())
    assert os.listdir(tmp_path) == []


def test_a_regular_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    with open_regular(tmp_path / "a") as (file, size):
        assert (file.read(), size) == (b"text", 4)


# ---------------------------------------------------------------- files of earlier versions


def test_files_of_the_first_version_load_for_ever() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    exact = lucid.load(HERE / "first_exact.lucid")({"image": x})
    assert list(exact) == ["logits", "n", "k"]
    assert exact["k"] == 3
    want = [[0.8347149, -0.7251669, 0.5358043], [1.3587608, 0.18787268, -0.37422046]]
    np.testing.assert_allclose(exact["logits"].numpy(), want, rtol=1e-5)
    np.testing.assert_allclose(exact["n"][0].numpy(), 0.620311, rtol=1e-5)
    tuned = lucid.load(HERE / "first_tuned.lucid")
    want = [[0.16261931, 0.6280089, -0.03890202], [0.06158372, 0.5265826, 0.30280054]]
    np.testing.assert_allclose(tuned(x).numpy(), want, rtol=1e-4, atol=1e-5)
    training = lucid.load(HERE / "first_training.lucid")
    training(x).sum().backward()  # it drops out, and so tells nothing


def test_sizes_of_images_were_height_and_width() -> None:
    graph = load(HERE / "first_windows.lucid").graphs["g"]
    text = to_text(graph)
    assert text.count("size=(7, 6)") == 6
    assert text.count("size=(4, 4)") == 2
    earlier = text.replace("size=(7, 6)", "height=7, width=6").replace("size=(4, 4)", "height=4, width=4")
    assert same_graph(parse_text(earlier), graph)
    assert same_graph(loads(dump({"g": graph}, {"w": np.zeros((3, 2, 3, 3), np.float32)})).graphs["g"], graph)
    for wrong in ("height=7", "size=(7, 6), height=7, width=6", "height=7, width=6, size=(7, 6)"):
        with pytest.raises(GraphError, match="unknown attribute 'height'"):
            parse_text(text.replace("size=(7, 6)", wrong))


def test_an_exact_model_stays_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3, stride=2)).eval()
    x = rng.standard_normal((1, 16, 32, 32)).astype(np.float32)
    path = tmp_path / "net.lucid"
    net = lucid.compile(model, exact=True)
    want = net(x).numpy()
    for _ in range(2):  # and so when it is saved again
        net.save(path)
        net = lucid.load(path)
        assert net.options.exact
        np.testing.assert_array_equal(net(x).numpy(), want)
    loose = lucid.compile(model)
    loose(x)
    loose.save(path)
    assert not lucid.load(path).options.exact
    np.testing.assert_array_equal(lucid.load(path, exact=True)(x).numpy(), want)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "'': cannot be {}: the path is empty; give the name of a file"),
        (b"", "b'': cannot be {}: the path is empty; give the name of a file"),
        (5, "5: cannot be {}: a path is a string or a pathlib.Path"),
        (None, "None: cannot be {}: a path is a string or a pathlib.Path"),
        ("a\0.svg", "'a\\x00.svg': cannot be {}: a path holds no NUL character"),
        ("new/", "'new/': cannot be {}: it ends as the name of a folder does; give the name of a file in it"),
    ],
)
def test_what_is_no_path_of_a_file_is_called_what_it_is(
    path: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net = lucid.compile(lucid.nn.Linear(2, 2), lucid.spec("N", 2))
    for use, verb in ((net.save, "written"), (lucid.load, "read"), (net.draw, "drawn"), (net.graph.draw, "drawn")):
        with pytest.raises(FileError) as error:
            use(path)
        assert str(error.value) == words.format(verb)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    net = lucid.compile(lucid.nn.Linear(2, 2), lucid.spec("N", 2))
    with pytest.raises(FileError, match=f"there is no folder '{tmp_path}/none'"):
        net.save(tmp_path / "none" / "net.lucid")


_TOO_LARGE = """
import os, resource, signal, sys
import lucid
from lucid import nn
os.chdir(sys.argv[1])
net = lucid.compile(nn.Linear(100, 100))
net(lucid.ones(1, 100))
net.save("old.lucid")
old = open("old.lucid", "rb").read()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for name in ("old.lucid", "new.lucid"):
    try:
        net.save(name)
    except lucid.errors.FileError as error:
        assert "too large" in str(error), error
    else:
        raise AssertionError(name)
    assert os.listdir(".") == ["old.lucid"], os.listdir(".")
assert open("old.lucid", "rb").read() == old
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_nothing_is_left_where_there_is_no_room(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TOO_LARGE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["half\ud800", "line\nbreak", "n" * 5000])
def test_messages_show_names_on_one_line_that_can_be_printed(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        lucid.load(tmp_path / name)
    message = str(caught.value)
    message.encode()
    assert "\n" not in message and len(message) < 300 + len(str(tmp_path))


def test_messages_with_names_of_modules_can_be_printed() -> None:
    with pytest.raises(LucidError) as caught:
        nn.Sequential({"half\ud800": nn.ReLU()}).get_submodule("other\udcff")
    str(caught.value).encode()
