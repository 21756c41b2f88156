"""Graph-to-graph differentiation: the reverse walk, and the forward and backward halves for training."""
