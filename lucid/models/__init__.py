"""The networks of the benchmarks."""

from typing import TYPE_CHECKING

from ..base.absent import face
from .lenet import lenet5 as lenet5
from .mlp import mlp as mlp
from .mobilenet import MobileNetV1 as MobileNetV1
from .mobilenet import mobilenet_v1 as mobilenet_v1
from .resnet import ResNet as ResNet
from .resnet import resnet18 as resnet18
from .resnet import resnet34 as resnet34
from .resnet import resnet50 as resnet50
from .vgg import VGG as VGG
from .vgg import vgg11 as vgg11
from .vgg import vgg13 as vgg13
from .vgg import vgg16 as vgg16
from .vgg import vgg19 as vgg19

if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), {})
