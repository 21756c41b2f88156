"""The errors that Lucid raises. Each names the op, module or file, what was wrong, and what to do instead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import FrameType

_PACKAGE = os.path.join(os.path.dirname(__file__), "")


class LucidError(Exception):
    """Base of all errors raised by Lucid."""

    def __str__(self) -> str:
        """The message; half a surrogate pair in a name of the user's, which could not be printed, is escaped."""
        return super().__str__().encode("utf-8", "backslashreplace").decode()


class ShapeError(LucidError, ValueError):
    """Shapes, ranks or sizes that do not fit an operation.

    Attributes
    ----------
    unequal
        Two lists of sizes that the operation needs to be equal, if that was the problem.
    """

    def __init__(self, *args: object, unequal: tuple[Sequence[object], Sequence[object]] | None = None) -> None:
        super().__init__(*args)
        self.unequal = unequal


class DTypeError(LucidError, TypeError):
    """An element type that an operation does not accept."""


class OptionError(LucidError, ValueError):
    """An argument or attribute with an invalid value (a stride of 0, an unknown reduction)."""


class BudgetError(OptionError):
    """A memory budget that cannot be met.

    Attributes
    ----------
    least
        The smallest budget, in bytes, that can be met.
    """

    def __init__(self, *args: object, least: int = 0) -> None:
        super().__init__(*args)
        self.least = least


class PositionError(LucidError, IndexError):
    """An index outside a list of modules or parameters."""


class MissingKeyError(LucidError, KeyError):
    """A name that is not in a dict of modules."""

    def __str__(self) -> str:
        return "".join(map(str, self.args)).encode("utf-8", "backslashreplace").decode()  # KeyError's has quotes


class GraphError(LucidError, ValueError):
    """A malformed graph: a cycle, a dangling edge, an unknown op, a type that does not follow from its inputs."""


class TraceError(LucidError, RuntimeError):
    """Something in a model that cannot be recorded in a static graph, such as a branch on a tensor's value."""


class GradientError(LucidError, RuntimeError):
    """A gradient that does not exist or was requested in the wrong way."""


class ProofError(LucidError, RuntimeError):
    """A pass, gradient rule or program was found to compute a wrong result.

    Attributes
    ----------
    graph
        The smallest :class:`~lucid.graph.ir.Graph` that shows it, if one was searched for.
    script
        ``Path`` of a script that shows it, next to a ``.lucid`` file of that graph.
    """

    def __init__(self, *args: object, graph: object = None, script: object = None) -> None:
        super().__init__(*args)
        self.graph, self.script = graph, script

    def __str__(self) -> str:
        found = super().__str__()
        return found if self.script is None else f"{found}. To see it: python {self.script}"


class PassError(ProofError):
    """A compiler pass failed or changed what the graph computes."""


class LoweringError(ProofError):
    """A node of a compiled program computes a result that differs from the reference."""


class RuleError(ProofError):
    """A gradient rule gives a result that differs from the derivative."""


class ExecutionError(LucidError, RuntimeError):
    """A step of a compiled program failed while it ran."""


class FileError(LucidError, OSError):
    """A file that cannot be read or written, or whose content is not what it claims to be."""


class PluginError(LucidError, ImportError):
    """A plug-in is not installed, cannot be loaded, or is not what its entry point declares."""


class PluginWarning(UserWarning):
    """A plug-in was ignored, as it cannot be loaded."""


class DrawError(LucidError, RuntimeError):
    """A picture that cannot be made, for instance because Graphviz is not available."""


def from_handler(error: BaseException) -> bool:
    """Whether a signal handler raised the error, in the middle of unrelated code.

    Such an error is the caller's, and is passed on unchanged. Handlers are recognised by the frame argument that only
    they receive.
    """
    traceback = error.__traceback__
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
        if frame.f_code.co_filename.startswith(_PACKAGE):
            continue  # to look at a frame's variables has it keep them, the error among them
        for given in frame.f_locals.values():
            if isinstance(given, FrameType) or (type(given) is tuple and FrameType in map(type, given)):
                return True
    return False


def note_where(error: Exception, where: str) -> None:
    """Note on an error in what kind of third-party function it was raised; such functions may raise anything."""
    if not isinstance(error, LucidError) and not from_handler(error):
        error.add_note(where)
