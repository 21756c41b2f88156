"""The operators of ONNX that are known, by family. Importing this package registers them."""

from . import attention as attention
from . import chosen as chosen
from . import control as control
from . import elementwise as elementwise
from . import images as images
from . import indexing as indexing
from . import learned as learned
from . import linear_attention as linear_attention
from . import loops as loops
from . import losses as losses
from . import moves as moves
from . import norms as norms
from . import optimised as optimised
from . import optional as optional
from . import places as places
from . import products as products
from . import quantised as quantised
from . import quantised_recurrent as quantised_recurrent
from . import quantised_simple as quantised_simple
from . import random as random
from . import recurrent as recurrent
from . import reductions as reductions
from . import shapes as shapes
from . import signals as signals
from . import training as training
from . import windows as windows
