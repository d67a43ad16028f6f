from __future__ import annotations

import hashlib
import json
import math
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contract.page_commands import all_blocks
from tests.contract.provider_contract import conversation, write_dataset
from tests.contract.tiny_model import LAYERS

from finetune_providers.base import DatasetFile, JobState
from finetune_providers.local_lora.jobs import TrainingRequest
from finetune_providers.local_lora.options import LocalOptions
from unit.local_lora.helpers import NewProvider, NewRequest, job_folder, settle

pytestmark = pytest.mark.lora


@pytest.fixture(scope="session")
def torch() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import peft  # noqa: F401
        import torch

        import finetune_providers.local_lora.setup  # noqa: F401
    torch.set_num_threads(1)
    return torch


def with_bad_line(folder: Path) -> DatasetFile:
    """Good conversations and one without an answer."""
    path = write_dataset(folder / "bad.jsonl", repeat=4).path
    content = path.read_bytes() + b'{"messages": [{"role": "user", "content": "secret"}]}\n'
    path.write_bytes(content)
    return DatasetFile(path, hashlib.sha256(content).hexdigest(), 25)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layers", [1, LAYERS])
async def test_the_adapter_on_the_plain_model_gives_the_logits_that_training_saw(
    torch: Any,
    new_provider: NewProvider,
    new_request: NewRequest,
    work_dir: Path,
    tiny_model: str,
    layers: int,
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from finetune_providers.local_lora.chat import read_examples
    from finetune_providers.local_lora.forward import Forward
    from finetune_providers.local_lora.weights import load_base

    provider = new_provider()
    request = await new_request(provider, "job", loraLayers=layers, epochs=4)
    await provider.submit(request)
    done = await settle(provider, "job")
    assert done.state is JobState.SUCCEEDED, done.message
    adapter = job_folder(work_dir, "job").adapter
    assert (
        json.loads((adapter / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"]
        == tiny_model
    )
    tokenizer = load_base(tiny_model, device="cpu", threads=1).tokenizer
    examples = read_examples(Path(request.validation or ""), tokenizer, max_length=64)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    before = [base(torch.tensor([example.ids])).logits for example in examples]
    mounted = PeftModel.from_pretrained(base, str(adapter))
    forward = Forward(mounted, lora_layers=layers)
    assert forward.verify(examples) is (layers < LAYERS)
    with torch.no_grad():
        logits = (
            forward.logits_above(examples, forward.below(examples))
            if layers < LAYERS
            else forward.plain_logits(examples)
        )
        alone = [mounted(torch.tensor([example.ids])).logits for example in examples]
    start = 0
    for example, plain, untrained in zip(examples, alone, before, strict=True):
        positions = [index for index, label in enumerate(example.labels[1:]) if label >= 0]
        got = logits[start : start + len(positions)]
        start += len(positions)
        assert torch.allclose(got, plain[0, positions], atol=1e-4)
        assert not torch.allclose(got, untrained[0, positions], atol=1e-2), "training changed the model"


@pytest.mark.filterwarnings("ignore")
async def test_the_page_of_the_result_loads_a_model_and_has_it_answer(
    torch: Any, new_provider: NewProvider, new_request: NewRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = (each for each in all_blocks() if (each.page, each.language) == ("docs/result.md", "python"))
    provider = new_provider()
    await provider.submit(await new_request(provider, "job", epochs=4))
    done = await settle(provider, "job")
    messages = conversation("red")
    async with provider.inference(done.fine_tuned_model or "") as session:
        (expected,) = await session.answer([messages], max_output_tokens=64)
    capsys.readouterr()
    exec(compile(block.text, block.page, "exec"), {"model": done.fine_tuned_model, "messages": messages})
    assert capsys.readouterr().out.strip() == expected.strip() != ""


@pytest.mark.filterwarnings("ignore")
async def test_a_model_whose_layers_cannot_be_cut_exactly_is_trained_in_full(
    torch: Any, new_provider: NewProvider, new_request: NewRequest, tiny_model: str
) -> None:
    from finetune_providers.local_lora.setup import prepare

    provider = new_provider()
    request = await new_request(provider, "job")
    training_request = TrainingRequest(
        key="job",
        base_model=tiny_model,
        hyperparameters={"maxLength": 64, "loraLayers": 1, "loraAlpha": 16, **request.hyperparameters},
        training=request.training,
        validation=None,
        seed=0,
        labels={},
        options=LocalOptions(device="cpu"),
        created_at="",
    )
    from finetune_providers.local_lora import forward

    def wrong(self: Any, examples: Any) -> Any:
        return [torch.zeros(len(example.ids), 32) for example in examples]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward.Forward, "below", wrong)
        training, _ = prepare(
            training_request, cache=Path(request.training).parent / "hidden", beat=lambda: None
        )
    assert training._train.hidden is None
    training.train(beat=lambda: None, epoch_done=lambda: None)
    assert training.position.step == training.total_steps


@pytest.mark.filterwarnings("ignore")
async def test_an_interruption_while_an_epoch_is_validated_loses_no_metrics(
    torch: Any, new_provider: NewProvider, new_request: NewRequest, tiny_model: str, tmp_path: Path
) -> None:
    from finetune_providers.local_lora.setup import prepare

    request = await new_request(new_provider(), "job")
    training_request = TrainingRequest(
        key="job",
        base_model=tiny_model,
        hyperparameters={"maxLength": 64, "loraAlpha": 16, **request.hyperparameters},
        training=request.training,
        validation=request.validation,
        seed=0,
        labels={},
        options=LocalOptions(device="cpu"),
        created_at="",
    )
    series = []
    for stop_at in (None, "first epoch", "last epoch"):
        training, _ = prepare(training_request, cache=tmp_path / "hidden", beat=lambda: None)
        stop = {"first epoch": training.steps_per_epoch, "last epoch": training.total_steps}.get(str(stop_at))

        def beat(training: Any = training, stop: int | None = stop) -> None:
            if training.position.step == stop:
                training.save(tmp_path / "checkpoint.pt")
                raise InterruptedError

        if stop is not None:
            # The first beat at this step comes from the validation.
            with pytest.raises(InterruptedError):
                training.train(beat=beat, epoch_done=lambda: None)
            training, _ = prepare(training_request, cache=tmp_path / "hidden", beat=lambda: None)
            training.restore(tmp_path / "checkpoint.pt")
        training.train(beat=lambda: None, epoch_done=lambda: None)
        series.append(training.position.series)
    assert [step for step, _ in series[0]] == [0, 6, 12]
    assert series[0] == series[1] == series[2]


async def test_hidden_states_are_computed_once_for_all_trials(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path
) -> None:
    provider = new_provider(max_concurrent_jobs=2)
    for key in ("one", "two"):
        await provider.submit(await new_request(provider, key, loraLayers=1, loraRank=len(key)))
    logs = []
    for key in ("one", "two"):
        assert (await settle(provider, key)).state is JobState.SUCCEEDED
        logs.append(job_folder(work_dir, key).log.read_text("utf-8"))
    assert "".join(logs).count("running the frozen layers over 24 examples") == 1
    assert "".join(logs).count("running the frozen layers over 6 examples") == 1


async def test_the_series_begins_with_the_base_model_and_has_a_point_for_each_epoch(
    new_provider: NewProvider, new_request: NewRequest
) -> None:
    provider = new_provider()
    await provider.submit(await new_request(provider, "job", epochs=3, batchSize=5))
    done = await settle(provider, "job")
    assert [point.step for point in done.series] == [0, 5, 10, 15]
    assert set(done.series[0].values) == {"validationLoss", "validationTokenAccuracy"}
    assert done.series[-1].values["validationLoss"] < done.series[0].values["validationLoss"]
    assert "trainingLoss" in done.series[-1].values
    assert done.progress == 1
    assert done.trained_tokens is not None
    assert done.trained_tokens > 24 * 3 * 5


async def test_at_most_a_hundred_points_are_reported(
    new_provider: NewProvider, new_request: NewRequest
) -> None:
    provider = new_provider()
    await provider.submit(await new_request(provider, "job", epochs=100, batchSize=24))
    done = await settle(provider, "job")
    assert len(done.series) == 100
    assert (done.series[0].step, done.series[-1].step) == (0, 100)


async def test_a_loss_that_is_not_finite_fails_the_job_and_says_what_to_do(
    new_provider: NewProvider, new_request: NewRequest, tiny_model: str, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][:] = math.inf
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    provider = new_provider()
    request = await new_request(provider, "job", model=str(broken))
    await provider.submit(replace(request, validation=None))
    done = await settle(provider, "job")
    assert done.state is JobState.FAILED
    assert done.message == "training loss is not finite at step 1; lower learningRate"


async def test_a_model_that_does_not_load_fails_with_one_line(
    new_provider: NewProvider, new_request: NewRequest, tiny_model: str, tmp_path: Path, work_dir: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    provider = new_provider()
    await provider.submit(await new_request(provider, "job", model=str(broken)))
    done = await settle(provider, "job")
    assert done.state is JobState.FAILED
    assert str(broken) in done.message
    assert "does not load" in done.message
    assert "\n" not in done.message
    assert "Traceback" in job_folder(work_dir, "job").log.read_text("utf-8")


async def test_more_adapted_layers_than_the_model_has_are_refused(
    new_provider: NewProvider, new_request: NewRequest
) -> None:
    provider = new_provider()
    await provider.submit(await new_request(provider, "job", loraLayers=9))
    done = await settle(provider, "job")
    assert done.message == f"loraLayers is 9, but the base model has {LAYERS} layers"


async def test_bad_training_data_is_named_by_its_line_and_never_quoted(
    new_provider: NewProvider, new_request: NewRequest, tmp_path: Path
) -> None:
    provider = new_provider()
    request = await new_request(provider, "job")
    bad = await provider.upload(with_bad_line(tmp_path), base_model="any")
    await provider.submit(replace(request, training=bad))
    done = await settle(provider, "job")
    assert done.state is JobState.FAILED
    assert "line 25: the last message is not the assistant's" in done.message
    assert "secret" not in done.message


async def test_trials_differ_by_seed_and_repeat_with_it(
    new_provider: NewProvider, new_request: NewRequest
) -> None:
    provider = new_provider(max_concurrent_jobs=2)
    losses = {}
    for key, seed in (("a", 1), ("b", 1), ("c", 2)):
        request = await new_request(provider, key)
        await provider.submit(replace(request, seed=seed))
    for key in ("a", "b", "c"):
        losses[key] = (await settle(provider, key)).series[-1].values["validationLoss"]
    assert losses["a"] == losses["b"] != losses["c"]
