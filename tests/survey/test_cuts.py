"""Cuts: what they keep, and that nothing in them can run."""

import numpy as np
import pytest

from analysis.core.files import BorderError
from analysis.params.types import parsed
from analysis.survey.cuts import check_names, cut_columns, rows_kept

COLUMNS = {
    "z": np.array([0.2, 0.6, np.nan, 1.1]),
    "flag": np.array([0, 1, 0, 5]),
    "source": np.array(["a", "b", "a", ""]),
    "good": np.array([True, False, True, True]),
    "big": np.array([2**62, 2**62 + 1, -1, 0]),
    "unsigned": np.array([2**64 - 1, 2**63, 2**62 + 1, 5], np.uint64),
    "gaps": np.array([2**62 + 1, np.nan, -(2**62) - 1, 7], object),  # as readers give large numbers with gaps
    "z4": np.array([0.1, 0.3, 0.7, np.nan], np.float32),
    "z2": np.array([0.1, 0.3, 0.7, 1.2], np.float16),
    "mag-err": np.array([0.1, 0.2, 0.3, 0.4]),
    "('shape', 'e.1')": np.array([0.1, -0.2, 0.3, -0.4]),
    "a`b": np.array([1, 2, 3, 4]),
    "class": np.array([0, 1, 2, 3]),
    "\N{MICRO SIGN}": np.array([1.0, 2.0, 3.0, 4.0]),  # which Python would read as the Greek letter
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
        ("z4 <= 0.3", [1, 1, 0, 0]),  # in the precision of the column
        ("0.3 < z4", [0, 0, 1, 0]),
        ("0.1 < z4 <= 0.7", [0, 1, 1, 0]),
        ("z4 == 0.7 | z4 == 3/10", [0, 1, 1, 0]),
        ("z4 != 0.1", [0, 1, 1, 1]),
        ("z2 == 0.1 | z2 >= 1.2", [1, 0, 0, 1]),
        ("1 - z4 >= 0.7 & -z4 >= -0.3", [1, 1, 0, 0]),
        ("z4 * 1e50 < 2e49", [1, 0, 0, 0]),  # numbers that it cannot hold
        ("z4 * 1e-60 > 2e-61", [0, 1, 1, 0]),
        ("z4 ** 60 > 0", [1, 1, 1, 0]),
        ("big == -1 | big == 4611686018427387904.0", [1, 0, 1, 0]),  # exactly
        ("unsigned > 18446744073709551614 | unsigned == 5", [1, 0, 0, 1]),
        ("unsigned == big | -1 >= unsigned", [0, 0, 0, 0]),
        ("unsigned > big", [1, 1, 1, 1]),
        ("gaps == 4611686018427387905 | gaps == -4611686018427387905", [1, 0, 1, 0]),
        ("gaps != 7", [1, 1, 1, 0]),
        ("~(gaps < 8.5)", [1, 1, 0, 0]),
        ("`mag-err` < 0.25 & `('shape', 'e.1')` > 0", [1, 0, 0, 0]),  # names that are no words
        ("`a``b` > 3 | source == '`'", [0, 0, 0, 1]),
        ("`class` >= 2 & `z` > 0 | \N{MICRO SIGN} == 1", [1, 0, 0, 1]),
    ],
)
def test_rows_that_are_kept(cuts, expected):
    np.testing.assert_array_equal(rows_kept(cuts, COLUMNS, "a.fits"), np.array(expected, bool))


def test_columns_that_are_needed():
    assert cut_columns("z_b > 0.5 & (fitclass == 0 | z_b < weight)") == ["fitclass", "weight", "z_b"]
    assert cut_columns(None) == []
    assert cut_columns("`z-b` > name0 & `z b` != '`no`'") == ["name0", "z b", "z-b"]


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
        ("source + 1 > 2", "'source' is text, which arithmetic cannot use"),
        ("flag", "are not a condition"),
        ("-z", "are not a condition"),
        ("big % 2 == 0", "'big' holds integers beyond 2.53, which arithmetic would round"),
        ("gaps + 1 > 0", "'gaps' holds integers beyond 2.53"),
        ("(flag + 1) * 9007199254740991 == 5", "makes integers beyond 2.53, which would be rounded"),
    ],
)
def test_a_cut_that_the_columns_cannot_take_is_told(cuts, told):
    with pytest.raises(BorderError, match=told) as caught:
        rows_kept(cuts, COLUMNS, "a.fits")
    assert "a.fits" in str(caught.value)


@pytest.mark.parametrize(
    ("cuts", "have"),
    [
        ("mag-err < 0.1", "mag-err"),
        ("2 * mag-err+1 > 0", "mag-err"),
        ("z > 0 & MAG-ERR < 1", "mag-err"),
        ("flux/sigma > 5", "flux/sigma"),
        ("a - b > 0", "a - b"),
        ("2-sigma < 1", "2-sigma"),
    ],
)
def test_arithmetic_that_is_the_name_of_a_column_is_told(cuts, have):
    with pytest.raises(
        BorderError, match="backticks around its name for the column, or a blank on each side"
    ) as caught:
        check_names(cuts, ["z", have], "a.fits")
    assert repr(have) in str(caught.value)


def test_arithmetic_that_is_no_name_is_taken():
    have = ["mag-err", "a-b", "0-5", "z"]
    for cuts in ("mag - err < 1", "`mag-err` < 1", "z == 'mag-err'", "data-b > 1", "a-b2 > 1", "z > 0-5", None):
        check_names(cuts, have, "a.fits")
