"""Proof by example: a pass must not change what a graph computes, a gradient rule must give the slope, and a program
must compute what its graph says. ``lucid.compile(model, verify=True)`` asks all three, and writes down the smallest
graph that shows what is wrong.
"""

from .evidence import inputs_of as inputs_of
from .gradients import check_gradients as check_gradients
from .passes import check_pass as check_pass
from .programs import check_program as check_program
