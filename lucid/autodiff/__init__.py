"""Graph-to-graph differentiation: the reverse walk, and the halves that a training step runs."""
