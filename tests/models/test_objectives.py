"""What networks are fitted to: losses and figures by hand, in NumPy and scikit-learn, and gradients that do not die."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies
from sklearn import metrics

from models import tasks
from models.tasks import Head, Objective, multilabel, sequence
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf

SEED = strategies.integers(0, 2**32 - 1)
Floats = npt.NDArray[np.float32]


def drawn_scores(count: int, seed: int) -> Floats:
    """Scores of numbers: probabilities of seven lengths, and of ten digits for each of five places."""
    drawn = np.random.default_rng(seed)
    parts = [drawn.dirichlet(np.full(size, 0.5), count) for size in (7, *[10] * 5)]
    return np.maximum(np.concatenate(parts, axis=1), 1e-6).astype(np.float32)


def loss(objective: Objective, truth: Any, scores: Floats) -> float:
    """The loss as Keras takes it of a batch."""
    model = keras.Sequential([keras.Input(scores.shape[1:]), keras.layers.Identity()])
    model.compile(loss=objective.build_loss(), jit_compile=False)
    return float(model.evaluate(scores, np.asarray(truth), batch_size=len(scores), verbose=0))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_classes_is_the_log_loss(smoothing: float) -> None:
    scores = np.random.default_rng(1).dirichlet(np.ones(4), 9).astype(np.float32)
    truth = np.array([0, 1, 2, 3, 3, 3, 0, 1, 2])
    wanted = np.eye(4)[truth] * (1 - smoothing) + smoothing / 4
    by_hand = -(wanted * np.log(scores)).sum(axis=1).mean()
    assert loss(Objective("multiclass", 4, smoothing), truth, scores) == pytest.approx(by_hand, rel=1e-5)
    if not smoothing:
        assert by_hand == pytest.approx(metrics.log_loss(truth, scores, labels=range(4)), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_labels_is_the_mean_log_loss_of_each(smoothing: float) -> None:
    drawn = np.random.default_rng(2)
    scores, truth = drawn.uniform(0.05, 0.95, (6, 5)).astype(np.float32), (drawn.random((6, 5)) < 0.4).astype(float)
    wanted = truth * (1 - smoothing) + smoothing / 2
    by_hand = -(wanted * np.log(scores) + (1 - wanted) * np.log(1 - scores)).mean()
    assert loss(Objective("multilabel", 5, smoothing), truth, scores) == pytest.approx(by_hand, rel=1e-5)
    if not smoothing:
        of_each = [metrics.log_loss(truth[:, one], scores[:, one], labels=[0, 1]) for one in range(5)]
        assert by_hand == pytest.approx(np.mean(of_each), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_a_number_is_that_of_its_length_and_of_the_digits_it_has(smoothing: float) -> None:
    numbers = ["", "7", "40", "123", "00000", "123456"]
    truth, scores = np.array([sequence.encode_number(text) for text in numbers]), drawn_scores(len(numbers), 3)

    def cross_entropy(probabilities: Floats, index: int) -> float:
        wanted = np.eye(len(probabilities))[index] * (1 - smoothing) + smoothing / len(probabilities)
        return float(-(wanted * np.log(probabilities)).sum())

    losses = []
    for (length, *digits), one in zip(truth, scores, strict=True):
        places = one[7:].reshape(5, 10)
        of_digits = [cross_entropy(places[place], digit) for place, digit in enumerate(digits) if digit >= 0]
        losses.append(cross_entropy(one[:7], length) + sum(of_digits))
    assert loss(Objective("sequence", 10, smoothing), truth, scores) == pytest.approx(np.mean(losses), rel=1e-5)


@given(SEED)
@settings(max_examples=20)
def test_the_accuracy_told_of_an_epoch_is_that_of_the_task(seed: int) -> None:
    drawn, scores = np.random.default_rng(seed), drawn_scores(12, seed)
    read = sequence.decode_labels(scores, list("0123456789")).labels
    texts = [text if drawn.random() < 0.5 else "".join(drawn.choice(list("0123"), 3)) for text in read]
    values = np.array([sequence.encode_number(text) for text in texts])
    [metric] = Objective("sequence", 10).build_metrics()
    for part in (slice(0, 5), slice(5, 12)):  # batch by batch
        metric.update_state(values[part], scores[part])
    expected = tasks.load("sequence").evaluate(values, scores, list("0123456789"))["accuracy"]
    assert float(metric.result()) == pytest.approx(expected)


def test_the_accuracy_of_classes_is_told() -> None:
    [metric] = Objective("multiclass", 3).build_metrics()
    metric.update_state(np.array([0, 1, 2, 2]), np.eye(3, dtype=np.float32)[[0, 2, 2, 1]])
    assert float(metric.result()) == 0.5
    assert metric.name == Objective("multiclass", 3).monitored


def test_the_average_precision_of_labels_is_about_that_of_scikit_learn() -> None:
    drawn = np.random.default_rng(4)
    truth = drawn.random((200, 8)) < 0.3
    scores = np.clip(drawn.random((200, 8)) + 0.3 * truth, 0, 1).astype(np.float32)
    objective = Objective("multilabel", 8)
    [metric] = objective.build_metrics()
    metric.update_state(truth.astype(np.float32), scores)
    expected = metrics.average_precision_score(truth.ravel(), scores.ravel())
    assert float(metric.result()) == pytest.approx(expected, abs=0.02)  # it looks at 200 thresholds only
    assert metric.name == objective.monitored


@given(strategies.integers(1, 6), strategies.integers(1, 20), SEED)
@settings(max_examples=20)
def test_bits_become_the_zeros_and_ones_that_were_packed(count: int, classes: int, seed: int) -> None:
    truth = np.random.default_rng(seed).random((count, classes)) < 0.5
    packed = np.packbits(truth, axis=1)
    found = Objective("multilabel", classes).unpack_targets(tf.constant(packed))
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, np.unpackbits(packed, axis=1, count=classes))
    np.testing.assert_array_equal(found, multilabel.unpack_labels(packed, classes))


def test_what_is_not_known_of_an_image_is_neither_learnt_nor_judged() -> None:
    drawn = np.random.default_rng(5)
    known, scores = drawn.random((200, 9)) < 0.4, drawn.uniform(0.05, 0.95, (200, 9)).astype(np.float32)
    truth = (drawn.random((200, 9)) < 0.5) & known
    packed = np.concatenate([np.packbits(truth, axis=1), np.packbits(known, axis=1)], axis=1)
    objective = Objective("multilabel", 9)
    targets = objective.unpack_targets(tf.constant(packed))
    np.testing.assert_array_equal(targets, np.where(known, truth.astype(np.float32), multilabel.UNKNOWN))
    losses = -np.where(truth, np.log(scores), np.log(1 - scores))
    by_hand = [row[there].mean() if there.any() else 0.0 for row, there in zip(losses, known, strict=True)]
    assert loss(objective, targets, scores) == pytest.approx(np.mean(by_hand), rel=1e-5)
    [metric] = objective.build_metrics()
    metric.update_state(targets, scores)
    expected = metrics.average_precision_score(truth[known], scores[known])
    assert float(metric.result()) == pytest.approx(expected, abs=0.02)


def test_the_other_targets_are_taken_as_they_are() -> None:
    values = tf.constant([[3], [0]])
    assert Objective("multiclass", 4).unpack_targets(values).numpy().tolist() == [3, 0]
    numbers = tf.constant([sequence.encode_number("12"), sequence.encode_number("")])
    assert Objective("sequence", 10).unpack_targets(numbers).numpy().tolist() == numbers.numpy().tolist()


@pytest.mark.parametrize(
    ("task", "truth", "sure"),
    [
        ("multiclass", [1], [20.0, -20.0, 0.0]),
        ("multilabel", [[0.0, 1.0, 0.0]], [20.0, -20.0, -20.0]),
        ("sequence", [sequence.encode_number("1")], [20.0, -20.0, *[0.0] * 55]),
    ],
)
def test_a_network_that_is_surely_wrong_still_learns(task: str, truth: Any, sure: list[float]) -> None:
    features = keras.Input((1,))
    model = keras.Model(features, Head(task, 10 if task == "sequence" else 3)(features))
    kernels = np.split(np.array(sure, np.float32), [7, 17, 27, 37, 47]) if task == "sequence" else [np.array(sure)]
    model.set_weights([part for kernel in kernels for part in (kernel[None], np.zeros_like(kernel))])
    with tf.GradientTape() as tape:
        losses = Objective(task, 10 if task == "sequence" else 3).build_loss()(
            tf.constant(truth), model(np.ones((1, 1)))
        )
    [kernel, *_] = tape.gradient(losses, model.trainable_variables)
    share = 1 / 3 if task == "multilabel" else 1  # the mean over its three labels
    np.testing.assert_allclose(kernel[0, :2], [share, -share], atol=1e-3)  # scores less truth
