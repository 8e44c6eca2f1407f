"""In-memory worlds for tests."""
