"""What a computation is: dimensions, types, ops, graphs of them and the checks that they are sound."""
