"""Cuts: what they keep, and that nothing in them can run."""

import numpy as np
import pytest

from analysis.files import BorderError
from analysis.galaxies.cuts import kept, named
from analysis.params.expression import parsed

COLUMNS = {
    "z": np.array([0.2, 0.6, np.nan, 1.1]),
    "flag": np.array([0, 1, 0, 5]),
    "source": np.array(["a", "b", "a", ""]),
    "good": np.array([True, False, True, True]),
    "big": np.array([2**62, 2**62 + 1, -1, 0]),
}


@pytest.mark.parametrize(
    ("cuts", "expected"),
    [
        ("z > 0.5 & flag == 0", [0, 0, 0, 0]),
        ("z > 0.5 | flag == 0", [1, 1, 1, 1]),
        ("z < 0.5 & flag == 0", [1, 0, 0, 0]),
        ("~(z > 0.5)", [1, 0, 1, 0]),
        ("not z > 0.5 and good", [1, 0, 1, 0]),
        ("0.5 < z <= 1.1", [0, 1, 0, 1]),
        ("good", [1, 0, 1, 1]),
        ("source == 'a' & good", [1, 0, 1, 0]),
        ("source != ''", [1, 1, 1, 0]),
        ("source == '&|~'", [0, 0, 0, 0]),
        ("flag % 4 == 1", [0, 1, 0, 1]),
        ("2 * z + flag / 2 > -(1.5 - 3)", [0, 1, 0, 1]),
        ("z ** 2 > 0.3", [0, 1, 0, 1]),
        ("big == 4611686018427387905", [0, 1, 0, 0]),
        ("flag ** 9 ** 9 ** 9 > 1", [0, 0, 0, 1]),
        ("1 < 2 and z > 1", [0, 0, 0, 1]),
        ("(z > 0.5)\n & (flag == 1)", [0, 1, 0, 0]),
    ],
)
def test_rows_that_are_kept(cuts, expected):
    np.testing.assert_array_equal(kept(cuts, COLUMNS, "a.fits"), np.array(expected, bool))


def test_columns_that_are_needed():
    assert named("z_b > 0.5 & (fitclass == 0 | z_b < weight)") == ["fitclass", "weight", "z_b"]
    assert named(None) == []


@pytest.mark.parametrize(
    "cuts",
    [
        *("__import__('os').system('true')", "z.__class__ == 0", "z[0] > 1", "f(z) > 1", "(lambda: z)() > 1"),
        *("[z for z in y] == 0", "z if z else y", "z > 1; z", "z := 1", "z = 1", "f'{z}' == 'a'", "z > 1j", "z > b'a'"),
        *("z in y", "z is None", "z ^ 1 > 0", "z << 2 > 0", "z @ y > 0", "*z > 1", "{z} == 0", "...", "z > None"),
        *("", " ", "(", "z >", "1 > 0", "z + 1", "1", "'a'", "'a", "z > \0", "lambda z: z", "await z", "yield z"),
        *("not " * 300 + "z", "(" * 300 + "z" + ")" * 300, "-" * 500 + "z > 1", "z > 1 & " * 400 + "z > 1"),
        *(f"z > {2**70}", "z > 1\\", "z > 1 # no\n)", "\tz > 1\n  z", "z > 0x", "é > 1; z", "print(z)", "z > 1e"),
    ],
)
def test_everything_else_is_one_sentence_and_is_never_run(cuts):
    with pytest.raises(ValueError, match=r"^[^\n]{1,300}$"):
        parsed(cuts)


@pytest.mark.parametrize(
    ("cuts", "told"),
    [
        ("z > 'a'", "compares text with a number"),
        ("source > 1", "compares text with a number"),
        ("flag & z > 1", "'flag' is a quantity where a condition should stand"),
        ("source + 1 > 2", "'source' is text, which cannot be reckoned with"),
        ("flag", "are no condition"),
        ("-z", "are no condition"),
    ],
)
def test_a_cut_that_the_columns_cannot_take_is_told(cuts, told):
    with pytest.raises(BorderError, match=told) as caught:
        kept(cuts, COLUMNS, "a.fits")
    assert "a.fits" in str(caught.value)
