import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from finetune_operator.search.encoding import Matrix
from finetune_operator.search.gaussian_process import MapGaussianProcess, ScoreModel

GENERATOR = np.random.default_rng(0)
ROWS: Matrix = GENERATOR.random((30, 3))
# The third column says nothing.
SCORES: Matrix = 70 + 10 * np.sin(3 * ROWS[:, 0]) + 2 * ROWS[:, 1]


def unfitted(optimizer: str | None = None) -> MapGaussianProcess:
    kernel = ConstantKernel(1.0) * Matern([0.7, 0.7, 0.7], nu=1.5) + WhiteKernel(0.01)
    return MapGaussianProcess(kernel, alpha=0.0, optimizer=optimizer).fit(ROWS, SCORES - SCORES.mean())


def test_gradient_of_the_posterior_is_its_slope() -> None:
    process = unfitted()
    theta = np.array([0.3, -0.5, 0.2, 0.4, -3.0])
    value, gradient = process.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == pytest.approx(process.log_marginal_likelihood(theta))
    slope = approx_fprime(theta, process.log_marginal_likelihood, 1e-6)
    assert gradient == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_prior_is_highest_at_its_medians() -> None:
    process = unfitted()
    medians, deviations = process._priors()
    assert np.exp(medians) == pytest.approx([1.0, 0.7, 0.7, 0.7, 0.01])
    assert deviations.tolist() == [1.0, 0.7, 0.7, 0.7, 1.2]


def test_two_deviations_off_cost_two_nats_each() -> None:
    process = unfitted()
    medians, deviations = process._priors()
    for column, deviation in enumerate(deviations):
        theta = medians.copy()
        theta[column] += 2 * deviation
        likelihood = super(MapGaussianProcess, process).log_marginal_likelihood(theta)
        assert process.log_marginal_likelihood(theta) == pytest.approx(likelihood - 2.0)


def test_model_predicts_a_smooth_surface() -> None:
    model = ScoreModel.fitted(ROWS[:25], SCORES[:25])
    mean, deviation = model.predict(ROWS[25:])
    truth = (SCORES[25:] - SCORES[:25].mean()) / SCORES[:25].std()
    assert np.abs(mean - truth).max() < 0.3
    assert (deviation > 0).all()


def test_column_that_says_nothing_gets_the_longest_scale() -> None:
    model = ScoreModel.fitted(ROWS, SCORES)
    lengths = model._process.kernel_.k1.k2.length_scale
    assert lengths[2] == max(lengths) > 2 * lengths[0]


def test_units_of_the_scores_do_not_matter() -> None:
    one = ScoreModel.fitted(ROWS, SCORES).predict(ROWS[:3] / 2)
    other = ScoreModel.fitted(ROWS, 1e6 * SCORES - 5).predict(ROWS[:3] / 2)
    assert one[0] == pytest.approx(other[0], abs=1e-4)
    assert one[1] == pytest.approx(other[1], abs=1e-4)


def test_deviation_leaves_the_noise_out() -> None:
    noisy = SCORES + GENERATOR.normal(0, 3, len(SCORES))
    model = ScoreModel.fitted(ROWS, noisy)
    _, with_noise = model._process.predict(ROWS / 2, return_std=True)
    assert model.noise > 0.01
    assert model.predict(ROWS / 2)[1] ** 2 + model.noise == pytest.approx(with_noise**2)


def test_scores_that_repeat_exactly_are_modelled_without_a_warning() -> None:
    model = ScoreModel.fitted(np.repeat(ROWS, 8, axis=0), np.repeat(SCORES, 8))
    assert model.predict(ROWS)[0] == pytest.approx((SCORES - SCORES.mean()) / SCORES.std(), abs=0.01)


def test_pending_trial_takes_the_uncertainty_away_and_leaves_the_expectation() -> None:
    model = ScoreModel.fitted(ROWS[:10], SCORES[:10])
    place = np.array([[0.9, 0.1, 0.9]])
    believer = model.with_pending(place)
    assert believer.predict(place)[0] == pytest.approx(model.predict(place)[0], abs=1e-6)
    assert believer.predict(place)[1] < 0.5 * model.predict(place)[1]
    assert believer.noise == model.noise


def test_no_pending_trial_changes_nothing() -> None:
    model = ScoreModel.fitted(ROWS[:10], SCORES[:10])
    assert model.with_pending(np.empty((0, 3))) is model


@pytest.mark.parametrize("scores", [[0.7], [0.7, 0.7, 0.7], [0.0, 0.0], [0.1 + 0.2, 0.3, 0.3]])
def test_scores_without_a_difference_are_modelled(scores: list[float]) -> None:
    mean, deviation = ScoreModel.fitted(ROWS[: len(scores)], np.array(scores)).predict(ROWS)
    assert np.abs(mean).max() < 1e-6
    assert (deviation > 0).all()
