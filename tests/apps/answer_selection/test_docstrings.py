"""Parameters and what is said of them, mined from sources that the tests write."""

import pytest

from apps.answer_selection import config, datasets
from apps.answer_selection.corpora import docstrings

NUMPY = """Fits.

Parameters
----------
tol : float, default=1e-4
    Tolerance for stopping. Smaller is slower.

    More on it.
x, y : array of shape (n,)
    The `points` to :func:`fit`.
kind : {'a', 'b'}
    Which of two kinds
    to take.

Returns
-------
fitted : object
    Not a parameter at all.
"""
GOOGLE = """Fits.

Args:
    units: Positive integer, the size
        of the output. See above.
    name (str): A name for it, e.g. `dense`.
    rate: Float: between 0 and 1.

Returns:
    fitted: Not a parameter.
"""


def write(folder, **modules):
    """A package with one function of five parameters in each module; `modules` give its texts."""
    folder.mkdir(exist_ok=True)
    for name, texts in modules.items():
        entries = "".join(
            f"    p{number} : int\n        {text}\n" for number, text in enumerate(texts)
        )
        (folder / f"{name}.py").write_text(
            f'def fit_{name}():\n    """Fits.\n\n    Parameters\n    ----------\n{entries}    """\n'
        )
    return [(folder.name, folder)]


def texts(word, count=5):
    return [f"The {word} of kind {number}." for number in range(count)]


def test_numpy_parameters_have_their_first_sentence_without_marks():
    assert docstrings.parameters(NUMPY) == {
        "tol": "Tolerance for stopping.",
        "x": "The points to fit.",
        "kind": "Which of two kinds to take.",
    }


def test_google_parameters_have_their_first_sentence_without_marks():
    assert docstrings.parameters(GOOGLE) == {
        "units": "Positive integer, the size of the output.",
        "name": "A name for it, e.g. dense.",
        "rate": "Float: between 0 and 1.",
    }


def test_an_indented_docstring_reads_as_a_flush_one():
    indented = NUMPY.replace("\n", "\n    ")
    assert docstrings.parameters(indented) == docstrings.parameters(NUMPY)


def test_a_question_has_every_description_of_its_function_and_one_is_right(tmp_path):
    parts = docstrings.questions_by_part(write(tmp_path / "pack", one=texts("size")))
    questions = [question for part in parts.values() for question in part]
    assert [question.question for question in questions] == [
        f"what is p{number} in fit_one" for number in range(5)
    ]
    for number, question in enumerate(questions):
        assert [candidate.text for candidate in question.candidates] == texts("size")
        assert [candidate.label for candidate in question.candidates] == [
            int(place == number) for place in range(5)
        ]


def test_a_function_with_fewer_parameters_is_left_out(tmp_path):
    few = texts("size", docstrings.MIN_CANDIDATES - 1)
    assert docstrings.mine(write(tmp_path / "pack", one=few)) == []


def test_a_copied_function_is_left_out(tmp_path):
    copy = [*texts("size")[:3], "Another thing.", "One more thing."]  # three of five are the same
    found = docstrings.mine(write(tmp_path / "pack", a=texts("size"), b=copy))
    assert [function.name for function in found] == ["fit_a"]


def test_boilerplate_is_capped(tmp_path):
    modules = {f"m{n}": [*texts(f"word{n}"), "A name for the operation."] for n in range(9)}
    found = docstrings.mine(write(tmp_path / "pack", **modules))
    assert len(found) == 9
    uses = sum("A name for the operation." in one.descriptions.values() for one in found)
    assert uses == docstrings.MAX_USES


def test_two_parameters_with_one_description_are_asked_about_once(tmp_path):
    same = [*texts("size"), texts("size")[0]]
    (found,) = docstrings.mine(write(tmp_path / "pack", one=same))
    assert list(found.descriptions) == [f"p{number}" for number in range(5)]


def test_whole_modules_are_held_back(tmp_path):
    modules = {f"m{n}": texts(f"word{n}") for n in range(60)}
    parts = docstrings.questions_by_part(write(tmp_path / "pack", **modules))
    of_part = {part: {one.question_id.split(".")[1] for one in parts[part]} for part in parts}
    assert sum(map(len, of_part.values())) == 60
    assert all(of_part.values())


@pytest.mark.parametrize("name", ["tests/a.py", "test_a.py", "gen_ops.py", "_api/a.py"])
def test_tests_and_generated_files_are_not_read(tmp_path, name):
    write(tmp_path / "pack", a=texts("size"))
    source = (tmp_path / "pack" / "a.py").read_text()
    (tmp_path / "pack" / "a.py").unlink()
    (tmp_path / "pack" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "pack" / name).write_text(source)
    assert docstrings.mine([("pack", tmp_path / "pack")]) == []


def test_sources_are_never_run_and_those_of_another_python_are_passed_over(tmp_path):
    folders = write(tmp_path / "pack", a=texts("size"))
    (tmp_path / "pack" / "b.py").write_text('"""Args:"""\nprint "Python 2"\n')
    path = tmp_path / "pack" / "a.py"
    path.write_text("raise RuntimeError\n" + path.read_text())
    assert [function.name for function in docstrings.mine(folders)] == ["fit_a"]


def test_a_class_documented_in_its_init_has_the_name_of_the_class(tmp_path):
    entries = "".join(f"            p{n}: The size {n}.\n" for n in range(4))
    (tmp_path / "a.py").write_text(
        "class Net:\n    def __init__(self):\n"
        f'        """Makes it.\n\n        Args:\n{entries}        """\n'
    )
    (found,) = docstrings.mine([("pack", tmp_path)])
    assert found.name == "Net"


@pytest.fixture(scope="module")
def prepared(cache_dir):
    """The records of one package by part."""
    builder, splits = datasets.make_builder(
        "docstrings", root=None, cache_dir=cache_dir, packages=config.TINY.data.packages
    )
    return {
        part: list(datasets.read(builder, name).as_numpy_iterator())
        for part, name in splits.items()
    }


def test_the_default_data_has_no_module_in_two_parts(prepared):
    modules = [
        {one["question_id"].decode().rsplit(".", 2)[0] for one in found}
        for found in prepared.values()
    ]
    assert len(modules) == 3
    assert len(set.union(*modules)) == sum(map(len, modules))


def test_the_default_data_has_one_right_candidate_of_four_or_more(prepared):
    found = [one for part in prepared.values() for one in part]
    assert len(found) > 500
    assert {int(one["labels"].sum()) for one in found} == {1}
    assert min(len(one["labels"]) for one in found) == docstrings.MIN_CANDIDATES


def test_guessing_on_the_default_data_is_right_once_in_six_times(prepared):
    shares = [1 / len(one["labels"]) for one in prepared["validation"]]
    assert 0.14 < sum(shares) / len(shares) < 0.20
