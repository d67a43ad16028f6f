"""The manifest of a report makes the same sweep and holds no secret."""

from __future__ import annotations

import pytest
from tests.unit.report.worlds import SEVERAL, a_sweep

from finetune_operator.report.manifest import LEFT_OUT, manifest_text
from finetune_operator.resources import FinetuneSweep, load_yaml, parse_resource


def test_it_is_read_back_as_the_same_sweep() -> None:
    sweep = a_sweep(SEVERAL)
    again = parse_resource(FinetuneSweep, load_yaml(manifest_text(sweep)))
    assert again.spec == sweep.spec
    assert again.status == FinetuneSweep.model_fields["status"].default


def test_it_says_what_else_is_needed() -> None:
    text = manifest_text(a_sweep(SEVERAL, status={"datasets": {"training": "ab" * 32}}))
    assert "# Needs the FinetuneProviders bedrock-us, openai-prod.\n" in text
    assert f"# SHA-256 of the training dataset: {'ab' * 32}\n" in text


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (
            "https://data.example/t.jsonl?X-Amz-Signature=c0ffee",
            f"https://data.example/t.jsonl?{LEFT_OUT}",
        ),
        ("https://me:c0ffee@data.example/t.jsonl", f"https://{LEFT_OUT}@data.example/t.jsonl"),
        ("s3://acme/t.jsonl", "s3://acme/t.jsonl"),
        ("file:///data/t.jsonl", "file:///data/t.jsonl"),
    ],
)
def test_what_may_be_secret_in_an_address_is_left_out(uri: str, shown: str) -> None:
    text = manifest_text(a_sweep(dataset={"training": {"uri": uri}, "evaluation": {"uri": uri}}))
    assert load_yaml(text)["spec"]["dataset"]["training"]["uri"] == shown
    assert "c0ffee" not in text
    assert ("put it back before use" in text) is (uri != shown)
