"""Verification by example: passes must not change what a graph computes, gradient rules must give derivatives, and
programs must compute what their graphs say.

``lucid.compile(model, verify=True)`` checks all three, and saves the smallest graph that shows a fault.
"""

from .evidence import inputs_of as inputs_of
from .gradients import check_gradients as check_gradients
from .passes import check_pass as check_pass
from .programs import check_program as check_program
