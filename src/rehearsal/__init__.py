"""Rehearsals: build a cluster in the lab, hurt it, and check what its clients saw."""
