"""Planning: choosing lowerings by cost, and scheduling what runs when."""
