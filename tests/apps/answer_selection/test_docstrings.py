"""Parameters and what is said of them, mined from sources that the tests write."""

import dataclasses

from apps.answer_selection import config, data
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


def write(root, **modules):
    """A package with a function in each module; `modules` give the texts of its parameters."""
    folder = root / "pack"
    folder.mkdir()
    for name, texts in modules.items():
        entries = "".join(f"    p{n} : int\n        {text}\n" for n, text in enumerate(texts))
        (folder / f"{name}.py").write_text(
            f'def fit_{name}():\n    """Fits.\n\n    Parameters\n    ----------\n{entries}    """\n'
        )
    return [folder]


def texts(word, count=5):
    return [f"The {word} of kind {number}." for number in range(count)]


def test_numpy_parameters_have_their_first_sentence_without_marks():
    parameters = docstrings.parameters(NUMPY)
    assert parameters == {
        "tol": "Tolerance for stopping.",
        "x": "The points to fit.",
        "kind": "Which of two kinds to take.",
    }
    assert docstrings.parameters(NUMPY.replace("\n", "\n    ")) == parameters  # indented


def test_google_parameters_have_their_first_sentence_without_marks():
    assert docstrings.parameters(GOOGLE) == {
        "units": "Positive integer, the size of the output.",
        "name": "A name for it, e.g. dense.",
        "rate": "Float: between 0 and 1.",
    }


def test_a_question_has_every_description_of_its_function_and_one_is_right(tmp_path):
    parts = docstrings.read(write(tmp_path, one=texts("size")))
    for number, question in enumerate(question for part in parts.values() for question in part):
        assert question.question == f"what is p{number} in fit_one"
        pairs = [(candidate.text, candidate.label) for candidate in question.candidates]
        assert pairs == [(text, int(n == number)) for n, text in enumerate(texts("size"))]
    assert number == 4


def test_functions_that_are_copies_or_have_few_parameters_are_left_out(tmp_path):
    few = texts("other", docstrings.MIN_CANDIDATES - 1)
    copy = [*texts("size")[:3], "Another thing.", "One more thing."]  # three of five are the same
    functions = docstrings.mine(write(tmp_path, a=texts("size"), b=copy, c=few))
    assert [function.name for function in functions] == ["fit_a"]


def test_a_description_counts_once_in_a_function_and_boilerplate_is_capped(tmp_path):
    modules = {f"m{n}": [*texts(f"word{n}"), "The word.", "The word."] for n in range(9)}
    functions = docstrings.mine(write(tmp_path, **modules))
    names = [f"p{number}" for number in range(6)]
    most = docstrings.MAX_USES
    assert [list(function.descriptions) for function in functions] == [
        *([names] * most),
        *([names[:5]] * (9 - most)),
    ]


def test_whole_modules_are_held_back(tmp_path):
    modules = {f"m{n}": texts(f"word{n}") for n in range(60)}
    parts = docstrings.read(write(tmp_path, **modules))
    modules = [{row.question_id.split(".")[1] for row in questions} for questions in parts.values()]
    assert sum(map(len, modules)) == len(set.union(*modules)) == 60
    assert all(modules)


def test_tests_generated_files_and_those_of_another_python_are_not_read(tmp_path):
    folders = write(tmp_path, a=texts("size"))
    source = (tmp_path / "pack" / "a.py").read_text()
    for number, name in enumerate(["tests/a.py", "test_a.py", "gen_ops.py", "_api/a.py"]):
        path = tmp_path / "pack" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source.replace("size", f"number {number}"))
    (tmp_path / "pack" / "b.py").write_text('"""Args:"""\nprint "Python 2"\n')
    # Sources are not run either.
    (tmp_path / "pack" / "a.py").write_text(f"raise RuntimeError\n{source}")
    assert [function.module for function in docstrings.mine(folders)] == ["pack.a"]


def test_a_class_documented_in_its_init_has_the_name_of_the_class(tmp_path):
    entries = "".join(f"            p{n}: The size {n}.\n" for n in range(4))
    (tmp_path / "a.py").write_text(
        "class Net:\n    def __init__(self):\n"
        f'        """Makes it.\n\n        Args:\n{entries}        """\n'
    )
    (function,) = docstrings.mine([tmp_path])
    assert function.name == "Net"


def test_the_default_data_divides_modules_and_gives_one_right_candidate_of_six(cache_dir):
    options = dataclasses.replace(config.TINY.data, cache_dir=cache_dir, max_questions=None)
    parts = {
        part: list(data.load_split(options, part).as_numpy_iterator())
        for part in ("train", "validation", "test")
    }
    modules = [
        {record["question_id"].decode().rsplit(".", 2)[0] for record in records}
        for records in parts.values()
    ]
    assert len(set.union(*modules)) == sum(map(len, modules))
    labels = [record["labels"] for records in parts.values() for record in records]
    assert len(labels) > 500
    assert {int(row.sum()) for row in labels} == {1}
    assert min(map(len, labels)) == docstrings.MIN_CANDIDATES
    shares = [1 / len(record["labels"]) for record in parts["validation"]]
    assert 0.14 < sum(shares) / len(shares) < 0.20  # guessing
