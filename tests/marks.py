"""Marks that several test modules use."""

from functools import partial

import pytest

slow = partial(pytest.param, marks=pytest.mark.slow)
"""`slow(value, ...)` among the values of `parametrize`: left out by default, one of many that test the same thing."""


def heavy(there, reason):
    """Marks a test of what takes long to install or load: a slow one, skipped for a reason where that is not there."""
    return lambda test: pytest.mark.slow(pytest.mark.skipif(not there, reason=reason)(test))
