"""Marks of single parameters."""

from functools import partial

import pytest

slow = partial(pytest.param, marks=pytest.mark.slow)
"""`slow(value, ...)` among the values of `parametrize`: left out by default, one of many that test the same thing."""
