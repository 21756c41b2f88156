"""Tests of the passes: what they make of a graph, and that it computes the same."""
