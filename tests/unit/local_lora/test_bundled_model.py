from __future__ import annotations

import pytest

from finetune_providers.local_lora.models import BUNDLED_NAME
from unit.local_lora.helpers import NewProvider

pytestmark = pytest.mark.lora


async def test_the_bundled_model_loads_and_answers(new_provider: NewProvider) -> None:
    provider = new_provider()
    await provider.check([BUNDLED_NAME])
    question = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
    async with provider.inference(BUNDLED_NAME) as session:
        (text,) = await session.answer([question], max_output_tokens=12)
    assert "Paris" in text
