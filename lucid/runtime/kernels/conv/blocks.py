"""Convolution by blocks: gather the windows of some output rows into a matrix that fits the cache, and multiply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.lib.stride_tricks import as_strided

from ....graph.types import DType
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..shared.panels import cut_for, multiply_lines
from ..shared.panels_views import bind_products
from ..shared.windows import bind, channels_last, deal, pieces, tuple_of
from .geometry import Conv

BLOCK_BYTES = 1 << 20
"""Bytes of a block's window matrix, or of its product if that is wider: a common L2 cache. Half as many take 5 to 10
per cent longer, for their calls."""
LEAST_ROWS = 128
"""A product with fewer rows spends its time streaming the weights."""
FEW_CHANNELS = 16
"""Up to so many planes are brought into another memory order one by one."""
SHORT_ROW = 512
"""Bytes of a window's row up to which it is copied as one element."""


class Part(NamedTuple):
    """Some rows of some images of one group's output."""

    n0: int
    n1: int
    r0: int
    r1: int
    group: int

    @property
    def images(self) -> slice:
        return slice(self.n0, self.n1)

    @property
    def rows(self) -> slice:
        return slice(self.r0, self.r1)


def split(conv: Conv, rows: int, pixels_per_row: int, itemsize: int, *, shared: bool = False) -> list[Part]:
    """``rows`` rows of output, each of which needs so many rows of the window matrix, in parts of block size.

    ``shared`` tells that parts next to each other need some of the same rows, which both compute: they are larger.
    """
    if not conv.images * rows * pixels_per_row:
        return []
    most = max(LEAST_ROWS, (2 if shared else 1) * BLOCK_BYTES // (max(conv.taps, conv.group_out) * itemsize))
    image = rows * pixels_per_row
    if image <= most:
        cuts = [(a, b, 0, rows) for a, b in pieces(conv.images, most // image)]
    else:
        inside = pieces(rows, most // pixels_per_row)
        cuts = [(n, n + 1, a, b) for n in range(conv.images) for a, b in inside]
    return [Part(*cut, g) for g in range(conv.groups) for cut in cuts]


class Windows(NamedTuple):
    """Names in the program: lists (for each worker and part) and the loop variables that go with them."""

    names: list[str]
    lists: list[str]
    body: list[str]
    matrix: str
    reads: tuple[Operand, ...]


ONE_BY_ONE = (1, 1)
"""Windows row by row; see :func:`emit_windows`."""


def emit_windows(
    k: Emitter, x: Operand, conv: Conv, work: Sequence[Sequence[Part]], pool: tuple[int, int] = ONE_BY_ONE
) -> Windows:
    """Gather the windows of each part of ``x`` into a matrix (images x rows x columns, taps of a group).

    From padded images, or images in another order than channels last, the rows that a part needs are
    first copied into a small padded buffer.

    Parameters
    ----------
    k, x, conv, work
        Where, of what, and which windows.
    pool
        Pixels of a pooling's windows, which lie side by side and fill each part: the matrix begins with the first
        pixel of all of them, then come all second ones, and so on. Their maximum is then taken along the matrix.
    """
    parts = [part for mine in work for part in mine]
    pixels = max((p.n1 - p.n0) * (p.r1 - p.r0) for p in parts) * conv.cols.count
    matrices = [k.scratch((pixels * conv.taps,), x.dtype, "windows") for _ in work]
    direct = channels_last(x) and not conv.padded
    plan, listed = k.use([list(map(tuple, mine)) for mine in work], f"{k.name}_parts"), tuple_of(matrices)
    geometry = k.use(conv, f"{k.name}_conv")
    seen, cols, matrix = (k.names.fresh(n) for n in ("seen", "windows", "matrix"))
    copy = f"{cols}[...] = {seen}"
    if direct:
        views = bind(k, "gather", f"{k.use(bind_direct)}({geometry}, {plan}, {x}, {listed}, {pool})", x, *matrices)
        return Windows([f"({seen}, {cols}, {matrix})"], [views], [copy], matrix, (x, *matrices))
    held = max((p.r1 - p.r0 - 1) * conv.rows.stride for p in parts) + conv.rows.extent
    width = (conv.cols.count - 1) * conv.cols.stride + conv.cols.extent
    most = max(p.n1 - p.n0 for p in parts)
    images = [k.scratch((most, held, width, conv.group_in), x.dtype, "padded") for _ in work]
    right = min(width, conv.cols.before + conv.cols.size)
    for image in images:
        for edge in (slice(0, conv.cols.before), slice(right, width)):
            if edge.stop > edge.start:
                k.line(f"{image}[:, :, {edge.start}:{edge.stop}].fill(0)")
    views = bind(
        k,
        "gather",
        f"{k.use(bind_padded)}({geometry}, {plan}, {tuple_of(images)}, {listed}, {pool})",
        *images,
        *matrices,
    )
    sources = bind(k, "sources", f"{k.use(bind_sources)}({geometry}, {plan}, {x})", x)
    edges, inside, edge_, source = (k.names.fresh(n) for n in ("edges", "inside", "edge", "source"))
    body = [f"for {edge_} in {edges}:\n    {edge_}.fill(0)", copy_in(k, x, conv, inside, source), copy]
    names = [f"({edges}, {inside}, {seen}, {cols}, {matrix})", source]
    return Windows(names, [views, sources], body, matrix, (*images, *matrices))


def copy_in(k: Emitter, x: Operand, conv: Conv, inside: str, source: str) -> str:
    """The line that copies the input into padded memory; a few planes one by one, along their rows."""
    if channels_last(x) or conv.group_in > FEW_CHANNELS:
        return f"{inside}[...] = {source}"
    channel = k.names.fresh("channel")
    return f"for {channel} in range({conv.group_in}):\n    {inside}[..., {channel}] = {source}[..., {channel}]"


def whole_runs(seen: Any, cols: Any) -> tuple[Any, Any]:
    """Windows and their matrix with each window's row as one element, where it lies side by side and is short.

    NumPy starts a loop for every run of numbers that it copies; one element takes half the time.
    """
    *others, columns, channels = seen.shape
    size = columns * channels * seen.itemsize
    if not seen.size or size > SHORT_ROW or seen.strides[-2:] != (channels * seen.itemsize, seen.itemsize):
        return seen, cols
    shape = (*others, columns * channels)
    rows = as_strided(seen, shape, (*seen.strides[:-2], seen.itemsize))
    return rows.view(f"V{size}")[..., 0], as_view(cols, shape).view(f"V{size}")[..., 0]


def _strided(conv: Conv, x: Any, images: int, rows: int, pool: tuple[int, int]) -> Any:
    """Overlapping windows over an array (images, rows, columns, channels), as :func:`_matrix` has them."""
    s0, s1, s2, s3 = x.strides
    v, h, (down, right) = conv.rows, conv.cols, pool
    s_row, s_col = v.stride * s1, h.stride * s2
    shape = (down, right, images, rows // down, h.count // right, v.kernel, h.kernel, x.shape[3])
    return as_strided(x, shape, (s_row, s_col, s0, down * s_row, right * s_col, v.dilation * s1, h.dilation * s2, s3))


def _matrix(conv: Conv, memory: Any, part: Part, pool: tuple[int, int]) -> tuple[Any, Any]:
    """The window matrix of a part, as (down, right, images, rows, columns, kh, kw, channels) and in two dimensions."""
    images, rows, (down, right) = part.n1 - part.n0, part.r1 - part.r0, pool
    pixels = images * rows * conv.cols.count
    flat = as_view(memory[: pixels * conv.taps], pixels, conv.taps)
    kernel = (conv.rows.kernel, conv.cols.kernel, conv.group_in)
    return as_view(flat, down, right, images, rows // down, conv.cols.count // right, *kernel), flat


def _channels(conv: Conv, group: int) -> slice:
    return slice(group * conv.group_in, (group + 1) * conv.group_in)


def bind_direct(
    conv: Conv, work: Sequence[Sequence[Any]], x: Any, matrices: Sequence[Any], pool: tuple[int, int] = ONE_BY_ONE
) -> list[list[Any]]:
    """Views for parts that are gathered straight from ``x``."""
    nhwc, bound = x.transpose(0, 2, 3, 1), []
    for mine, memory in zip(work, matrices, strict=True):
        entries = []
        for part in map(Part._make, mine):
            source = nhwc[part.images, part.r0 * conv.rows.stride :, :, _channels(conv, part.group)]
            cols, matrix = _matrix(conv, memory, part, pool)
            seen = _strided(conv, source, part.n1 - part.n0, part.r1 - part.r0, pool)
            entries.append((*whole_runs(seen, cols), matrix))
        bound.append(entries)
    return bound


def _real_rows(conv: Conv, part: Part) -> tuple[int, int, int, int]:
    """First input row that a part needs (may be padding), the real rows among them, and the first not needed."""
    start = part.r0 * conv.rows.stride - conv.rows.before
    stop = (part.r1 - 1) * conv.rows.stride - conv.rows.before + conv.rows.extent
    low = min(max(0, start), stop)
    return start, low, max(low, min(stop, conv.rows.size)), stop


def _real_cols(conv: Conv) -> int:
    width = (conv.cols.count - 1) * conv.cols.stride + conv.cols.extent
    return max(0, min(conv.cols.size, width - conv.cols.before))


def bind_padded(
    conv: Conv, work: Sequence[Sequence[Any]], images: Sequence[Any], matrices: Sequence[Any],
    pool: tuple[int, int] = ONE_BY_ONE,
) -> list[list[Any]]:  # fmt: skip
    """Views for parts that are gathered from a padded buffer: edges to clear, its inside, windows, matrix."""
    bound = []
    for mine, image, memory in zip(work, images, matrices, strict=True):
        entries = []
        for part in map(Part._make, mine):
            number = part.n1 - part.n0
            start, low, high, stop = _real_rows(conv, part)
            edges = [e for e in (image[:number, : low - start], image[:number, high - start : stop - start]) if e.size]
            left = conv.cols.before
            inside = image[:number, low - start : high - start, left : left + _real_cols(conv)]
            cols, matrix = _matrix(conv, memory, part, pool)
            seen = _strided(conv, image, number, part.r1 - part.r0, pool)
            entries.append((edges, inside, *whole_runs(seen, cols), matrix))
        bound.append(entries)
    return bound


def bind_sources(conv: Conv, work: Sequence[Sequence[Any]], x: Any) -> list[list[Any]]:
    """The rows of ``x`` that each part needs."""
    nhwc, width = x.transpose(0, 2, 3, 1), _real_cols(conv)
    bound = []
    for mine in work:
        entries = []
        for part in map(Part._make, mine):
            _, low, high, _ = _real_rows(conv, part)
            entries.append(nhwc[part.images, low:high, :width, _channels(conv, part.group)])
        bound.append(entries)
    return bound


def _taps_last(w: Operand, conv: Conv, flipped: bool) -> str:
    """The weight as (groups, outputs, kernel rows, kernel columns, channels)."""
    v, h = conv.rows.kernel, conv.cols.kernel
    if flipped:
        split_ = (conv.groups, conv.group_in, conv.group_out, v, h)
        return f"{w}.reshape({split_})[..., ::-1, ::-1].transpose(0, 2, 3, 4, 1)"
    return f"{w}.reshape({(conv.groups, conv.group_out, conv.group_in, v, h)}).transpose(0, 1, 3, 4, 2)"


def pack_weights(k: Emitter, w: Operand, conv: Conv, *, flipped: bool = False) -> Operand:
    """The weight as one matrix (outputs, taps) for each group, its taps ordered as the window matrix's columns.

    ``flipped`` exchanges inputs and outputs and turns the kernel round: the weights of the input gradient.
    """
    with k.once(w):
        packed = k.scratch((conv.groups, conv.group_out, conv.taps), w.dtype, "packed")
        shape = (conv.groups, conv.group_out, conv.rows.kernel, conv.cols.kernel, conv.group_in)
        k.line(f"{k.seen(packed, shape)}[...] = {_taps_last(w, conv, flipped)}")
    return packed


def by_images(matrix: Any, out: Any) -> Any:
    """A part's window matrix as (images, taps, pixels), for its output (images, outputs, pixels)."""
    return as_view(matrix, out.shape[0], out.shape[2], matrix.shape[1]).transpose(0, 2, 1)


def by_panels(weights: Any, width: int) -> Any:
    """(groups, outputs, ...) as (groups, panels, taps, outputs of a panel)."""
    return weights.reshape(weights.shape[0], weights.shape[1] // width, width, -1).transpose(0, 1, 3, 2)


def multiply_windows(
    k: Emitter, windows: Windows, work: Sequence[Sequence[Part]], conv: Conv, w: Operand, outputs: str,
    *reads: Operand, flipped: bool = False,
) -> None:  # fmt: skip
    """Let the loop multiply each part's windows into its matrix (pixels, outputs) of the lists ``outputs``."""
    pixels = max((p.n1 - p.n0) * (p.r1 - p.r0) for mine in work for p in mine) * conv.cols.count
    cut = cut_for(k, pixels, conv.taps, conv.group_out)
    with k.once(w):
        packed = k.scratch((conv.groups, conv.group_out // cut.width, conv.taps, cut.width), w.dtype, "packed")
        k.line(f"{packed}[...] = {k.use(by_panels)}({_taps_last(w, conv, flipped)}, {cut.width})")
    matrices = f"[[entry[-1] for entry in mine] for mine in {windows.lists[0]}]"
    weights = f"[[{packed}[group] for group in mine] for mine in {[[p.group for p in mine] for mine in work]}]"
    source = f"{k.use(bind_products)}({matrices}, {weights}, {outputs}, {cut.rows})"
    products = k.names.fresh("products")
    windows.names.append(products)
    windows.lists.append(bind(k, "products", source, packed, *windows.reads, *reads))
    whole = cut.rows >= pixels and cut.width == conv.group_out and conv.groups == 1
    windows.body.append(multiply_lines(k, products, whole=whole))


def bind_outputs(conv: Conv, work: Sequence[Sequence[Any]], y: Any, last: bool) -> list[list[Any]]:
    """Each part of ``y`` as matrices: (pixels, outputs) if channels lie innermost, else (images, outputs, pixels)."""
    bound = []
    for mine in work:
        entries = []
        for part in map(Part._make, mine):
            number, pixels = part.n1 - part.n0, (part.r1 - part.r0) * conv.cols.count
            outputs = slice(part.group * conv.group_out, (part.group + 1) * conv.group_out)
            if last:
                view = y.transpose(0, 2, 3, 1)[part.images, part.rows, :, outputs]
                entries.append(as_view(view, number * pixels, conv.group_out))
            else:
                entries.append(as_view(y[part.images, outputs, part.rows], number, conv.group_out, pixels))
        bound.append(entries)
    return bound


def bind_weights(work: Sequence[Sequence[Any]], packed: Any) -> list[list[Any]]:
    """Each part's weight matrix."""
    return [[packed[part[4]] for part in mine] for mine in work]


def bind_bias(conv: Conv, work: Sequence[Sequence[Any]], bias: Any, last: bool) -> list[list[Any]]:
    """Each part's bias, so that it broadcasts to its output."""
    shaped = as_view(bias, conv.groups, conv.group_out) if last else as_view(bias, conv.groups, conv.group_out, 1)
    return [[shaped[part[4]] for part in mine] for mine in work]


def working_set(conv: Conv, dtype: DType, threads: int) -> list[list[Part]]:
    """All parts of the output, dealt to the workers."""
    return deal(split(conv, conv.rows.count, conv.cols.count, dtype.itemsize), threads)
