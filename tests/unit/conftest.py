"""Hypothesis profiles of the project's own property tests; HYPOTHESIS_PROFILE names one, "ci" is the default."""

import os

from hypothesis import settings

settings.register_profile("dev", max_examples=10, deadline=None, database=None)
settings.register_profile("ci", max_examples=40, deadline=None, database=None, derandomize=True)
settings.register_profile("thorough", max_examples=1000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
