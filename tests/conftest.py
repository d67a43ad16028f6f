"""For all tests: which examples the properties are held against.

The verdict of a gate is to be about the change, not about the day or the machine: the examples are the same each time,
and none fails for having taken long. New ones are looked for on purpose, with `make properties`.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "same-examples",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "other-examples",
    settings.get_profile("same-examples"),
    derandomize=False,
    max_examples=1000,
)
settings.load_profile("same-examples")
