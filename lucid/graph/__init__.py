"""The intermediate representation: dimensions, types, ops, graphs of them, and checks that a graph is sound."""
