from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.bedrock_rules import check_row, question_and_answer
from tests.fakes.bedrock_server import BUCKET, BedrockServer
from tests.fakes.http_server import refused
from tests.unit.providers.bedrock.conftest import NOVA, Connect, Write

from finetune_providers.base import JobRequest, Message, MetricPoint, ModelRules, Provider, ProviderConfig
from finetune_providers.bedrock.data import as_native, converter, read_series
from finetune_providers.catalog import load_catalog
from finetune_providers.errors import PermanentProviderError, TransientProviderError

NOVA_2 = "amazon.nova-2-lite-v1:0:256k"
LLAMA_3_1 = "meta.llama3-1-8b-instruct-v1:0:128k"
LLAMA_3_3 = "meta.llama3-3-70b-instruct-v1:0:128k"
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0:200k"

TEXT = st.text(min_size=1, max_size=30).filter(lambda text: text.strip() != "")


def conversations(*, systems: bool = True, turns: int = 4) -> st.SearchStrategy[list[Message]]:
    def build(system: str | None, pairs: list[tuple[str, str]]) -> list[Message]:
        messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        for question, answer in pairs:
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": answer})
        return messages

    system = st.none() | TEXT if systems else st.none()
    return st.builds(build, system, st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=turns))


def texts(row: Any) -> list[str]:
    """All texts of a record in their order, whatever the dialect."""
    if isinstance(row, str):
        return [row]
    if isinstance(row, list):
        return [text for item in row for text in texts(item)]
    return [text for name in row if name not in {"role", "schemaVersion"} for text in texts(row[name])]


@given(conversations())
@pytest.mark.parametrize("dialect", ["conversation", "messages"])
def test_every_conversation_becomes_a_record_of_the_dialect_with_the_same_texts(
    dialect: str, conversation: list[Message]
) -> None:
    row = json.loads(json.dumps(converter("m", ModelRules({}, traits={"dialect": dialect}))(conversation)))
    check_row(dialect, row)
    assert texts(row) == [message["content"] for message in conversation]
    expected = (conversation[-2]["content"], conversation[-1]["content"])
    assert question_and_answer(dialect, row) == expected


@given(conversations(systems=False, turns=1))
def test_one_question_with_its_answer_becomes_prompt_and_completion(conversation: list[Message]) -> None:
    row = converter("m", ModelRules({}, traits={"dialect": "prompt-completion"}))(conversation)
    check_row("prompt-completion", row)
    assert row == {"prompt": conversation[0]["content"], "completion": conversation[1]["content"]}


def test_an_unknown_dialect_is_the_catalog_s_fault() -> None:
    with pytest.raises(
        PermanentProviderError, match="allowed: conversation, messages, prompt-completion"
    ) as caught:
        converter("m", ModelRules({}, traits={"dialect": "sonnet"}))
    assert caught.value.field == "spec.models"


USER, ANSWER = Message(role="user", content="hello"), Message(role="assistant", content="hi")
SYSTEM = Message(role="system", content="be kind")


@pytest.mark.parametrize(
    ("model", "bad", "what"),
    [
        (LLAMA_3_1, [SYSTEM, USER, ANSWER], "line 3 of the training data has a system prompt"),
        (LLAMA_3_1, [USER, ANSWER, USER, ANSWER], "line 3 of the training data has several turns"),
        (NOVA, [USER, USER, ANSWER], "line 3 of the training data must be"),
        (NOVA, [USER, ANSWER, ANSWER], "line 3 of the training data must be"),
        (
            NOVA,
            [USER, {"role": "assistant", "content": "  "}],
            "line 3 of the training data has an empty message",
        ),
        (NOVA, [{"role": "user", "content": "see <image>"}, ANSWER], "line 3 .* has '<image>' in a prompt"),
        (
            NOVA,
            [{"role": "system", "content": "Bot: answers"}, USER, ANSWER],
            "line 3 .* has 'Bot:' in a prompt",
        ),
        (HAIKU, [ANSWER, USER], "line 3 of the training data must be"),
    ],
)
async def test_what_a_dialect_cannot_say_is_refused_by_its_line(
    provider: Provider, write: Write, model: str, bad: list[Message], what: str
) -> None:
    good = [USER, ANSWER]
    dataset = write(conversations=[good, good, bad, *([good] * 100)])
    with pytest.raises(PermanentProviderError, match=what) as caught:
        await provider.check_data(model, training=dataset, validation=None)
    assert caught.value.field == "training"
    with pytest.raises(PermanentProviderError):
        await provider.upload(dataset, base_model=model)


async def test_a_line_of_the_validation_data_is_refused_there(provider: Provider, write: Write) -> None:
    validation = write(conversations=[[USER, ANSWER], [USER, USER]])
    with pytest.raises(PermanentProviderError, match="line 2 of the validation data") as caught:
        await provider.check_data(NOVA, training=write(), validation=validation)
    assert caught.value.field == "validation"


@pytest.mark.parametrize(
    "word", ["System:", "SYSTEM:", "USER:", "BOT:", "ASSISTANT:", "Thought:", "[EOS]", "<video>"]
)
async def test_every_word_that_aws_s_own_validator_refuses_in_a_prompt_is_refused(
    provider: Provider, write: Write, word: str
) -> None:
    asked: list[Message] = [{"role": "user", "content": f"What is {word} for?"}, ANSWER]
    with pytest.raises(PermanentProviderError, match="reserved word"):
        await provider.check_data(NOVA, training=write(conversations=[asked] * 8), validation=None)


async def test_reserved_words_may_stand_in_answers_and_where_no_model_reserves_them(
    provider: Provider, write: Write
) -> None:
    said = write(conversations=[[USER, {"role": "assistant", "content": "User: hi"}]] * 10)
    await provider.check_data(NOVA, training=said, validation=None)
    asked = write(conversations=[[{"role": "user", "content": "User: hi"}, ANSWER]] * 100)
    await provider.check_data(LLAMA_3_3, training=asked, validation=None)


@pytest.mark.parametrize(
    ("model", "training", "validation", "what", "field"),
    [
        (NOVA, 7, None, "takes at least 8 training examples, not 7", "training"),
        (NOVA_2, 199, None, "at least 200 training examples, not 199", "training"),
        (NOVA_2, 200, 1, "without validation data", "validation"),
        (
            LLAMA_3_3,
            90,
            9,
            "at least 100 and at most 10000 training and validation examples together, not 99",
            "training",
        ),
        (HAIKU, 31, None, "at least 32 and at most 10000 training examples, not 31", "training"),
        (HAIKU, 32, 1001, "takes at most 1000 validation examples, not 1001", "validation"),
    ],
)
async def test_numbers_of_examples_beyond_a_model_s_limits(
    provider: Provider, write: Write, model: str, training: int, validation: int | None, what: str, field: str
) -> None:
    with pytest.raises(PermanentProviderError, match=what) as caught:
        await provider.check_data(
            model, training=write(training), validation=None if validation is None else write(validation)
        )
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("model", "training", "validation"), [(NOVA, 8, 1), (LLAMA_3_3, 90, 10), (HAIKU, 32, None)]
)
async def test_numbers_of_examples_at_the_limits(
    provider: Provider, write: Write, model: str, training: int, validation: int | None
) -> None:
    held = None if validation is None else write(validation)
    await provider.check_data(model, training=write(training), validation=held)


async def test_a_limit_of_one_s_own_must_be_a_number(connect: Connect, write: Write) -> None:
    provider = connect(models={"own.model": {"like": NOVA, "traits": {"minTraining": "some"}}})
    with pytest.raises(PermanentProviderError, match="minTraining must be a whole number") as caught:
        await provider.check_data("own.model", training=write(), validation=None)
    assert caught.value.field == "spec.models"


# -- S3 ---------------------------------------------------------------------------------------------------------


async def test_an_upload_lies_under_its_scope_its_dialect_and_its_content(
    server: BedrockServer, provider: Provider, write: Write, tmp_path: Path
) -> None:
    dataset = write()
    uri = await provider.upload(dataset, base_model=NOVA)
    key = f"tuning/fts-1.conversation.{dataset.content_hash[:32]}.jsonl"
    assert uri == f"s3://{BUCKET}/{key}"
    rows = [json.loads(line) for line in server.objects[BUCKET, key].splitlines()]
    assert rows[3]["messages"][0] == {"role": "user", "content": [{"text": "say 3"}]}
    await provider.upload(dataset, base_model=LLAMA_3_1)
    assert len(server.objects) == 2
    assert list((tmp_path / "work").iterdir()) == []


async def test_data_may_lie_at_the_top_of_a_bucket(
    server: BedrockServer, connect: Connect, write: Write
) -> None:
    provider = connect(data_uri=f"s3://{BUCKET}")
    uri = await provider.upload(write(), base_model=NOVA)
    assert uri.startswith(f"s3://{BUCKET}/fts-1.conversation.")
    await provider.delete_data("fts-1")
    assert not server.objects


async def test_a_scope_s_outputs_are_deleted_with_it_page_by_page_and_nothing_else(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    server.page_size = 2
    server.objects[BUCKET, "tuning/fts-10.conversation.x.jsonl"] = b""
    server.objects[BUCKET, "fts-1.conversation.x.jsonl"] = b""
    kept = set(server.objects)
    for number in range(5):
        server.objects[BUCKET, f"tuning/fts-1.output/ft-{number}-a1/metrics.csv"] = b""
    await provider.upload(write(), base_model=NOVA)
    await provider.delete_data("fts-1")
    assert set(server.objects) == kept


async def test_a_look_that_fails_is_no_reason_to_upload(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    server.fault("head", refused(503))
    with pytest.raises(TransientProviderError):
        await provider.upload(write(), base_model=NOVA)
    server.fault("head", refused(403))
    with pytest.raises(PermanentProviderError, match="credentials may not use the bucket") as caught:
        await provider.upload(write(), base_model=NOVA)
    assert caught.value.field == "spec.dataUri"
    assert server.count("put") == 0


# -- metrics ----------------------------------------------------------------------------------------------------


def test_metrics_are_joined_by_step_and_a_step_s_rows_are_averaged() -> None:
    training = (
        "step_number,epoch_number,training_loss,perplexity\n0,0,4,1\n1,0,1,1\n1,0,3,1\nx,0,9,1\n2,1,nan,1\n"
    )
    validation = "step_number,epoch_number,validation_loss,perplexity\n1,0,2.5,1\n"
    assert read_series(training, validation, final_validation=9.0) == (
        MetricPoint(0, {"trainingLoss": 4.0}),
        MetricPoint(1, {"trainingLoss": 2.0, "validationLoss": 2.5}),
    )


def test_a_last_word_stands_at_the_last_step() -> None:
    training = "step_number,training_loss\n0,4\n7,1\n"
    series = read_series(training, "", final_training=8.0, final_validation=2.0)
    assert series[-1] == MetricPoint(7, {"trainingLoss": 1.0, "validationLoss": 2.0})
    assert read_series("", "", final_training=float("nan")) == ()


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_content_of_a_file_is_an_error(training: str, validation: str) -> None:
    assert len(read_series(training, "step_number,validation_loss\n" + validation)) <= 100


async def test_a_long_metrics_file_does_not_hold_up_everybody_else(
    server: BedrockServer, provider: Provider, request_nova: JobRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def read(*_: Any, **__: Any) -> tuple[MetricPoint, ...]:
        threads.append(threading.current_thread())
        return ()

    monkeypatch.setattr("finetune_providers.bedrock.bucket.read_series", read)
    job = await provider.submit(request_nova)
    server.finish_training()
    await provider.observe([job.job_id])
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


@given(st.floats(min_value=1e-12, max_value=1e6) | st.integers(min_value=0, max_value=10**6))
def test_a_number_is_written_without_exponent_and_without_loss(value: float) -> None:
    text = as_native(value)
    assert "e" not in text.lower()
    assert float(text) == value


# -- the example ------------------------------------------------------------------------------------------------


async def test_the_example_s_data_and_search_space_fit_its_base_models(
    config: Callable[..., ProviderConfig], connect: Connect, write: Write
) -> None:
    path = Path(__file__).parents[4] / "examples" / "bedrock.yaml"
    documents = {document["kind"]: document for document in yaml.safe_load_all(path.read_text("utf-8"))}
    data = documents["ConfigMap"]["data"]
    read = {name: [json.loads(line)["messages"] for line in text.splitlines()] for name, text in data.items()}
    catalog, provider = load_catalog(config()), connect()
    for candidate in documents["FinetuneSweep"]["spec"]["candidates"]:
        for model in candidate["baseModels"]:
            rules = catalog.rules(model)
            assert rules is not None
            assert candidate["parameters"].keys() <= rules.parameters.keys()
            for name, asked in candidate["parameters"].items():
                (space,) = asked.values()
                rule = rules.parameters[name]
                for value in (space["min"], space["max"]) if isinstance(space, dict) else space:
                    assert rule.permits(int(value) if rule.kind == "int" else float(value)), name
            await provider.check_data(
                model,
                training=write(conversations=read["train.jsonl"]),
                validation=write(conversations=read["valid.jsonl"]),
            )
    assert len(read["train.jsonl"]) >= 10
    questions = [row[-2]["content"] for rows in read.values() for row in rows]
    assert len(set(questions)) == len(questions)
