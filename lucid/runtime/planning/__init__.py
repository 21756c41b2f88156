"""What runs, in which order, and when each value is known: choosing lowerings by cost, and the schedule."""
