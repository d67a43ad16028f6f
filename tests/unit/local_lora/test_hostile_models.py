"""Model folders that would run code when they are loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.local_lora.conftest import NewProvider, NewRequest
from tests.unit.local_lora.helpers import job_folder, settle

from finetune_providers.base import JobState
from finetune_providers.errors import ProviderError

pytestmark = pytest.mark.lora

CODE = "import pathlib\npathlib.Path({marker!r}).touch()\n"


class Touches:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "code-was-run"


def test_the_payload_would_run(marker: Path) -> None:
    pickle.loads(pickle.dumps(Touches(marker)))
    assert marker.exists()


async def test_no_code_of_a_base_model_s_folder_is_run(
    new_provider: NewProvider, new_request: NewRequest, tiny_model: str, tmp_path: Path, marker: Path
) -> None:
    hostile = tmp_path / "hostile"
    shutil.copytree(tiny_model, hostile)
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "tokenizer.pkl"):
        (hostile / name).write_bytes(pickle.dumps(Touches(marker)))
    for name in ("modeling_evil.py", "configuration_evil.py", "tokenization_evil.py", "__init__.py"):
        (hostile / name).write_text(CODE.format(marker=str(marker)))
    config = json.loads((hostile / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "configuration_evil.EvilConfig",
        "AutoModelForCausalLM": "modeling_evil.EvilModel",
        "AutoTokenizer": ["tokenization_evil.EvilTokenizer", None],
    }
    (hostile / "config.json").write_text(json.dumps(config))
    provider = new_provider()
    await provider.submit(await new_request(provider, "job", model=str(hostile)))
    done = await settle(provider, "job")
    assert done.state in {JobState.SUCCEEDED, JobState.FAILED}
    assert not marker.exists()


async def test_weights_in_a_pickle_alone_are_refused(
    new_provider: NewProvider, new_request: NewRequest, tiny_model: str, tmp_path: Path, marker: Path
) -> None:
    hostile = tmp_path / "hostile"
    shutil.copytree(tiny_model, hostile)
    (hostile / "model.safetensors").unlink()
    (hostile / "pytorch_model.bin").write_bytes(pickle.dumps(Touches(marker)))
    provider = new_provider()
    with pytest.raises(
        ProviderError, match=r"no \*\.safetensors file; other formats of weights can run code"
    ):
        await provider.check([str(hostile)])
    # Nor does a file that only looks like one help: the weights have to be in it.
    (hostile / "decoy.safetensors").write_bytes(b"")
    await provider.submit(await new_request(provider, "job", model=str(hostile)))
    assert (await settle(provider, "job")).state is JobState.FAILED
    assert not marker.exists()


async def test_an_adapter_in_a_pickle_is_not_loaded(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path, marker: Path
) -> None:
    """Of a state folder that somebody else could write to."""
    provider = new_provider()
    await provider.submit(await new_request(provider, "job"))
    done = await settle(provider, "job")
    assert done.fine_tuned_model is not None
    adapter = job_folder(work_dir, "job").adapter
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Touches(marker)))
    with pytest.raises(ProviderError):
        async with provider.inference(done.fine_tuned_model) as session:
            await session.answer([[{"role": "user", "content": "is tea warm"}]], max_output_tokens=1)
    assert not marker.exists()
