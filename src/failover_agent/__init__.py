"""Keeps exactly one writable PostgreSQL among the nodes of a cluster."""
