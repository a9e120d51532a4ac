"""The demo's web server and the files that it has."""

import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from pgqueue.demo.pages import FINISHED, Page, PageServer, find_pages, python_library
from pgqueue.errors import PgQueueError
from tests.support.eventually import eventually


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Three text files and some that are none."""
    (tmp_path / "a dir").mkdir()
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "a dir" / "ä?.py").write_text("one two\nthree")
    (tmp_path / "b.txt").write_text("four five")
    (tmp_path / "c.py").write_text("")
    (tmp_path / "d.so").write_text("no text")
    (tmp_path / "site-packages" / "e.py").write_text("not the library's")
    return tmp_path


@pytest.fixture
def pages(library: Path) -> list[Page]:
    return find_pages(library)


@pytest.fixture
def server(pages: list[Page]) -> Iterator[PageServer]:
    with PageServer(pages, hold_from=100) as server:
        yield server


def ask(server: PageServer, address: str, *, method: str = "GET", pid: int = 1) -> tuple[int, bytes]:
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, address, headers={"User-Agent": f"pgqueue-demo/{pid}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class TestFindPages:
    def test_text_files_of_the_library_itself_are_found(self, pages: list[Page]) -> None:
        assert [(page.name, page.words) for page in pages] == [("a dir/ä?.py", 3), ("b.txt", 2), ("c.py", 0)]

    def test_fewer_pages_are_taken_from_everywhere(self, library: Path) -> None:
        assert [page.name for page in find_pages(library, 2)] == ["a dir/ä?.py", "b.txt"]

    def test_more_pages_than_files_are_the_same_files_again(self, library: Path) -> None:
        pages = find_pages(library, 7)
        assert len({page.address for page in pages}) == 7
        assert len({page.path for page in pages}) == 3

    def test_an_empty_library_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(PgQueueError, match=r"no readable text file in .*without its library"):
            find_pages(tmp_path)

    def test_this_python_has_enough_of_them(self) -> None:
        assert len({page.path for page in find_pages(python_library(), 100)}) == 100


class TestPageServer:
    def test_a_page_is_served_as_it_is(self, server: PageServer, pages: list[Page]) -> None:
        ask(server, pages[0].address)
        assert ask(server, pages[0].address) == (200, b"one two\nthree")
        assert ask(server, pages[1].address) == (200, b"four five")

    def test_the_server_is_too_busy_for_some_pages_at_first(
        self, server: PageServer, pages: list[Page]
    ) -> None:
        assert ask(server, pages[0].address)[0] == 503
        assert ask(server, pages[0].address)[0] == 200

    @pytest.mark.parametrize("address", ["/", "/d.so", "/site-packages/e.py", "/../../etc/passwd", "/b.txt/"])
    def test_nothing_else_is_served(self, server: PageServer, address: str) -> None:
        assert ask(server, address) == (404, b"")

    def test_reports_of_the_callback_are_counted(self, server: PageServer) -> None:
        assert ask(server, FINISHED, method="POST")[0] == 204
        assert ask(server, "/else", method="POST")[0] == 404
        assert server.finished == 1

    def test_requests_are_held_until_the_gate_is_opened(self, pages: list[Page]) -> None:
        answers: list[int] = []
        with PageServer(pages, hold_from=1) as server:
            assert ask(server, pages[1].address, pid=7)[0] == 200

            def answered() -> None:
                assert server.busiest([7, 8]) == 0

            eventually(answered)
            late = threading.Thread(target=lambda: answers.append(ask(server, pages[1].address, pid=8)[0]))
            late.start()

            def held() -> None:
                assert server.busiest([7, 8]) == 8

            eventually(held)
            assert answers == []
            server.open_gate()
            late.join(10)
        assert answers == [200]

    def test_a_client_that_hangs_up_disturbs_nobody(
        self, server: PageServer, pages: list[Page], capfd: pytest.CaptureFixture[str]
    ) -> None:
        connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        connection.request("GET", pages[1].address)
        connection.close()
        assert ask(server, pages[1].address)[0] == 200
        assert capfd.readouterr().err == ""
