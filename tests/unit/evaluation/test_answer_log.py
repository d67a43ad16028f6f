from __future__ import annotations

import threading
from pathlib import Path

from finetune_operator.evaluation import AnswerLog


def open_log(folder: Path | None, dataset_hash: str = "d" * 64, model: str = "ft:mini:1") -> AnswerLog:
    return AnswerLog.open(folder, dataset_hash=dataset_hash, model=model)


def test_answers_are_there_after_a_restart(tmp_path: Path) -> None:
    log = open_log(tmp_path / "answers")
    log.record({3: "drei\nund mehr", 1: ""})
    log.record({2: "\ud800"})
    assert open_log(tmp_path / "answers").answers == {3: "drei\nund mehr", 1: "", 2: "\ud800"}


def test_each_model_and_dataset_has_its_own_log(tmp_path: Path) -> None:
    open_log(tmp_path).record({0: "a"})
    assert open_log(tmp_path, model="ft:mini:2").answers == {}
    assert open_log(tmp_path, dataset_hash="e" * 64).answers == {}
    assert len(list(tmp_path.iterdir())) == 1


def test_line_cut_short_at_any_byte_loses_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    AnswerLog(path).record({0: "é", 1: "two"})
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for end in range(second, len(whole) - 1):
        path.write_bytes(whole[:end])
        log = AnswerLog(path)
        assert log.answers == {0: "é"}
        log.record({2: "three"})
        assert AnswerLog(path).answers == {0: "é", 2: "three"}, end


def test_lines_that_are_no_answers_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'[]\n{"index": "1", "answer": "a"}\n{"index": 1}\n\xff\n{"index": 4, "answer": "b"}\n')
    assert AnswerLog(path).answers == {4: "b"}


def test_log_without_a_folder_is_kept_in_memory() -> None:
    log = open_log(None)
    log.record({0: "a"})
    assert log.answers == {0: "a"}


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    batches = [{index: str(index) * 100 for index in range(start, start + 50)} for start in range(0, 400, 50)]
    threads = [threading.Thread(target=log.record, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert open_log(tmp_path).answers == {index: str(index) * 100 for index in range(400)}
