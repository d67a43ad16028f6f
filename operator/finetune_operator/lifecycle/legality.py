"""What a candidate asks for against what its base models take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from finetune_operator.decisions import CostModel, build_space
from finetune_operator.decisions.costs import ModelPrice
from finetune_operator.decisions.starting import Defaults, given_points
from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.evaluation import FetchedDataset
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.resources import REPORTED_METRICS, Candidate, FinetuneSweep, ParameterSpec, SweepSpec
from finetune_operator.search import InvalidSpace, Values
from finetune_providers.base import ModelRules, ParameterRule, ParameterValue, Provider

DEFAULT_EPOCHS = 3


def candidate_problems(candidate: Candidate, path: str, provider: Provider) -> list[Problem]:
    """Each base model that is not fine-tuned there, and each parameter or value that it does not take.

    Args:
        candidate: The branch.
        path: Its field path, such as `spec.candidates[0]`.
        provider: The provider that it names.
    """
    problems: dict[Problem, None] = {}
    for number, base_model in enumerate(candidate.base_models):
        rules = provider.model_rules(base_model)
        if rules is None:
            message = f"{base_model!r} cannot be fine-tuned at provider {candidate.provider_ref.name}"
            if names := provider.model_names():
                message += f"; it knows {', '.join(names)}, and spec.models of the FinetuneProvider adds further ones"
            problems[Problem(f"{path}.baseModels[{number}]", message)] = None
            continue
        for problem in _together(candidate, rules, path, base_model):
            problems[problem] = None
        for name, spec in candidate.parameters.items():
            for problem in _parameter_problems(name, spec, rules, f"{path}.parameters.{name}", base_model):
                problems[problem] = None
    return list(problems)


def _together(candidate: Candidate, rules: ModelRules, path: str, base_model: str) -> Iterator[Problem]:
    """Parameters that exclude each other and are given both."""
    for group in rules.exclusive:
        given = [name for name in group if name in candidate.parameters]
        if len(given) > 1:
            message = f"{base_model} takes one of {' and '.join(group)} at most; leave {given[1]} out"
            yield Problem(f"{path}.parameters.{given[1]}", message)


def space_problems(
    sweep: FinetuneSweep, accounts: Mapping[str, Account], defaults: Defaults
) -> list[Problem]:
    """What is wrong with the search space, or with what is to be tried first."""
    spec = sweep.spec
    found: list[Problem] = []
    try:
        space = build_space(spec)
        # Of a provider that could not be opened no default is known, and that is said already.
        if all(each.provider_ref.name in accounts for each in spec.candidates):
            given_points(spec, space, defaults)
    except InvalidManifest as error:
        found += error.problems
    return found


def stated_defaults(spec: SweepSpec, accounts: Mapping[str, Account]) -> Defaults:
    """What the providers say that they take for parameters where a job does not give them."""
    found: dict[tuple[str, str], dict[str, ParameterValue]] = {}
    for candidate in spec.candidates:
        account = accounts.get(candidate.provider_ref.name)
        for base_model in candidate.base_models if account is not None else ():
            rules = account.provider.model_rules(base_model) if account is not None else None
            stated = {} if rules is None else rules.parameters
            found[candidate.name, base_model] = {
                name: rule.default for name, rule in stated.items() if rule.default is not None
            }
    return found


def price_of(account: Account, base_model: str, currency: str) -> ModelPrice | None:
    """What a base model costs there in a currency, from the resource's prices; None where it is not said."""
    prices = [price for price in account.resource.spec.prices if price.currency == currency]
    exact = [price for price in prices if price.base_model == base_model]
    chosen = next(iter(exact or [price for price in prices if price.base_model == "*"]), None)
    if chosen is None:
        return None
    rules = account.provider.model_rules(base_model)
    rule = rules.parameters.get("epochs") if rules is not None else None
    default = rule.default if rule is not None and isinstance(rule.default, int) else DEFAULT_EPOCHS
    return ModelPrice(
        chosen.training_per_million_tokens,
        default,
        serving_per_hour=chosen.serving_per_hour,
        served=account.provider.capabilities.needs_deployment,
    )


def cost_model(
    spec: SweepSpec, accounts: Mapping[str, Account], training: FetchedDataset | None, problems: list[Problem]
) -> CostModel:
    """What trials are expected to cost; adds a problem for each price that is needed and not known."""
    currency = spec.limits.currency
    prices: dict[tuple[str, str], ModelPrice] = {}
    for index, candidate in enumerate(spec.candidates):
        account = accounts.get(candidate.provider_ref.name)
        for base_model in candidate.base_models if account is not None else ():
            price = price_of(account, base_model, currency) if account is not None else None
            if price is not None and spec.objective.metric in REPORTED_METRICS:
                price = replace(price, served=False)
            if price is not None:
                prices[candidate.name, base_model] = price
            if unknown := _unknown_price(price):
                others = _elsewhere(account, base_model) if price is None else ""
                what = f"the price of {unknown} {base_model} in {currency} is not known{others}"
                where = f"give it in spec.prices of FinetuneProvider {candidate.provider_ref.name}"
                problems += _needs_price(spec, index, what, where)
    return CostModel(training.estimated_tokens if training is not None else 0, prices, currency)


def _elsewhere(account: Account | None, base_model: str) -> str:
    """In which currencies there is a price of the model, to be put behind a message; nothing where there is none."""
    prices = () if account is None else account.resource.spec.prices
    others = sorted({price.currency for price in prices if price.base_model in {base_model, "*"}})
    return f" (there is one in {', '.join(others)})" if others else ""


def _needs_price(spec: SweepSpec, index: int, what: str, where: str) -> Iterator[Problem]:
    if spec.limits.budget is not None:
        message = f"{what}, so spec.limits.budget cannot be kept; {where}"
        yield Problem(f"spec.candidates[{index}].baseModels", message)
    if spec.objective.cost_weight:
        message = (
            f"{what}, so trials of candidate {spec.candidates[index].name} have no cost to weigh; {where}"
        )
        yield Problem("spec.objective.costWeight", message)


def _unknown_price(price: ModelPrice | None) -> str:
    """What of a price is missing; nothing where it is complete."""
    if price is None:
        return "training"
    return "serving" if price.served and price.serving_per_hour is None else ""


def _parameter_problems(
    name: str, spec: ParameterSpec, rules: ModelRules, path: str, base_model: str
) -> list[Problem]:
    rule = rules.parameters.get(name)
    if rule is None:
        allowed = ", ".join(sorted(rules.parameters))
        return [Problem(path, f"{base_model} does not take {name}; it takes {allowed}")]
    return [
        Problem(path + suffix, f"{value} is not allowed for {base_model}: {name} is {rule.describe()}")
        for suffix, value in _extremes(spec, rule)
        if not rule.permits(value)
    ]


def _extremes(spec: ParameterSpec, rule: ParameterRule) -> list[tuple[str, ParameterValue]]:
    """The values by which a parameter can leave a rule's range, with their place below the parameter."""
    if spec.int is not None:
        whole = spec.int
        if rule.allowed:
            # Of one more than are allowed, one at least is not: a range of a billion need not be gone through.
            values = range(whole.min, whole.max + 1, whole.step)[: len(rule.allowed) + 1]
            return [(".int", value) for value in values]
        return [(".int.min", whole.min), (".int.max", whole.max)]
    if spec.values is not None:
        try:
            typed = Values(spec.values).items
        except InvalidSpace:
            return []  # building the space says what is wrong
        return [(".values", value) for value in typed]
    real, form = (spec.uniform, ".uniform") if spec.uniform is not None else (spec.log_uniform, ".logUniform")
    if real is None:
        return []
    if rule.kind != "float":
        # A real range proposes values between whole numbers and between listed ones.
        return [(form, (real.min + real.max) / 2 + 0.123)]
    return [(f"{form}.min", real.min), (f"{form}.max", real.max)]


def median_problem(spec: SweepSpec, account: Account, provider: str) -> Problem | None:
    """Why trials at a provider cannot be judged while they train; None where they can, or need not."""
    if spec.early_stopping is None or spec.early_stopping.median is None:
        return None
    live = account.provider.capabilities.live_metrics
    usable = live if spec.dataset.validation is not None else live & {"trainingLoss"}
    if usable:
        return None
    if live:
        message = f"provider {provider} tells {', '.join(sorted(live))} of a running job, which need dataset.validation"
    else:
        message = (
            f"provider {provider} tells no metrics of a job while it runs: leave median out, or the candidate"
        )
    return Problem("spec.earlyStopping.median", message)
