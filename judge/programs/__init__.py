"""Reproducers: a verdict as a program in plain PyTorch."""
