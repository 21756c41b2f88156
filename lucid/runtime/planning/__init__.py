"""What runs, when and where: choosing lowerings, liveness, layout of memory, tuning."""
