"""The main job, python -m streamlearn: it runs to its end, and prints what it says it does."""

import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from streamlearn import _compiled
from streamlearn.__main__ import SIGMAS, noisy_samples


@pytest.fixture(scope="module")
def parts():
    """The output, in its four parts, before which it says how samples are mixed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "streamlearn"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, *four = re.split(r"\n\[\d/4 \|.*\] ", done.stdout)
    assert ("compiled loops" in first) == (_compiled.native is not None)
    return four


def numbers_after(text, part):
    return [int(number) for number in re.findall(r"\d+", re.search(re.escape(text) + r"(.*)", part)[1])]


def test_four_parts(parts):
    assert len(parts) == 4


@pytest.mark.parametrize("number", [0, 1])
def test_both_learners_take_all_batches_and_learn(parts, number):
    batches, accuracy = re.search(r"(\d+) batches, test accuracy ([\d.]+)", parts[number]).groups()
    assert int(batches) == 1000
    assert float(accuracy) > 0.5  # to guess gives 1/3


def test_the_samples_of_each_sigma_add_up(parts):
    shown = re.search(r"samples of each sigma: (.*)", parts[1])[1]
    counts = dict(pair.split(": ") for pair in shown.split(", "))
    assert [float(sigma) for sigma in counts] == SIGMAS
    assert sum(map(int, counts.values())) == 16_000
    # visits of 16 items of 16 samples: about 62 visits, a quarter of them to each
    assert all(abs(int(count) / 16_000 - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 62) for count in counts.values())


def test_the_search_ranks_its_candidates(parts):
    assert numbers_after("", parts[2].splitlines()[1])[0] == 2**5
    scores = [float(line.split()[0]) for line in parts[2].splitlines()[3:7]]
    assert scores == sorted(scores, reverse=True)
    assert float(re.search(r"test accuracy of the best ([\d.]+)", parts[2])[1]) > 0.5


def test_every_digit_is_seen_in_every_pass(parts):
    _, _, y, _ = train_test_split(*load_digits(return_X_y=True), random_state=0)
    assert numbers_after("samples of each class:", parts[3]) == (5 * np.bincount(y)).tolist()
    assert float(re.search(r"test accuracy ([\d.]+)", parts[3])[1]) > 0.9


def test_noisy_samples():
    X, y = np.array([[0.0, 0.0], [10.0, 10.0]]), np.array([0, 1])
    items = [item for item, _ in zip(noisy_samples(X, y, 500, 2.0, rng=0), range(4), strict=False)]
    noise = np.concatenate([item["X"] - X[item["Y"]] for item in items])
    assert noise.shape == (2000, 2)
    assert noise.std() == pytest.approx(2.0, abs=4 * 2.0 / np.sqrt(2 * noise.size))
    labels = np.concatenate([item["Y"] for item in items])
    assert labels.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(2000))
