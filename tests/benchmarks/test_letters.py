"""Facts about the character model."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import letters


@pytest.fixture(scope="module")
def hello():
    speller = letters.Speller("hello", units=8)
    bits = speller.train("hello", chunk=4, steps=150, carry=False)
    return speller, bits


def test_it_learns_to_spell(hello):
    speller, bits = hello
    assert bits[0] == pytest.approx(2.0, abs=0.3)  # one of four letters
    assert bits[-1] < 0.1
    assert "".join(speller.letters[row.argmax()] for row in speller.spell("hell")) == "ello"


def test_it_writes_what_it_has_learned(hello):
    assert hello[0].write("h", 4, temperature=0.1) == "hello"


def test_probabilities_sum_to_one(hello):
    np.testing.assert_allclose(hello[0].spell("hell").sum(axis=1), 1.0, rtol=1e-5)


def test_the_picture_has_a_panel_for_each_moment(hello, tmp_path):
    spelled = hello[0].spell("hell")
    sizes = []
    for count in (1, 2):
        path = tmp_path / f"{count}.png"
        moments = {str(number): spelled for number in range(count)}
        letters.draw_spelling(moments, "hello", hello[0].letters, title="hello", path=path)
        with Image.open(path) as file:
            sizes.append(file.size)
    assert sizes[1][0] - sizes[0][0] == pytest.approx(120 * 0.55 * 5, abs=1)


def test_a_remembered_block_ends_as_it_begins():
    text = letters.remembered(4, blocks=50)
    blocks = [text[start : start + 5] for start in range(0, len(text), 5)]
    assert {block[1:4] for block in blocks} == {"..."}
    assert all(block[0] == block[4] for block in blocks)
    assert {block[0] for block in blocks} == {"a", "b"}


def test_states_that_are_carried_tell_what_a_short_chunk_does_not():
    text = "abcabd" * 400  # what follows "ab" depends on the letter before that
    found = {}
    for carry in (True, False):
        model = letters.Speller(text, units=16)
        bits = model.train(text, chunk=3, steps=500, streams=8, carry=carry)
        found[carry] = bits[-60:].mean()
    assert found[False] == pytest.approx(1 / 3, abs=0.05)  # "c" or "d": one bit in three letters
    assert found[True] < 0.2


def test_what_lies_further_back_than_a_chunk_is_learned_only_with_its_gradient():
    text = letters.remembered(6, blocks=32 * 60)
    model = letters.Speller(text, units=16)
    assert letters.share_remembered(model, 6) < 0.8
    model.train(text, chunk=14, steps=500, streams=32, learning_rate=2e-2)
    assert letters.share_remembered(model, 6) > 0.95
