"""The order of effects: observe, decide, execute, keep the lease."""
