"""Fisher information: the estimators, and the format in which it is released."""

from clbench.fisher.estimators import Estimator, estimate
from clbench.fisher.release import Metadata, Release, load, save

__all__ = ["Estimator", "Metadata", "Release", "estimate", "load", "save"]
