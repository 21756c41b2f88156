"""Lowerings of convolutions."""

from . import depthwise as depthwise
from . import depthwise_rows as depthwise_rows
from . import filtered as filtered
from . import grad as grad
from . import grad_depthwise as grad_depthwise
from . import grad_depthwise_phases as grad_depthwise_phases
from . import grad_weight as grad_weight
from . import grad_winograd as grad_winograd
from . import grad_winograd_ranged as grad_winograd_ranged
from . import im2col as im2col
from . import pointwise as pointwise
from . import pointwise_blocks as pointwise_blocks
from . import side_by_side as side_by_side
from . import space_to_depth as space_to_depth
from . import split_channels as split_channels
from . import toeplitz as toeplitz
from . import toeplitz_planes as toeplitz_planes
from . import winograd as winograd
from . import winograd_streamed as winograd_streamed
