"""What cannot be answered is one line that says what and how, and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lucid.cli import commands

from .conftest import Call

CASES = {
    "no command": (["bogus"], "bogus"),
    "no model": (["info"], "MODEL"),
    "no option": (["info", "mine:net", "--bogus"], "--bogus"),
    "no file": (["info", "gone.lucid"], "no file gone.lucid"),
    "no model file": (["info", "mine.py"], "module:attribute"),
    "a folder": (["info", "."], "module:attribute"),
    "a text": (["info", "text.lucid"], "not a readable .lucid file"),
    "a text as onnx": (["run", "text.onnx"], "not an ONNX model"),
    "no module": (["info", "gone:x"], "No module named 'gone'"),
    "no attribute": (["info", "mine:gone"], "gone"),
    "a number": (["info", "mine:number"], "neither a model"),
    "a class with arguments": (["info", "mine:Sized"], "needs arguments"),
    "a maker that fails": (["info", "mine:fails"], "RuntimeError: of two lines (mine.py, line "),
    "no spec": (["run", "mine:net"], "--spec"),
    "a spec for a file": (["run", "text.lucid", "--spec", "3"], "--spec is for module:attribute"),
    "a type that is none": (["run", "mine:net", "--spec", "complex:3"], "float32"),
    "a size that is none": (["run", "mine:net", "--spec", "N,-3"], "-3"),
    "too few specs": (["run", "mine:both", "--spec", "3"], "mine:both"),
    "a size without a number": (["bench", "mine:compiled", "--size", "N"], "NAME=VALUE"),
    "a size that is no number": (["bench", "mine:compiled", "--size", "N=x"], "whole number"),
    "a size of another name": (["bench", "mine:compiled", "--size", "M=3"], "sizes that are not fixed: N"),
    "inputs missing": (["run", "mine:compiled"], "a (float32[N]), b (float32[N]); give files, or --random"),
    "no input file": (["run", "mine:compiled", "gone.npy", "a.npy"], "gone.npy"),
    "an input of another name": (["run", "mine:compiled", "c=a.npy"], "no input named c"),
    "an input too many": (["run", "mine:compiled", "a.npy", "a.npy", "a.npy"], "one too many"),
    "an input twice": (["run", "mine:compiled", "a=a.npy", "a=a.npy"], "twice"),
    "a wrong shape": (["run", "mine:compiled", "a.npy", "square.npy"], "float32[2, 2]"),
    "a wrong type": (["run", "mine:compiled", "a.npy", "double.npy"], "float64"),
    "objects": (["run", "mine:compiled", "objects.npy"], "objects.npy"),
    "a text as npy": (["run", "mine:compiled", "text.npy"], "text.npy"),
    "a text as npz": (["run", "mine:compiled", "text.npz"], "text.npz"),
    "a text as png": (["run", "mine:net", "text.png", "--spec", "1,3,8,8"], "not a readable image"),
    "a picture for numbers": (["run", "mine:compiled", "text.png"], "not an image with 1, 3 or 4 channels"),
    "a text file": (["run", "mine:compiled", "mine.py"], ".npz"),
    "a folder as input": (["run", "mine:compiled", "."], "an input is a .npy"),
    "two results in one array": (["run", "mine:compiled", "--random", "-o", "y.npy"], "write a .npz file"),
    "results as text": (["run", "mine:compiled", "--random", "-o", "y.txt"], ".npy, .npz or .png"),
    "a result as picture": (["run", "mine:small", "--spec", "2,3", "--random", "-o", "gone/y.npz"], "no folder"),
    "a picture of no kind": (["draw", "mine:compiled", "y.txt"], ".svg"),
    "a file that is not written": (["convert", "mine:compiled", "y.tflite"], ".lucid and .onnx"),
    "an option of the other kind of file": (["convert", "mine:compiled", "y.lucid", "--opset", "18"], "--opset is for"),
    "how an .onnx file is run": (["convert", "mine:compiled", "y.onnx", "--exact"], "does not say how it is run"),
    "a version that is not written": (["convert", "mine:compiled", "y.onnx", "--opset", "3"], "--opset"),
    "no pass": (["passes", "--only", "gone"], "eliminate_dead"),
    "no time": (["bench", "mine:compiled", "--seconds", "0"], "--seconds"),
    "a time that is no number": (["bench", "mine:compiled", "--seconds", "nan"], "--seconds"),
    "a time without end": (["bench", "mine:compiled", "--seconds", "inf"], "--seconds"),
    "a pause that is no number": (["bench", "mine:compiled", "--pause", "nan"], "--pause"),
    "a pause without end": (["bench", "mine:compiled", "--pause", "inf"], "--pause"),
    "a tolerance that is no number": (["diff", "mine:small", "mine:small", "--tolerance", "nan"], "--tolerance"),
    "a size for what takes none": (["passes", "lucid.models:lenet5", "--spec", "N,1,28,28", "--size", "N=2"], "--size"),
    "no threads": (["run", "mine:compiled", "--random", "--threads", "0"], "--threads"),
    "too many threads": (["run", "mine:small", "--spec", "3", "--random", "--threads", "100000"], "threads"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line(call: Call, case: str) -> None:
    for suffix in ("lucid", "onnx", "npy", "npz", "png"):
        Path(f"text.{suffix}").write_text("a text, and nothing else")
    for name, array in {
        "a": np.ones(2, np.float32), "square": np.ones((2, 2), np.float32), "double": np.ones(2),
        "objects": np.array([{}, None], object),
    }.items():  # fmt: skip
        np.save(f"{name}.npy", array, allow_pickle=True)
    words, expected = CASES[case]
    for more in ([], ["--json"]):
        found = call(*words, *more)
        assert found.code == 2
        assert found.out == ""
        assert found.err.count("\n") == 1, found.err
        assert expected in found.err
        assert "Traceback" not in found.err


def test_debug_shows_where(call: Call) -> None:
    found = call("info", "mine:fails", "--debug")
    assert found.code == 2
    assert "Traceback" in found.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("x"), 70, "report"),
        (OSError("full"), 2, "full"),
    ],
)
def test_what_else_may_happen(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def fail(**_: Any) -> None:
        raise error

    assert commands.HOMES["passes"].run
    monkeypatch.setattr(commands.HOMES["passes"], "run", fail)
    found = call("passes")
    assert found.code == code
    assert words in found.err


def test_without_the_extra_one_line_says_what_to_install() -> None:
    for name in ("click", "rich"):
        program = f"import sys; sys.modules[{name!r}] = None; from lucid.cli import main; sys.exit(main(['passes']))"
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert found.returncode == 2
        assert found.stderr == f"lucid: the command line needs the package {name}: pip install 'lucid[cli]'\n"


def test_nobody_reads_on() -> None:
    command = [sys.executable, "-m", "lucid", "passes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.close()
        assert ran.stderr.read() == b""
        assert ran.wait() == 141


def test_output_is_closed() -> None:
    words = [sys.executable, "-m", "lucid", "passes"]
    ran = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *words], stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_output_has_not_all_letters(call: Call) -> None:
    assert call("convert", "mine:small", "nü.lucid", "--spec", "N,3").code == 0
    ran = subprocess.run(
        [sys.executable, "-m", "lucid", "info", "nü.lucid"],
        capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert rb"n\xfc.lucid" in ran.stdout


def test_help_and_version(call: Call) -> None:
    assert "Commands" in call().out
    assert call("--version").out.startswith("lucid ")
    for name in commands.HOMES:
        found = call(name, "--help")
        assert found.code == 0
        assert "--json" in found.out
        assert name in call("--help").out


def test_words_are_completed(call: Call, tmp_path: Path) -> None:
    (tmp_path / "net.lucid").touch()
    for shell in ("bash", "zsh", "fish"):
        assert "_LUCID_COMPLETE" in call("completion", shell).out

    def completed(words: str, number: int) -> str:
        asked = {"_LUCID_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        ran = subprocess.run(
            [sys.executable, "-c", "import sys; from lucid.cli import main; sys.exit(main())"],
            capture_output=True, text=True, check=False, env={**os.environ, **asked}, cwd=tmp_path,
        )  # fmt: skip
        return ran.stdout

    assert "plain,draw" in completed("lucid dr", 1)
    assert "plain,--threads" in completed("lucid run --th", 2)
    assert completed("lucid info n", 2).strip() == "plain,net.lucid"
