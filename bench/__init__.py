"""Timing the layers side by side, and measuring the tolerance."""
