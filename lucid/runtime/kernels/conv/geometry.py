"""The sizes of a convolution."""

from __future__ import annotations

from dataclasses import dataclass

from ....graph.windows import Axis


@dataclass(frozen=True)
class Conv:
    """The numbers of one convolution. ``taps`` is the length of a window of one group's channels."""

    images: int
    channels: int
    outputs: int
    groups: int
    rows: Axis
    cols: Axis

    @property
    def group_in(self) -> int:
        return self.channels // self.groups

    @property
    def group_out(self) -> int:
        return self.outputs // self.groups

    @property
    def taps(self) -> int:
        return self.rows.kernel * self.cols.kernel * self.group_in

    @property
    def padded(self) -> bool:
        return any((self.rows.before, self.rows.after, self.cols.before, self.cols.after))

    @property
    def pixels(self) -> int:
        return self.images * self.rows.count * self.cols.count
