"""Every private name of scikit-learn that the package uses, in one place."""

from sklearn.utils._metadata_requests import _routing_enabled as routing_enabled
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

__all__ = ["check_sample_weight", "routing_enabled"]
