import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

from finetune_operator.search.encoding import Matrix
from finetune_operator.search.gaussian_process import ScoreModel, best_theta, negative_log_density, priors
from finetune_operator.search.trend import Flat

GENERATOR = np.random.default_rng(0)
ROWS: Matrix = GENERATOR.random((30, 3))
# The third column says nothing.
SCORES: Matrix = 70 + 10 * np.sin(3 * ROWS[:, 0]) + 2 * ROWS[:, 1]
TARGETS: Matrix = (SCORES - SCORES.mean()) / SCORES.std()
SQUARES: Matrix = (ROWS.T[:, :, None] - ROWS.T[:, None, :]) ** 2
THETA: Matrix = np.array([0.3, -0.5, 0.2, 0.4, -3.0])
NOTHING: Matrix = np.zeros((30, 30))


def reference() -> GaussianProcessRegressor:
    """scikit-learn's process with the hyperparameters of THETA."""
    kernel = ConstantKernel(np.exp(0.3)) * Matern(np.exp([-0.5, 0.2, 0.4]), nu=1.5) + WhiteKernel(
        np.exp(-3.0)
    )
    return GaussianProcessRegressor(kernel, alpha=1e-10, optimizer=None).fit(ROWS, TARGETS)


def test_density_is_scikit_learns_likelihood_times_the_prior() -> None:
    medians, deviations = priors(3)
    prior = -0.5 * float((((THETA - medians) / deviations) ** 2).sum())
    constant = 0.5 * len(ROWS) * np.log(2 * np.pi)
    height, _ = negative_log_density(THETA, SQUARES, TARGETS, NOTHING)
    assert -height == pytest.approx(reference().log_marginal_likelihood() + constant + prior)


@pytest.mark.parametrize("known", [NOTHING, ROWS @ ROWS.T], ids=["flat", "tilted"])
def test_gradient_of_the_density_is_its_slope(known: Matrix) -> None:
    _, gradient = negative_log_density(THETA, SQUARES, TARGETS, known)
    slope = approx_fprime(THETA, lambda theta: negative_log_density(theta, SQUARES, TARGETS, known)[0], 1e-6)
    assert gradient == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_predictions_are_scikit_learns_without_the_noise() -> None:
    mean, deviation = ScoreModel(ROWS, TARGETS, THETA).predict(ROWS / 2)
    expected, with_noise = reference().predict(ROWS / 2, return_std=True)
    assert mean == pytest.approx(expected)
    assert deviation**2 + np.exp(-3.0) == pytest.approx(with_noise**2)


def test_fit_ends_where_no_hyperparameter_wants_to_move() -> None:
    _, gradient = negative_log_density(best_theta(ROWS, TARGETS), SQUARES, TARGETS, NOTHING)
    assert np.abs(gradient).max() < 0.1


def test_hyperparameters_of_a_single_trial_are_the_priors_medians() -> None:
    medians, _ = priors(3)
    assert best_theta(ROWS[:1], np.zeros(1))[1:-1] == pytest.approx(medians[1:-1])


def test_model_predicts_a_smooth_surface() -> None:
    model = ScoreModel.fitted(ROWS[:25], SCORES[:25])
    mean, deviation = model.predict(ROWS[25:])
    truth = (SCORES[25:] - SCORES[:25].mean()) / SCORES[:25].std()
    assert np.abs(mean - truth).max() < 0.3
    assert (deviation > 0).all()


def test_column_that_says_nothing_gets_the_longest_scale() -> None:
    lengths = ScoreModel.fitted(ROWS, SCORES).lengths
    assert lengths[2] == max(lengths) > 2 * lengths[0]


def test_units_of_the_scores_do_not_matter() -> None:
    one = ScoreModel.fitted(ROWS, SCORES).predict(ROWS[:3] / 2)
    other = ScoreModel.fitted(ROWS, 1e6 * SCORES - 5).predict(ROWS[:3] / 2)
    assert one[0] == pytest.approx(other[0], abs=1e-4)
    assert one[1] == pytest.approx(other[1], abs=1e-4)


def test_scores_that_repeat_exactly_are_modelled() -> None:
    model = ScoreModel.fitted(np.repeat(ROWS, 8, axis=0), np.repeat(SCORES, 8))
    assert model.predict(ROWS)[0] == pytest.approx(TARGETS, abs=0.01)


def test_noisy_scores_are_smoothed() -> None:
    rows, truth = np.repeat(ROWS, 3, axis=0), np.repeat(SCORES, 3)
    noisy = truth + np.random.default_rng(1).normal(0, 2, len(truth))
    model = ScoreModel.fitted(rows, noisy)
    left = model.predict(rows)[0] * noisy.std() + noisy.mean() - truth
    assert model.noise == pytest.approx((2 / noisy.std()) ** 2, rel=0.5)
    assert np.sqrt((left**2).mean()) < 0.7 * np.sqrt(((noisy - truth) ** 2).mean())


def test_hyperparameters_of_many_trials_come_from_some_of_them() -> None:
    many = np.random.default_rng(2).random((250, 3))
    model = ScoreModel.fitted(many, 10 * np.sin(3 * many[:, 0]) + 2 * many[:, 1])
    assert len(model.rows) == 250
    assert model.lengths[2] == max(model.lengths)


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


class Falling(Flat):
    """Less is expected with each column."""

    def mean(self, rows: Matrix) -> Matrix:
        return np.asarray(-rows.sum(axis=1))


class Tilted(Flat):
    """Straight lines of unknown slope."""

    def features(self, rows: Matrix) -> Matrix:
        return rows


def test_far_from_any_trial_the_trend_is_expected() -> None:
    model = ScoreModel.fitted(ROWS, SCORES, trend=Falling())
    far = ROWS[:3] + 1000.0
    assert model.predict(far)[0] == pytest.approx(-far.sum(axis=1))
    assert model.predict(ROWS)[0] == pytest.approx(TARGETS, abs=0.1)
    assert model.with_pending(far).predict(far)[0] == pytest.approx(-far.sum(axis=1))


def test_predictions_with_features_are_those_of_a_linear_kernel() -> None:
    kernel = ConstantKernel(np.exp(0.3)) * Matern(np.exp([-0.5, 0.2, 0.4]), nu=1.5)
    process = GaussianProcessRegressor(
        kernel + DotProduct(0.0, "fixed") + WhiteKernel(np.exp(-3.0)), alpha=1e-10, optimizer=None
    )
    expected, with_noise = process.fit(ROWS, TARGETS).predict(ROWS + 0.5, return_std=True)
    mean, deviation = ScoreModel(ROWS, TARGETS, THETA, trend=Tilted()).predict(ROWS + 0.5)
    assert mean == pytest.approx(expected)
    assert deviation**2 + np.exp(-3.0) == pytest.approx(with_noise**2)
