"""The compiled model, which ties graph, passes and runtime together."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..base import changes
from ..base.arrays import Array
from ..base.checks import placed, shown
from ..base.lazy import LazyModule
from ..base.locks import forkable
from ..base.recent import Recent
from ..base.structs import struct
from ..errors import LucidError, OptionError, TraceError
from ..formats.onnx.write.versions import USUAL
from ..graph.assume import Assumption
from ..graph.trace import active_trace, user_location
from ..graph.types import TensorType, as_dtype
from ..nn.module import Module
from ..nn.tables import OWN
from ..runtime.program.executable import Executable
from ..runtime.program.store import Store
from ..tensor.tensor import Tensor
from .archive import archive_bytes, archive_from_bytes, write_archive
from .arguments import OF_TEXTS, Structure, arranged, array_signature, flatten
from .calls import Calls, Forward, OfTensors
from .guards.checks import Guards
from .introspection import Inspectable
from .options import Options
from .specialization import Specialization
from .staged import UntrueError

if TYPE_CHECKING:
    from . import onnx_file
    from . import record as recording
else:
    onnx_file = LazyModule("lucid.compiler.onnx_file")
    recording = LazyModule("lucid.compiler.record")

Specs: TypeAlias = "tuple[tuple[Any, ...], dict[str, Any]]"

SPECIALIZATIONS = 64
"""How many traces a compiled model keeps."""

TRIES = 16
"""How often a call is traced anew because data decides other sizes."""


class TraceKey(NamedTuple):
    """Which calls a trace serves.

    Attributes
    ----------
    structure
        The structure of the arguments.
    fixed
        Their types; or, where specs give these, the sizes that had to be fixed.
    taken
        Assumptions about data-dependent sizes.
    """

    structure: Structure
    fixed: Any
    taken: tuple[Assumption, ...] = ()


@struct(frozen=True)
class Trace:
    """One trace: the calls it serves, how they run, and what else it depends on."""

    key: TraceKey
    calls: Calls
    guards: Guards

    @property
    def specialization(self) -> Specialization:
        """The graphs and programs compiled from it."""
        return self.calls.specialization


class _Shortcut(NamedTuple):
    """How a call with the signature of an earlier one runs, without looking for its trace and program again.

    Attributes
    ----------
    changes
        The count of changes of models for which this holds.
    run
        Computes the result from the arguments.
    unchanged
        Whether everything whose changes are not counted is unchanged; None if there is nothing to compare.
    trace, call
        The trace, and the run of its program.
    """

    changes: int
    run: OfTensors
    unchanged: Callable[[], bool] | None
    trace: Trace
    call: Forward


_LOADED = Guards((), (), -1)
"""The guards of a model from a file, which depends on nothing."""


class CompiledModel(Inspectable):
    """A model that runs as a NumPy program.

    It is a module itself, with the parameters, buffers, children and hooks of the original under the same names, so it
    can be part of other modules, be trained, and be put into evaluation mode.

    Call it like the original. It is traced again whenever something it depends on has changed: types and structure of
    the arguments, scalars, the model's mode, attributes, hooks and parameters, and whatever else its code has read:
    globals, closures, objects and their classes. Weights are read at each call, not traced. It may be called from
    several threads at once.

    Attributes
    ----------
    model
        What was compiled; None for a model loaded from a file.
    input_names
        Names by which the inputs may be given, in order, for a module that defines them, such as one from an ONNX file.
        Otherwise empty; keywords are then those of the function.
    """

    hands_back = True
    """Whether arguments that the model changes in place are changed for its caller too."""

    __setattr__: Any = object.__setattr__  # no trace depends on what is set here at each call
    __delattr__: Any = object.__delattr__

    def __init__(self, model: Callable[..., object] | None, specs: Specs, options: Options) -> None:
        self.model = model
        for name, make in OWN.items():  # shared with the module: registering in one registers in both
            setattr(self, name, getattr(model, name) if isinstance(model, Module) else make())
        self.options = options
        self.input_names = () if model is None else recording.input_names(model)
        self._specs = specs = self._placed(*specs)
        self._lock = forkable()
        self._store = Store()
        self._traces: Recent[int, Trace] = Recent(SPECIALIZATIONS)
        self._by_key: dict[object, list[Trace]] = {}
        self._latest: Trace | None = None
        self._ran: Forward | None = None
        """The latest run, in any thread."""
        self._found: Recent[tuple[object, ...], tuple[Assumption, ...]] = Recent(SPECIALIZATIONS)
        """For a structure and types, the latest assumptions about data-dependent sizes."""
        self._shortcuts: Recent[Any, _Shortcut] = Recent(SPECIALIZATIONS)
        self._types, structure = flatten(specs, (TensorType,))
        self._fixed: Structure | None = structure if self._types else None
        if self._fixed is not None:
            self._latest = self._at(TraceKey(self._fixed, ()), self._types)

    @classmethod
    def from_specialization(cls, specialization: Specialization) -> CompiledModel:
        """A compiled model without a model behind it (from a file)."""
        self = cls(None, ((), {}), specialization.options)
        for name, tensor in specialization.state.items():
            table: dict[str, Any] = self._parameters if tensor.requires_grad else self._buffers
            table[name] = tensor
        self.input_names = specialization.input_names
        self._latest = Trace(TraceKey(specialization.inputs, ()), Calls(specialization), _LOADED)
        self._fixed = specialization.inputs
        return self

    @property
    def training(self) -> bool:
        """The mode of the model; one from a file keeps that in which it was saved."""
        if self.model is None:
            return self._latest is not None and self._latest.specialization.training
        return isinstance(self.model, Module) and self.model.training

    @training.setter
    def training(self, mode: bool) -> None:
        if isinstance(self.model, Module):
            self.model.train(mode)
        elif self.model is None and mode != self.training:
            raise OptionError(
                f"a model loaded from a file keeps the mode it was saved in, "
                f"{'training' if self.training else 'evaluation'}; save it in the other mode too"
            )

    # ------------------------------------------------------------ calling

    def __call__(self, /, *args: Any, **kwargs: object) -> Any:
        if active_trace.get() is not None:
            return self._within_trace(args, kwargs)
        if kwargs:
            args, kwargs = self._placed(args, kwargs)
        key = None if kwargs else array_signature(args)
        if key is None:
            return self._run(args, kwargs)[0]
        now = changes.of_models.now
        shortcut = self._shortcuts.get(key)
        if shortcut is not None and shortcut.changes == now and (shortcut.unchanged is None or shortcut.unchanged()):
            self._latest, self._ran = shortcut.trace, shortcut.call
            return shortcut.run(*args)
        result, trace, call = self._run(args, kwargs)
        self._remember(now, key, trace, call)
        return result

    def _placed(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Specs:
        """The arguments, all by position if the inputs have names."""
        if not kwargs or not self.input_names:
            return args, kwargs
        return tuple(placed("the compiled model", self.input_names, args, kwargs)), {}

    def forward(self, /, *args: object, **kwargs: object) -> Any:
        """Same as calling the compiled model."""
        return self(*args, **kwargs)

    def __getitem__(self, index: object) -> Any:
        return self._entries("[...]")[index]

    def __len__(self) -> int:
        return len(self._entries("len()"))

    def __bool__(self) -> bool:
        return True

    def _entries(self, what: str) -> Any:
        """The model, if it is a container of modules; otherwise raises."""
        if not hasattr(type(self.model), "__getitem__"):
            kind = "a model from a file" if self.model is None else f"a compiled {shown(type(self.model).__name__)}"
            raise OptionError(f"{what}: {kind} holds no numbered modules; net.named_children() names what it has")
        return self.model

    def _run(self, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[Any, Trace, Forward]:
        leaves, structure = self._flat(args, kwargs)
        trace = self._latest = self._find(structure, leaves)
        for left in reversed(range(TRIES)):
            call, tensors, arrays = trace.calls.prepare(leaves)
            self._ran = call
            try:
                outputs = call.run(tensors, arrays)
                break
            except UntrueError as error:
                if not left:
                    raise
                trace = self._latest = self._otherwise(trace.key, error, leaves)
        return trace.calls.result(outputs, leaves), trace, call

    def _otherwise(self, key: TraceKey, error: UntrueError, leaves: Sequence[Any]) -> Trace:
        """The trace for other data-dependent sizes; later calls like this one start with it."""
        if self.model is None:
            error.add_note("what was saved is one trace: the model that it was compiled from is traced for that too")
            raise error
        self._found.keep(key[:2], error.instead)
        return self._at(key._replace(taken=error.instead), leaves)

    def _within_trace(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Any:
        """Call the model as part of a larger trace."""
        if self.model is None:
            raise TraceError(
                f"a model loaded from a file cannot be part of another compiled function ({user_location()}): "
                f"call the two one after the other, or compile them together from their modules"
            )
        return self.model(*args, **kwargs)

    def _remember(self, now: int, key: object, trace: Trace, call: Forward) -> None:
        """Let the next call with this signature go straight to its program.

        ``now`` is the count of changes of models before the call; if it has changed since, nothing is remembered.
        """
        guards = trace.guards
        if changes.of_models.now != now or (self.model is not None and not (guards.seen == now and guards.hold())):
            return
        straight = trace.calls.of_tensors(call)
        if straight is not None and OF_TEXTS not in trace.specialization.inputs[2]:
            self._shortcuts.keep(key, _Shortcut(now, straight, guards.unchanged, trace, call))

    def _flat(self, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[list[Any], Structure]:
        """The arguments as tensors and a structure; if specs fix that, keywords and keys may come in any order."""
        leaves, structure = flatten((args, kwargs))
        if self._fixed is None or structure == self._fixed:
            return leaves, structure
        try:
            return arranged(self._fixed, (args, kwargs)), self._fixed
        except TraceError as error:
            raise OptionError(
                f"this call does not have the positional inputs and keywords that the model was compiled for: {error}. "
                f"Compile without specs to specialise at each call"
            ) from error

    def _find(self, structure: Structure, leaves: Sequence[Any]) -> Trace:
        """The trace for arguments of these shapes and types; a new one if there is none that still holds."""
        if self.model is None:
            assert self._latest is not None
            return self._latest
        if self._fixed is None:
            return self._at(self._key(structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)), leaves)
        trace = self._at(self._key(structure, ()), leaves)
        sizes: dict[str, int] = {}
        while broken := trace.specialization.broken(leaves):
            sizes |= broken
            trace = self._at(self._key(structure, tuple(sorted(sizes.items()))), leaves)
        return trace

    def _key(self, structure: Structure, fixed: object) -> TraceKey:
        return TraceKey(structure, fixed, self._found.get((structure, fixed), ()) if self._found else ())

    def _at(self, key: TraceKey, leaves: Sequence[object]) -> Trace:
        """The trace for a key."""
        found = self._holding(key)
        if found is None:
            with self._lock:
                found = self._holding(key) or self._trace(key, leaves)
        return found

    def _holding(self, key: object) -> Trace | None:
        found = next((trace for trace in reversed(self._by_key.get(key, ())) if trace.guards.hold()), None)
        return None if found is None else self._traces.use(id(found)) or found

    def _given(self, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[Specialization, list[Array]]:
        leaves, structure = self._flat(args, kwargs)
        arrays = [leaf._array if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        return self._find(structure, leaves).specialization, arrays

    @property
    def _latest_run(self) -> Executable | None:
        ran = None if self._ran is None else self._ran.program
        return ran if isinstance(ran, Executable) else None

    # ------------------------------------------------------------ tracing

    def _trace(self, key: TraceKey, leaves: Sequence[Any]) -> Trace:
        """Trace the model for these arguments, and keep the trace."""
        structure, fixed, taken = key
        if self._fixed is not None:
            types = [spec.substitute(dict(fixed)) for spec in self._types]
        else:
            types = [TensorType(tuple(x.shape), as_dtype(x.dtype)) for x in leaves]
        assert self.model is not None
        recorded = recording.record(self.model, structure, types, taken=taken, hands_back=self.hands_back)
        made = self._made(recorded, structure)
        if self._fixed is not None:
            made.graph  # noqa: B018 - optimise now, so that what cannot be compiled is reported here
        trace = Trace(key, Calls(made), recorded.guards)
        self._by_key[key] = [*self._by_key.get(key, ()), trace]
        for old in self._traces.keep(id(trace), trace):
            self._by_key[old.key] = [one for one in self._by_key[old.key] if one is not old]
            if not self._by_key[old.key]:
                del self._by_key[old.key]
        return trace

    def _made(self, recorded: recording.Record, structure: Structure) -> Specialization:
        """The specialization for a record of the model."""
        recorder, graph, results, _, of_mode = recorded
        trained = isinstance(self.model, Module) and self.model.training
        return Specialization(
            graph,
            structure,
            results,
            recorder.state,
            training=trained or any(m.training for m in recorder.modules.values()),
            options=self.options,
            store=self._store,
            assumptions=tuple(recorder.assumptions),
            of_mode=of_mode,
            input_names=self.input_names,
        )

    def _current(self) -> Specialization:
        """The specialization of the model as it is now, for arguments like those of the latest call."""
        latest = self._latest
        if latest is None:
            raise LucidError("nothing is compiled yet: call the compiled model once, or give lucid.compile a spec")
        if self.model is not None and not latest.guards.hold():
            inputs = latest.specialization.traced.input_types
            latest = self._latest = self._at(latest.key, inputs)
        return latest.specialization

    # ------------------------------------------------------------ files and copies

    def save(self, path: str | Path) -> None:
        """Write graphs and weights to a ``.lucid`` file."""
        write_archive(path, self._current())

    def export_onnx(
        self, path: str | os.PathLike[str], *, opset: int = USUAL, external_data: bool = False,
        input_names: Sequence[str] = (), output_names: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Write the model as an ONNX file, as it was traced; for the options see :func:`lucid.onnx.export`."""
        made = self._current()
        how = onnx_file.Form(opset, external_data, input_names, output_names)
        drops = made.training and not made.repeatable
        traced = onnx_file.Traced(made.traced, made.state, made.inputs, made.results.structure, drops, made.assumptions)
        onnx_file.write_onnx(traced, path, how)

    def __guarded__(self) -> Iterable[Any]:
        """What a larger trace that this is part of depends on."""
        return (self.model,)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy (deep, or by pickling) is compiled from a copy of the model."""
        if self.model is None:
            return _from_bytes, (archive_bytes(self._current()), self.options)
        return CompiledModel, (self.model, self._specs, self.options)

    def __deepcopy__(self, memo: dict[int, object]) -> CompiledModel:
        make, arguments = self.__reduce__()
        copied: CompiledModel = make(*copy.deepcopy(arguments, memo))
        memo[id(self)] = copied
        return copied

    def __repr__(self) -> str:
        return f"<compiled {self._called}: {len(self._traces) or int(self._latest is not None)} traces>"


def _from_bytes(data: bytes, options: Options) -> CompiledModel:
    return CompiledModel.from_specialization(archive_from_bytes(data, options))
