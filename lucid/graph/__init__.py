"""The intermediate representation: graphs, ops, their text, files and pictures."""

from . import draw as draw
from .builder import Builder as Builder
from .dot import to_dot as to_dot
from .ir import Graph as Graph
from .ir import Node as Node
from .ir import Origin as Origin
from .ir import Value as Value
from .text import graph_diff as graph_diff
from .text import parse_text as parse_text
from .text import to_text as to_text
from .trace import Symbol as Symbol
from .trace import Tracer as Tracer
from .types import TensorType as TensorType
from .verify import verify as verify
