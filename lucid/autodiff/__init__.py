"""Graph-to-graph differentiation: the reverse walk, and the two halves that training runs."""
