"""A page of measurements keeps what other commands wrote."""

from __future__ import annotations

from rehearsal.page import FRAME, put


def test_an_empty_page_gets_its_frame_and_the_part() -> None:
    made = put("", "faults", "## Faults\n\n3.1 s\n")

    assert made.startswith(FRAME)
    assert "3.1 s" in made


def test_a_part_replaces_its_older_self_in_place_and_nothing_else() -> None:
    two = put(put("", "faults", "old figure"), "calm", "0 failovers")

    again = put(two, "faults", "new figure")

    assert "old figure" not in again
    assert again.index("new figure") < again.index("0 failovers")
    assert put(again, "faults", "old figure") == two


def test_text_that_a_person_added_between_the_parts_stays() -> None:
    page = put(put("", "a", "1"), "b", "2").replace("<!-- begin: b -->", "By hand.\n\n<!-- begin: b -->")

    assert "By hand." in put(page, "a", "one")
