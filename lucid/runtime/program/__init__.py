"""Programs: their statements, memory and source, and the object that runs them."""
