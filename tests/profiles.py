"""How many examples Hypothesis draws in this project's own tests; HYPOTHESIS_PROFILE names one, "ci" is the default.

Whatever has a `@given` imports this. A conftest.py in `tests/`, which has no __init__.py, would not do: pytest gives it
the name of the conftest.py in anybody else's.
"""

import os

from hypothesis import settings

settings.register_profile("dev", max_examples=10, deadline=None, database=None)
settings.register_profile("ci", max_examples=40, deadline=None, database=None, derandomize=True)
settings.register_profile("thorough", max_examples=1000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
