"""The official layouts, line by line, and what is said of files that break them."""

from pathlib import Path

import pytest

from apps.answer_selection.corpora import formats
from common.runs.errors import UserError

HEADER = "question,candidate,label\n"
WIKIQA = "QuestionID\tQuestion\tDocumentID\tDocumentTitle\tSentenceID\tSentence\tLabel\n"


@pytest.fixture
def toks(tmp_path) -> Path:
    """Two questions, with two and three sentences."""
    table = [
        ("1", "who won in 1989 ?", "it was <num> .", "1"),
        ("1", "who won in 1989 ?", "nobody", "0"),
        ("2.5", "where ?", "there in 5.5 days", "1"),
        ("2.5", "where ?", "here", "0"),
        ("2.5", "where ?", "here", "0"),
    ]
    for name, column in zip(
        ("id.txt", "a.toks", "b.toks", "sim.txt"), zip(*table, strict=True), strict=True
    ):
        (tmp_path / name).write_text("".join(f"{value}\n" for value in column))
    return tmp_path


@pytest.fixture
def wikiqa(tmp_path) -> Path:
    path = tmp_path / "WikiQA-dev.tsv"
    path.write_text(
        WIKIQA
        + 'Q1\tHow "old ?\tD1\tTitle\tD1-0\tNot said .\t0\n'
        + 'Q1\tHow "old ?\tD1\tTitle\tD1-7\tIn 5 years .\t1\n'
    )
    path.with_suffix(".ref").write_text("1 0 0 0\n1 0 1 1\n")
    return path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def table(tmp_path, text):
    path = tmp_path / "train.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_toks_are_questions_with_numbers_folded(toks):
    first, second = formats.read_toks(toks)
    assert (first.question_id, first.question) == ("1", "who won in <num> ?")
    assert [one[:2] for one in first.candidates] == [("it was <num> .", 1), ("nobody", 0)]
    assert [one.text for one in second.candidates] == ["there in <num> days", "here", "here"]


def test_only_numbers_that_stand_alone_are_folded():
    text = "5 in 1989 , 1,200.5 or .08 of the 51-day 3rd 1/2 m3 7"
    folded = "<num> in <num> , <num> or .08 of the 51-day 3rd 1/2 m3 <num>"
    assert formats.fold_numbers(text) == folded


def test_ids_that_come_back_are_named(toks):
    change(toks / "id.txt", "2.5\n2.5\n2.5\n", "2.5\n2.5\n1\n")
    change(toks / "a.toks", "where ?\nwhere ?\nwhere ?", "where ?\nwhere ?\nwho won in 1989 ?")
    with pytest.raises(UserError, match=r"sim\.txt:5: .* question '1' to stand together"):
        list(formats.read_toks(toks))


def test_two_questions_under_one_id_are_named(toks):
    change(toks / "a.toks", "where ?\nwhere ?\n", "where ?\nwhy ?\n")
    with pytest.raises(UserError, match=r"sim\.txt:4: expected one text for question '2\.5'"):
        list(formats.read_toks(toks))


def test_files_of_unequal_length_are_named(toks):
    change(toks / "sim.txt", "1\n", "")
    with pytest.raises(UserError, match=r"as many lines.*'b\.toks': 5, 'sim\.txt': 4.*cut short"):
        list(formats.read_toks(toks))


def test_a_missing_file_of_a_part_is_named(toks):
    (toks / "b.toks").unlink()
    with pytest.raises(UserError, match=r"b\.toks, found none: get it from"):
        list(formats.read_toks(toks))


@pytest.mark.parametrize("label", ["2", "-1", "yes", ""])
def test_a_label_other_than_0_or_1_is_named(toks, label):
    change(toks / "sim.txt", "0\n", f"{label}\n")
    with pytest.raises(UserError, match=rf"sim\.txt:2: expected a label 0 or 1, got '{label}'"):
        list(formats.read_toks(toks))


def test_a_line_that_is_not_utf_8_is_named(toks):
    path = toks / "b.toks"
    path.write_bytes(path.read_bytes().replace(b"nobody", b"no\xffbody"))
    with pytest.raises(UserError, match=r"b\.toks:2: expected UTF-8 text.*byte 2 of the line"):
        list(formats.read_toks(toks))


@pytest.mark.parametrize(
    "line",
    [
        '{"question": "Who ?"}',
        '{"question": "Who ?", "candidates": [{"sentence": "He ."}]}',
        '{"question": 5, "candidates": []}',
        '["Who ?"]',
        '{"question": "Who',
        "",
    ],
)
def test_jsonl_of_another_kind_is_named(tmp_path, line):
    path = tmp_path / "dev.jsonl"
    path.write_text('{"question": "Who ?", "candidates": []}\n' + line + "\n")
    with pytest.raises(UserError, match=r"dev\.jsonl:2: expected an object with question"):
        list(formats.read_jsonl(path))


def test_wikiqa_quotes_are_text(wikiqa):
    (question,) = formats.read_wikiqa(wikiqa)
    assert question[:2] == ("Q1", 'How "old ?')
    assert [row[:2] for row in question.candidates] == [("Not said .", 0), ("In 5 years .", 1)]


def test_wikiqa_labels_must_be_those_of_the_ref_file(wikiqa):
    change(wikiqa.with_suffix(".ref"), "1 0 1 1", "1 0 1 0")
    with pytest.raises(UserError, match=r"WikiQA-dev\.tsv:3: .* line 2 of WikiQA-dev\.ref, got 1"):
        list(formats.read_wikiqa(wikiqa))


def test_wikiqa_is_read_without_a_ref_file(wikiqa):
    wikiqa.with_suffix(".ref").unlink()
    assert len(list(formats.read_wikiqa(wikiqa))) == 1


def test_wikiqa_cut_short_is_named(wikiqa):
    wikiqa.write_text("".join(wikiqa.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"expected 2 rows as in WikiQA-dev\.ref, got 1"):
        list(formats.read_wikiqa(wikiqa))


def test_rows_of_a_question_may_stand_apart_in_ones_own_table(tmp_path):
    path = table(tmp_path, "label,candidate,question,more\n1,b,a?,\n1,d,c?,\n0,e,a?,\n")
    first, second = formats.read_csv(path)
    assert first.question == "a?"
    assert [one[:2] for one in first.candidates] == [("b", 1), ("e", 0)]
    assert (second.question, second.candidates[0][:2]) == ("c?", ("d", 1))


def test_a_quoted_text_may_hold_commas_and_line_breaks(tmp_path):
    (question,) = formats.read_csv(table(tmp_path, HEADER + '"a, b?","c\nd ""e""",1\n'))
    assert (question.question, question.candidates[0].text) == ("a, b?", 'c\nd "e"')


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    (question,) = formats.read_csv(table(tmp_path, b"\xef\xbb\xbf" + f"{HEADER}a?,b,1\n".encode()))
    assert question.question == "a?"


BROKEN_TABLES = {
    r"columns question, candidate, label, candidate, label missing in \['question', 'x'\]": (
        "question,x\n"
    ),
    r"question, candidate, label missing in \[\]": "",
    r"expected a table \(unexpected end of data\)": f'{HEADER}a,"b,1\n',
    r"train\.csv:2: expected UTF-8 text": HEADER.encode() + "Höhle?,b,1\n".encode("latin-1"),
}


@pytest.mark.parametrize("message", BROKEN_TABLES)
def test_a_broken_table_is_one_clear_line(tmp_path, message):
    with pytest.raises(UserError, match=message) as raised:
        formats.read_csv(table(tmp_path, BROKEN_TABLES[message]))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,c,2", "expected a label 0 or 1, got '2'"),
        ("a,b,", "expected a label 0 or 1, got ''"),
        ("a,b,c,1", "expected 3 fields, got 4: put quotes around text with commas in it"),
        ("a,b", "expected 3 fields, got 2: put quotes around text with commas in it"),
    ],
)
def test_a_row_that_cannot_be_used_says_where_and_why(tmp_path, row, problem):
    path = table(tmp_path, f"{HEADER}a,x,1\n{row}\n")
    (question,) = formats.read_csv(path)
    assert [(one.where, one.problem) for one in question.candidates] == [
        (f"{path}:2", None),
        (f"{path}:3", problem),
    ]
