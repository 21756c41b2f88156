"""The files that a user gives for the inputs of a model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from ..base.arrays import Array
from ..base.checks import named
from ..compiler.compiled import CompiledModel
from ..errors import OptionError
from ..graph.types import TensorType
from .arrays import contents, read_array
from .options import pairs


class Inputs:
    """Files for the inputs of a model, in order or as ``NAME=FILE``, converted to the types that it takes."""

    def __init__(self, texts: Sequence[str]) -> None:
        by_position = [text for text in texts if "=" not in text or os.path.exists(text)]
        self._named = pairs((text for text in texts if text not in by_position), "an input")
        self._files = [(path, key) for path in by_position for key in contents(path)]

    def alone(self) -> list[Array]:
        """The arrays unconverted, for a model that is still to be compiled for them."""
        return [read_array(path, key) for path, key in self._files] if not self._named else []

    def arrays(self, net: CompiledModel, sizes: Mapping[str, int], seed: int, *, draw: bool) -> list[Array]:
        """An array for each input of the model; with ``draw``, missing ones are random."""
        traced = net.traced
        names = net.input_names if len(net.input_names) == len(traced.inputs) else traced.inputs
        types = dict(zip(names, traced.input_types, strict=True))
        found = {name: read_array(path, key, types[name]) for name, path, key in self._places(list(types))}
        missing = [name for name in types if name not in found]
        if missing and not draw:
            wanted = ", ".join(f"{named(name)} ({types[name]})" for name in missing)
            raise OptionError(f"nothing is given for {wanted}; give files, or --random to draw numbers")
        if missing:
            drawn = net.example_inputs({**_sizes_in(found, types), **sizes}, seed)
            found |= {name: array for name, array in zip(types, drawn, strict=True) if name in missing}
        return [found[name] for name in types]

    def _places(self, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
        """For each file the name of its input, its path, and the name of the array in it."""
        takes = f"the model takes {len(names)} input{'s' * (len(names) != 1)} ({', '.join(map(named, names))})"
        keyed = {key for _, key in self._files if key in names} - self._named.keys()
        rest = iter([name for name in names if name not in self._named and name not in keyed])
        for name, path in self._named.items():
            if name not in names:
                raise OptionError(f"there is no input named {named(name)}: {takes}")
            yield name, path, _only(path)
        for path, key in self._files:
            name = key if key in keyed else next(rest, "")
            if not name:
                raise OptionError(f"{named(path)}{f' ({named(key)})' if key else ''} is one too many: {takes}")
            yield name, path, key


def _only(path: str) -> str:
    """The name of the only array in a file."""
    keys = contents(path)
    if len(keys) != 1:
        raise OptionError(f"{named(path)} holds {len(keys)} arrays; give it without a name before it")
    return keys[0]


def _sizes_in(found: Mapping[str, Array], types: Mapping[str, TensorType]) -> dict[str, int]:
    """The sizes of named axes, from arrays."""
    dims = ((str(dim), size) for name, array in found.items() for dim, size in zip(types[name].shape, array.shape))  # noqa: B905 - what does not fit, the call says
    return {name: size for name, size in dims if name.isidentifier()}
