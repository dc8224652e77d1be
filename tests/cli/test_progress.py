"""How far a job is: rows on a terminal, lines in a pipe. What is drawn last is what was going on at the end."""

import re
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from acistore.cli.live import cut_in_the_middle
from acistore.cli.output import Output
from acistore.cli.progress import Lines, progress_for
from acistore.progress import Progress
from tests.cli.running import AtTerminal, at_terminal

HEAD = """
from acistore.cli.output import Output
from acistore.cli.progress import progress_for
output = Output()
with progress_for(output) as progress:
"""


def shown(program: str, *, columns: int = 100, lines: int = 25) -> AtTerminal:
    """What a terminal shows of a program that reports to `progress`."""
    body = "".join(f"    {line}\n" for line in program.strip().splitlines())
    command = (sys.executable, "-c", HEAD + body)
    seen = at_terminal(command=command, COLUMNS=str(columns), LINES=str(lines))
    assert seen.code == 0, seen.text
    return seen


def rows(seen: AtTerminal) -> list[str]:
    """What was drawn last, before it was taken away."""
    drawn = seen.screen[: seen.screen.rindex("\x1b[?25h")]
    last = re.split(r"\x1b\[2K", drawn)[-1]
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", last).splitlines()]


def test_a_meter_is_a_row_and_the_latest_step_another() -> None:
    seen = shown("""
progress.step("discovering example.com/app")
progress.start("downloading app.aci", 2_000_000, 500_000).advance(250_000)
progress.start("downloading base.aci", None).advance(3_000)
progress.step("waiting")
""")
    first, second, step = rows(seen)
    assert first.startswith("downloading app.aci ")
    assert "━" in first and " 0.8/2.0 MB " in first
    assert second.startswith("downloading base.aci ") and " 3.0/? kB" in second
    assert step.endswith(" waiting")
    assert seen.screen.rindex("\x1b[2K") > seen.screen.rindex("waiting")  # all is taken away in the end


def test_a_meter_that_is_done_has_no_row() -> None:
    seen = shown("""
meters = [progress.start(f"part {number}", 10) for number in range(3)]
meters[1].done()
meters[1].advance(10)
meters[1].done()
""")
    assert [row.split(" ━")[0].split()[:2] for row in rows(seen)] == [["part", "0"], ["part", "2"]]


@pytest.mark.parametrize(("lines", "room"), [(24, 8), (7, 4), (2, 1)])
def test_of_many_meters_as_many_as_fit_are_rows(lines: int, room: int) -> None:
    seen = shown("""for number in range(60): progress.start(f"part {number}", 10)""", lines=lines)
    *meters, more = rows(seen)
    assert [row.split()[1] for row in meters] == [str(number) for number in range(room)]
    assert more == f"and {60 - room} more"


@pytest.mark.parametrize("columns", [100, 80, 40, 20])
def test_long_names_are_cut_in_the_middle(columns: int) -> None:
    name = "downloading https://images.example.com/" + "directory/" * 20 + "app-1.0-linux-amd64.aci"
    seen = shown(f"progress.start({name!r}, 1_000_000); progress.step({name!r})", columns=columns)
    row, step = rows(seen)
    assert len(row) <= columns and len(step) <= columns
    assert "…" in row
    assert step.split(" ", 1)[1].startswith("downl") and "…" in step and step.endswith("md64.aci")


@given(st.text(), st.integers(0, 60))
def test_what_is_cut_has_the_room_that_there_is(text: str, room: int) -> None:
    cut = cut_in_the_middle(text, room)
    assert cut == text or cell_len(cut) <= room


def test_text_from_outside_does_nothing_to_the_terminal() -> None:
    seen = shown(r"""
progress.step("step \x1b[41m\r\n [red]x[/red] :smile:")
progress.start("meter \x1b]0;title\x07 \u202e [bold]y[/bold]", 10)
""")
    assert r"step \x1b[41m\r\n [red]x[/red] :smile:" in seen.text
    assert r"meter \x1b]0;title\x07 \u202e [bold]y[/bold]" in seen.text
    assert "\x1b[41m" not in seen.screen and "\x1b]0" not in seen.screen


def test_a_warning_stands_above_the_rows_and_is_whole() -> None:
    seen = shown("""
progress.start("downloading app.aci", 10)
output.warning("the key expires soon")
""")
    assert "acistore: warning: the key expires soon\n" in seen.text.replace("\r", "")
    assert rows(seen)[-1].startswith("downloading app.aci")


def test_a_display_can_be_put_away_for_a_question() -> None:
    seen = shown("""
progress.step("one")
progress.__exit__(None, None, None)
print("question", end="")
progress.__enter__()
progress.step("two")
""")
    assert rows(seen)[-1].endswith(" two")
    assert "question" in seen.text


def test_nothing_to_show_shows_nothing() -> None:
    assert shown("pass").text.strip() == ""


def test_meters_of_many_threads_add_up() -> None:
    seen = shown("""
import threading
def work(meter):
    for _ in range(1000): meter.advance(1)
    other = progress.start("short", 1)
    other.advance(1)
    other.done()
meter = progress.start("long", 9_000)
threads = [threading.Thread(target=work, args=(meter,)) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
""")
    assert " 8.0/9.0 kB " in rows(seen)[-1]


# --- a pipe


def test_a_pipe_gets_a_line_a_step_and_a_start(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_for(Output()) as progress:
        progress.step("discovering\nexample.com/app")
        meter = progress.start("downloading app.aci", 92_600_000)
        meter.advance(92_600_000)
        meter.done()
        progress.start("downloading base.aci", None)
        progress.start("downloading more.aci", 2_000, 500)
        progress.start("downloading rest.aci", None, 500)
    assert capsys.readouterr().err.splitlines() == [
        r"discovering\nexample.com/app",
        "downloading app.aci (92.6 MB)",
        "downloading base.aci",
        "downloading more.aci (2.0 kB, 500 B of it there already)",
        "downloading rest.aci (500 B of it there already)",
    ]


@pytest.mark.parametrize("output", [Output(quiet=True), Output(json=True)])
def test_whoever_wants_no_lines_gets_none(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_for(output) as progress:
        progress.step("discovering")
        meter = progress.start("downloading", 5)
        meter.advance(5)
        meter.done()
    assert capsys.readouterr() == ("", "")


def test_lines_of_many_threads_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    progress: Progress = Lines(Output())
    threads = [threading.Thread(target=progress.step, args=("x" * 500,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capsys.readouterr().err == ("x" * 500 + "\n") * 20
