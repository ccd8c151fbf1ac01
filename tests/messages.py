"""The check that bad input is rejected with one sentence."""

from contextlib import contextmanager

import pytest

from analysis.core.files import BorderError


@contextmanager
def rejected(*parts):
    """Expect a BorderError of one line that has all these parts; the error is in `.value`."""
    with pytest.raises(BorderError) as caught:
        yield caught
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in parts:
        assert str(part) in sentence
