from pgqueue import watcher
from pgqueue.supervisor import reload


def test_programs_find_it_where_dramatiq_has_it() -> None:
    assert watcher.setup_file_watcher is reload.setup_file_watcher
