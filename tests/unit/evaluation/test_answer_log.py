from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from finetune_operator.evaluation import AnswerLog, answer_log


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


@pytest.mark.parametrize("put", ["link", "pipe", "folder", "huge"])
def test_what_lies_in_a_log_s_place_is_refused_with_its_path(tmp_path: Path, put: str) -> None:
    open_log(tmp_path).record({0: "a"})
    (path,) = tmp_path.iterdir()
    if put == "huge":
        os.truncate(path, 2**40)
    else:
        path.unlink()
        outside = tmp_path / "outside"
        outside.write_text('{"index": 0, "answer": "theirs"}\n')
        {"link": lambda: path.symlink_to(outside), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[
            put
        ]()
    with pytest.raises(OSError, match=f"cannot be used: .*asked again.*{path.name}"):
        open_log(tmp_path)


def test_no_answer_is_written_through_a_link(tmp_path: Path) -> None:
    log = open_log(tmp_path / "answers")
    log.record({0: "a"})
    (path,) = (tmp_path / "answers").iterdir()
    path.unlink()
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="symbolic link"):
        log.record({1: "b"})
    assert not (tmp_path / "outside").exists()


def test_a_log_does_not_outgrow_what_is_read_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_log, "MOST_BYTES", 100)
    log = open_log(tmp_path)
    for index in range(5):
        log.record({index: "x" * 20})
    assert len(log.answers) == 5
    assert sorted(open_log(tmp_path).answers) == [0, 1]
