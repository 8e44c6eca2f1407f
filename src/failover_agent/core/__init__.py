"""What a node knows and decides: pure values and functions, no clock, no I/O, no logging."""
