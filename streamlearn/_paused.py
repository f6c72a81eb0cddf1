"""Training that is paused after so many batches and goes on later, perhaps in another process."""

from __future__ import annotations

import pickle
from typing import Any

from ._estimator import StreamingEstimator
from ._run import Run

try:
    from joblib.externals import cloudpickle
except ImportError:  # since joblib 1.6 it is a dependency of joblib, no part
    import cloudpickle


def train_on(
    model: StreamingEstimator, X: Any, y: Any, fit_params: dict[str, Any], paused: bytes | None, keep: bool
) -> bytes | None:
    """Fit a model to its ``max_batches``, going on where training paused; the result is that of a fit at one go.

    Parameters
    ----------
    model : StreamingEstimator
        With the parameters that it had when it paused, but for ``max_batches``. Its ``random_state`` is an int, or an instance
        in the state that it had then.
    X, y, fit_params : as for ``fit``
    paused : bytes or None
        What an earlier call returned; None: begin.
    keep : bool
        Whether training may go on later.

    Returns
    -------
    paused : bytes or None
        Pickled, as the arrays of an estimator that goes to another process by itself may come back read-only. None if there is
        nothing to go on with: the streams are used up, or a rule has ended training.
    """
    before = None if paused is None else parts_of(paused)
    if before is not None and (classes := before[2]) is not None:  # streams need not be scanned for them again
        fit_params = {**fit_params, "classes": classes}
    left: bytes | None = None

    def train(run: Run) -> None:
        nonlocal left
        if before is not None:
            state, objects, _ = before
            run.trainer.estimator = objects["estimator"]
            run.load_state_dict(state, objects)
        run.go()
        if keep and run.stopped and not run.ended:
            try:
                left = paused_with(run.state_dict(), run.objects(), run.classes)
            except BaseException:
                run.close()
                raise

    model._fit(X, y, fit_params, train)
    return left


def parts_of(paused: bytes) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Return the state and the objects of the run that paused, and the labels that its estimator was told."""
    return pickle.loads(paused)


def paused_with(state: dict[str, Any], objects: dict[str, Any], classes: Any) -> bytes:
    """Pickle by reference where that is possible; classes that other processes cannot import go with their code."""
    value = (state, objects, classes)
    try:
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:  # pickle raises errors of many types
        return cloudpickle.dumps(value)
