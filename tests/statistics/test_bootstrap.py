import numpy as np
import pytest
from scipy import stats

from wheresight.statistics.bootstrap import ClusterBootstrap, exact_at_the_ends, interval
from wheresight.statistics.measures import GridAnswers, QuestionAnswers


def test_a_draw_is_a_seeded_multinomial():
    draw = np.concatenate(list(ClusterBootstrap(50, 4000, seed=1).draws()))
    assert draw.shape == (4000, 50)
    assert (draw.sum(axis=1) == 50).all()
    assert draw.mean(axis=0) == pytest.approx(1, abs=0.1)
    assert draw.var() == pytest.approx(1 - 1 / 50, abs=0.02)
    other = np.concatenate(list(ClusterBootstrap(50, 4000, seed=2).draws()))
    assert (draw != other).any()


def test_a_draw_does_not_depend_on_its_chunks():
    bootstrap = ClusterBootstrap(7, 100, seed=3)
    whole = np.concatenate(list(bootstrap.draws()))
    for chunk in (1, 13, 100):
        assert (np.concatenate(list(bootstrap.draws(chunk))) == whole).all()


def test_chunks_bound_the_memory():
    first = next(ClusterBootstrap(10_000, 5_000, seed=0).draws())
    assert first.size <= 1_000_000
    assert first.dtype == np.float32


def test_interval_agrees_with_scipy_for_a_mean():
    values = np.random.default_rng(0).exponential(size=200)
    draw = np.concatenate(list(ClusterBootstrap(200, 4000, seed=0).draws()))
    low, high = interval(values.mean(), draw @ values / 200)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.02)
    assert high == pytest.approx(expected.high, abs=0.02)


def test_interval_takes_the_bias_of_the_replicates_out():
    replicates = np.random.default_rng(0).normal(5.0, 1.0, (4000, 2))
    low, high = interval(np.array([3.0, 5.0]), replicates)
    assert low == pytest.approx([3 - 1.96, 5 - 1.96], abs=0.12)
    assert high == pytest.approx([3 + 1.96, 5 + 1.96], abs=0.12)


def test_interval_is_cut_at_its_bounds_and_knows_nan():
    replicates = np.random.default_rng(0).normal(0.0, 1.0, (1000, 3))
    replicates[:, 1] = np.nan
    replicates[:500, 2] = np.nan
    low, high = interval(np.array([0.0, 0.5, 0.0]), replicates, bounds=(0.0, 1.0))
    assert (low[0], high[0]) == (0, 1)
    assert np.isnan(low[1])
    assert np.isnan(high[1])
    assert (low[2], high[2]) == (0, 1)
    assert np.isnan(interval(np.array(np.nan), replicates[:, 0])[0])


def test_certain_shares_get_the_exact_limit():
    one, zero = np.array([1.0]), np.array([0.0])
    low, high = exact_at_the_ends(one, one, one, 100)
    exact = stats.binomtest(100, 100).proportion_ci()
    assert (low[0], high[0]) == (pytest.approx(exact.low), 1)
    low, high = exact_at_the_ends(zero, zero, zero, 100)
    assert (low[0], high[0]) == (0, pytest.approx(1 - exact.low))
    half = np.array([0.5])
    assert exact_at_the_ends(half, half - 0.1, half + 0.1, 9) == (
        pytest.approx(0.4),
        pytest.approx(0.6),
    )


CELL_EFFECTS = np.linspace(-0.6, 0.6, 4)
ITEMS, REPLICATES, DATA_SETS = 120, 200, 250


def model(stream: np.random.Generator, effects: np.ndarray) -> GridAnswers:
    """Margins: an item's own, a cell's own, noise; positives at +0.8, negatives at -0.8."""

    def question(centre: float) -> QuestionAnswers:
        own = stream.normal(size=(ITEMS, 1))
        margins = centre + own + effects + stream.normal(size=(ITEMS, len(effects)))
        return QuestionAnswers((margins > 0).astype(np.int8), margins, np.ones(ITEMS, bool))

    return GridAnswers(question(0.8), {"absent": question(-0.8)}, np.arange(ITEMS))


def covered(effects: np.ndarray, truth: dict[str, float]) -> dict[str, float]:
    """How often the 95 % interval of each measure holds the truth, over simulated data sets."""
    hits = dict.fromkeys(truth, 0)
    stream = np.random.default_rng(20)
    weights = np.concatenate(list(ClusterBootstrap(ITEMS, REPLICATES, 0).draws()))
    for _ in range(DATA_SETS):
        answers = model(stream, effects)
        observed, drawn = answers.measure().overall, answers.measure(weights).overall
        for name, value in truth.items():
            low, high = interval(observed[name][0], drawn[name])
            hits[name] += bool(low <= value <= high)
    return {name: count / DATA_SETS for name, count in hits.items()}


def test_coverage_where_cells_differ():
    rates = stats.norm.cdf((0.8 + CELL_EFFECTS) / np.sqrt(2))
    false_alarms = stats.norm.cdf((-0.8 + CELL_EFFECTS) / np.sqrt(2))
    truth = {
        "hit_rate": rates.mean(),
        "auc": stats.norm.cdf(1.6 / 2),
        "d_prime": (stats.norm.ppf(rates) - stats.norm.ppf(false_alarms)).mean(),
        "spread.delta_debiased": (100 * rates).var(ddof=1),
        "balanced_accuracy": ((rates + 1 - false_alarms) / 2).mean(),
    }
    for name, share in covered(CELL_EFFECTS, truth).items():
        assert 0.90 <= share <= 0.99, (name, share)


def test_coverage_where_cells_do_not_differ():
    """At the edge Delta = 0 the interval is cautious: it holds the truth at least as often."""
    truth = {"hit_rate": stats.norm.cdf(0.8 / np.sqrt(2)), "spread.delta_debiased": 0.0}
    share = covered(np.zeros(4), truth)
    assert 0.90 <= share["hit_rate"] <= 0.99
    assert share["spread.delta_debiased"] >= 0.93
