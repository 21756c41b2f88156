"""Lowerings of products of matrices."""

from . import blocks as blocks
from . import products as products
