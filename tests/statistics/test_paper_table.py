"""Table 1 of arXiv 2509.21984v1, computed again from its printed cells.

Every printed Avg and Delta follows from the printed cells (Delta with ddof 1), save for three
misprints, each kept here as a test:

1. Gemma3's Avg is printed 0.82; the cells give 82.04.
2. The first of two rows named LLaVA-v1.6-BaPA is the baseline, LLaVA-v1.6.
3. LLaVA-v1.6-BaPA's cell 1 is printed 84.47. With 94.47 the cells give the printed Avg of 93.78
   exactly, and a Delta of 0.58; the printed Delta of 9.97 comes from the mistyped cell.
"""

import numpy as np
import pytest

from wheresight.statistics.criterion import explained_share, shifted_delta
from wheresight.statistics.dispersion import accuracy_range, delta, worst

TABLE_1 = """
Gemma3               83.77 83.05 78.11 85.11 84.43 78.98 84.41 82.87 77.60   0.82  8.75
Gemma3-BaPA          93.03 93.10 91.05 92.66 92.97 90.01 92.49 92.94 90.48  92.08  1.49
LLaVA-NeXT           68.91 77.62 70.89 58.54 69.82 62.52 55.20 63.89 57.15  64.95 54.90
LLaVA-NeXT-BaPA      96.44 96.35 96.52 96.31 96.12 96.47 96.42 96.46 96.63  96.41  0.02
LLaVA-v1.6-BaPA#1    75.71 77.75 71.67 70.98 65.87 68.35 65.87 72.40 68.81  70.82 16.79
LLaVA-v1.6-BaPA#2    94.89 84.47 93.63 94.18 93.79 92.71 94.05 93.77 92.55  93.78  9.97
Qwen2.5-VL-7B        81.86 80.00 81.67 83.81 81.71 83.58 84.15 82.62 83.05  82.49  1.74
Qwen2.5-VL-7B-BaPA   80.95 78.71 79.92 81.95 80.43 82.23 83.41 81.54 82.38  81.28  2.06
Qwen2.5-VL-32B       82.25 81.82 82.58 82.39 81.47 81.66 82.52 81.92 81.00  81.96  0.28
Qwen2.5-VL-32B-BaPA  82.31 81.69 82.31 82.72 81.66 81.53 84.18 83.57 82.34  82.48  0.80
"""
PRINTED = {
    name: np.array([float(number) for number in numbers])
    for name, *numbers in (line.split() for line in TABLE_1.strip().splitlines())
}
CELLS = {name: row[:9] for name, row in PRINTED.items()}
CELLS["LLaVA-v1.6-BaPA#2, corrected"] = np.where(
    CELLS["LLaVA-v1.6-BaPA#2"] == 84.47, 94.47, CELLS["LLaVA-v1.6-BaPA#2"]
)
HALF_A_DIGIT = 0.005 + 1e-9


@pytest.mark.parametrize("name", PRINTED)
def test_delta_is_the_printed_one(name):
    assert delta(CELLS[name]) == pytest.approx(PRINTED[name][10], abs=HALF_A_DIGIT)


@pytest.mark.parametrize("name", sorted(set(PRINTED) - {"Gemma3", "LLaVA-v1.6-BaPA#2"}))
def test_average_is_the_printed_one(name):
    assert CELLS[name].mean() == pytest.approx(PRINTED[name][9], abs=HALF_A_DIGIT)


def test_delta_is_not_the_population_variance():
    for name, row in PRINTED.items():
        if row[10] > 0.1:
            assert abs(CELLS[name].var() - row[10]) > HALF_A_DIGIT


def test_first_misprint_the_average_of_gemma3():
    assert PRINTED["Gemma3"][9] == 0.82
    assert CELLS["Gemma3"].mean() == pytest.approx(82.04, abs=HALF_A_DIGIT)


def test_second_misprint_the_baseline_named_as_the_method():
    """The row named LLaVA-v1.6-BaPA first is the unchanged model: 70.82, as far below the second
    row as LLaVA-NeXT is below its own BaPA row, and no other row of the table is that baseline."""
    first, second = CELLS["LLaVA-v1.6-BaPA#1"], CELLS["LLaVA-v1.6-BaPA#2, corrected"]
    assert first.mean() == pytest.approx(70.82, abs=HALF_A_DIGIT)
    assert (second - first > 14).all()
    assert "LLaVA-v1.6" not in PRINTED


def test_third_misprint_one_cell_of_llava_16_bapa():
    printed, corrected = CELLS["LLaVA-v1.6-BaPA#2"], CELLS["LLaVA-v1.6-BaPA#2, corrected"]
    assert printed.mean() == pytest.approx(92.67, abs=HALF_A_DIGIT)
    assert delta(printed) == pytest.approx(9.97, abs=HALF_A_DIGIT)
    assert corrected.mean() == pytest.approx(93.78, abs=HALF_A_DIGIT)
    assert delta(corrected) == pytest.approx(0.58, abs=HALF_A_DIGIT)


def test_worst_cell_and_range():
    assert worst(CELLS["LLaVA-NeXT"]) == 55.20
    assert accuracy_range(CELLS["LLaVA-NeXT"]) == pytest.approx(77.62 - 55.20)


@pytest.mark.parametrize(
    ("baseline", "method", "shifted", "share"),
    [
        ("Gemma3", "Gemma3-BaPA", 2.83, 0.82),
        ("LLaVA-NeXT", "LLaVA-NeXT-BaPA", 2.24, 0.96),
        ("LLaVA-v1.6-BaPA#1", "LLaVA-v1.6-BaPA#2, corrected", 2.03, 0.91),
    ],
)
def test_a_criterion_shift_alone_explains_most_of_the_fall(baseline, method, shifted, share):
    a, b = CELLS[baseline] / 100, CELLS[method] / 100
    shift, moved = shifted_delta(a, b.mean().round(4))  # to the average as it is printed
    assert shift > 0
    assert moved == pytest.approx(shifted, abs=HALF_A_DIGIT)
    explained = explained_share(delta(100 * a), delta(100 * b), moved)
    assert explained == pytest.approx(share, abs=0.006)
