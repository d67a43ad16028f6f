"""Answers of base and best model, read from a work folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.report.worlds import a_sweep, a_trial

from finetune_operator.evaluation import AnswerLog, asked_of, check_dataset
from finetune_operator.folder.answers import AnswersUnknown, read_answers
from finetune_operator.resources import FinetuneSweep

BEST = a_trial(3, 0.9)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with an evaluation set of five questions, all of which base and best model answered."""
    data = tmp_path / "work" / "datasets"
    data.mkdir(parents=True)
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"question {i}"},
                {"role": "assistant", "content": str(i)},
            ]
        }
        for i in range(5)
    ]
    (data / "new").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (data / "new").rename(data / f"{check_dataset(data / 'new', field='').content_hash}.jsonl")
    log_of(tmp_path, "tiny-135m").record(dict.fromkeys(range(5), "no"))
    log_of(tmp_path, "ft:3").record({i: str(i) for i in range(5)})
    return tmp_path


def hash_of(state: Path) -> str:
    (file,) = (state / "work" / "datasets").iterdir()
    return file.stem


def log_of(state: Path, model: str) -> AnswerLog:
    asked = asked_of("default", "here", model, 128)
    return AnswerLog.open(state / "work" / "answers", dataset_hash=hash_of(state), model=asked)


def sweep_of(state: Path) -> FinetuneSweep:
    return a_sweep(status={"datasets": {"evaluation": hash_of(state)}})


def test_questions_have_both_models_answers_in_the_order_of_the_set(state: Path) -> None:
    found = read_answers(state, sweep_of(state), BEST)
    assert [(each.example.expected, each.base, each.best) for each in found] == [
        (str(i), "no", str(i)) for i in range(5)
    ]


def test_a_question_that_one_of_them_did_not_answer_is_left_out(state: Path) -> None:
    (state / "work" / "answers").rename(state / "before")
    log_of(state, "tiny-135m").record({0: "no", 1: "no"})
    log_of(state, "ft:3").record({1: "1", 2: "2"})
    assert [each.example.index for each in read_answers(state, sweep_of(state), BEST)] == [1]


def test_another_models_answers_are_not_taken_for_the_best_ones(state: Path) -> None:
    with pytest.raises(AnswersUnknown, match="none of both the base and the best model"):
        read_answers(state, sweep_of(state), a_trial(4, 0.9))


def test_a_work_folder_that_was_removed_is_said_to_be_gone(state: Path) -> None:
    sweep = sweep_of(state)
    (state / "work").rename(state / "gone")
    with pytest.raises(AnswersUnknown, match="no longer in the state folder"):
        read_answers(state, sweep, BEST)
    assert not (state / "work").exists()


def test_a_metric_of_the_trainer_has_no_answers(state: Path) -> None:
    with pytest.raises(AnswersUnknown, match="answered no evaluation set"):
        read_answers(state, a_sweep(), BEST)
