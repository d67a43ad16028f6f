"""No list is read for ever."""

from __future__ import annotations

import pytest

from finetune_providers.errors import UnexpectedResponse
from finetune_providers.paging import MOST_PAGES, PageTokens


@pytest.mark.parametrize("tokens", [["a", "a"], ["a", "b", "a"]], ids=str)
def test_a_page_that_was_there_before_is_not_read_again(tokens: list[str]) -> None:
    pages = PageTokens("the list of jobs")
    for token in tokens[:-1]:
        assert pages.follow(token) == token
    with pytest.raises(UnexpectedResponse, match="the list of jobs has no end"):
        pages.follow(tokens[-1])


def test_the_end_of_a_list_may_be_told_again() -> None:
    pages = PageTokens("the list of jobs")
    assert [pages.follow(token) for token in ("a", "", "")] == ["a", "", ""]


def test_ever_new_pages_come_to_an_end() -> None:
    pages = PageTokens("the list of jobs")
    for number in range(MOST_PAGES):
        pages.follow(str(number))
    with pytest.raises(UnexpectedResponse, match="no end"):
        pages.follow("another")
