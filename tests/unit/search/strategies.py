"""Hypothesis strategies for parameters and spaces."""

from hypothesis import strategies as st

from finetune_operator.search import (
    Branch,
    IntRange,
    LogUniformRange,
    Parameter,
    SearchSpace,
    UniformRange,
    Values,
)

names = st.text("abcdefghij-", min_size=1, max_size=6)
reals = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def int_ranges(draw: st.DrawFn, widest: int = 10**9) -> IntRange:
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -(10**6), 10**6))
    return IntRange(low, low + draw(st.integers(0, widest)), draw(st.integers(1, 5)), log)


@st.composite
def uniform_ranges(draw: st.DrawFn, steps: st.SearchStrategy[int | None]) -> UniformRange:
    low = draw(reals)
    return UniformRange(low, low + draw(st.floats(1e-3, 1e6)) * max(1.0, abs(low)), draw(steps))


@st.composite
def log_uniform_ranges(draw: st.DrawFn, steps: st.SearchStrategy[int | None]) -> LogUniformRange:
    low = draw(st.floats(1e-9, 1e3))
    return LogUniformRange(low, low * draw(st.floats(1.001, 1e9)), draw(steps))


def value_lists(longest: int = 8) -> st.SearchStrategy[Values]:
    numbers = st.lists(st.integers(-1000, 1000), min_size=1, max_size=longest, unique=True)
    decimals = st.lists(st.decimals(-100, 100, places=3), min_size=1, max_size=longest, unique=True)
    texts = st.lists(names, min_size=1, max_size=longest, unique=True)
    return (numbers | decimals | texts).map(lambda items: Values(tuple(str(item) for item in items)))


def parameters() -> st.SearchStrategy[Parameter]:
    steps = st.none() | st.integers(2, 10_000)
    return int_ranges() | uniform_ranges(steps) | log_uniform_ranges(steps) | value_lists()


def small_parameters() -> st.SearchStrategy[Parameter]:
    """Parameters of few values."""
    steps = st.integers(2, 4)
    return int_ranges(widest=3) | uniform_ranges(steps) | log_uniform_ranges(steps) | value_lists(4)


@st.composite
def spaces(draw: st.DrawFn, kinds: st.SearchStrategy[Parameter], most_parameters: int = 3) -> SearchSpace:
    branch_names = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    parameter_names = st.sampled_from(["epochs", "batchSize", "learningRate", "loraRank"])
    return SearchSpace(
        tuple(
            Branch(
                name,
                tuple(draw(st.lists(names, min_size=1, max_size=2, unique=True))),
                draw(st.dictionaries(parameter_names, kinds, max_size=most_parameters)),
            )
            for name in branch_names
        )
    )
