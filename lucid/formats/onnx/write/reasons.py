"""Why ops cannot be written, where there is more to say than that ONNX has no such operator."""

from __future__ import annotations

from collections.abc import Mapping

_RANDOM = "it draws random numbers, and those of another runtime are others"
_GROUP = "it is a sum over processes, which a file does not have"

REASONS: Mapping[str, str] = {
    **dict.fromkeys(("RandomKey", "RandomUniform", "RandomNormal", "Dropout"), _RANDOM),
    **dict.fromkeys(("AllReduceBegin", "AllReduceEnd"), _GROUP),
}
