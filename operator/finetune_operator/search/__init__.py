"""Hyperparameter search: pure functions of a space, a seed and what is known so far.

It does no I/O, keeps no state and knows neither resources nor providers.
"""

from finetune_operator.search.errors import InvalidSpace, SearchError, SearchSpaceExhausted
from finetune_operator.search.parameters import IntRange, LogUniformRange, Parameter, UniformRange, Values
from finetune_operator.search.points import (
    Direction,
    Observation,
    ObservationState,
    Origin,
    Point,
    Proposal,
)
from finetune_operator.search.prior import PriorObservation
from finetune_operator.search.proposals import (
    Method,
    check_method,
    default_point,
    propose,
    space_size,
)
from finetune_operator.search.recommendation import recommend
from finetune_operator.search.space import Arm, Branch, SearchSpace
from finetune_operator.search.values import ParameterValue

__all__ = [
    "Arm",
    "Branch",
    "Direction",
    "IntRange",
    "InvalidSpace",
    "LogUniformRange",
    "Method",
    "Observation",
    "ObservationState",
    "Origin",
    "Parameter",
    "ParameterValue",
    "Point",
    "PriorObservation",
    "Proposal",
    "SearchError",
    "SearchSpace",
    "SearchSpaceExhausted",
    "UniformRange",
    "Values",
    "check_method",
    "default_point",
    "propose",
    "recommend",
    "space_size",
]
