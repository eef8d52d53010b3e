"""Facts about the page: what its tabs show, and a real browser that uses every tab."""

import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse
import wave
from pathlib import Path

import httpx
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from apps.answer_selection.ranking import tokenizer
from common.inputs import images
from serving import page, pictures, signatures, sounds, tabs
from serving.client import Client
from serving.errors import RequestError
from tests.serving.conftest import CARD, serve

ROOT = Path(__file__).parent.parent.parent
# What keeps a browser on a machine without a network quiet.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # A microphone that beeps, and leave to use it.
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
TEXTS = (
    "Number of jobs, -1 for all; see `n_jobs` (default: 4.5e-3).",
    "It's the \u2018dog\u2019s\u2019 _own_ x_1 --- 42% of caf\u00e9s",
    "\u4e2d\u6587 and \u0440\u0443\u0441\u0441\u043a\u0438\u0439",
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_word_that_is_marked_is_the_word_that_the_model_read(text):
    words = [word.decode() for word in tokenizer.words([text]).to_list()[0]]
    for place, word in enumerate(words):
        attention = [0.1] * len(words) + [0.0, 0.0]  # a batch pads it
        attention[place] = 0.9
        (marked,) = re.findall(r"<mark[^>]*>([^<]*)</mark>", pictures.marked(text, attention))
        read = marked.replace("&#x27;", "'").replace("\u2019", "'").lower()
        assert ("num" if read.isdigit() else read) == word


def test_text_with_another_number_of_words_is_not_marked_and_stays_text():
    for attention in ([0.4, 0.2, 0.3, 0.1], [0.0]):
        assert pictures.marked("<b>two</b>&", attention) == "&lt;b&gt;two&lt;/b&gt;&amp;"


def test_attention_is_brightest_where_the_model_looked():
    file = io.BytesIO()
    Image.new("RGB", (40, 20), "white").save(file, "PNG")
    picture = pictures.over_image(file.getvalue(), [[0.1, 0.1, 0.1, 0.7]])
    light = np.asarray(picture.convert("L"), float).mean(axis=0)
    assert light.argmax() > 0.75 * picture.width


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_shown_upright_under_the_attention_of_the_model(orientation):
    """The model's grid over the photo as it turns it is brightest where the photo is red."""
    pixels = np.zeros((96, 160, 3), np.uint8)
    pixels[:32, :40] = (255, 0, 0)  # of no symmetry
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    seen = images.decode(tf.constant(file.getvalue())).numpy()
    attention = seen[::8, ::8, 0] / 255.0
    red = np.asarray(pictures.over_image(file.getvalue(), attention), int)
    assert red.shape == seen.shape
    bright = np.argwhere(red.sum(axis=-1) > 300).mean(axis=0)
    np.testing.assert_allclose(bright, np.argwhere(seen[..., 0] > 0).mean(axis=0), atol=5)


def test_a_photo_with_damaged_exif_is_shown_as_it_is_stored():
    file = io.BytesIO()
    Image.new("RGB", (100, 120)).save(file, "PNG", exif=b"Exif\0\0no TIFF at all")
    assert pictures.over_image(file.getvalue(), [[1.0]]).size == (100, 120)


def test_phones_are_the_runs_of_frames():
    frames = ["a", "a", "b", "a", "", ""]
    phones = pictures.merged(frames, [0, 0.01, 0.02, 0.03, 0.04, 0.05], seconds=0.047)
    assert phones == [("a", 0, 0.02), ("b", 0.02, 0.03), ("a", 0.03, 0.047)]


def test_text_is_cut_into_sentences_and_items_each_once():
    text = "One line\ngoes on. Another!\n\n- an item\n- -1 for all\n\nOne line goes on. ---"
    sentences = ["One line goes on.", "Another!", "an item", "-1 for all"]
    assert tabs.split_sentences(text) == sentences


@pytest.mark.parametrize("rate", [8000, 44100, 16000])
def test_sound_of_any_rate_keeps_its_pitch_and_loudness(rate):
    times = np.arange(rate) / rate
    tone = np.round(12000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    sound = sounds.resampled(np.stack([tone, tone], axis=1), rate, 16000)
    assert len(sound) == 16000
    assert np.abs(np.fft.rfft(sound * np.hanning(len(sound)))).argmax() == 440
    assert np.sqrt(2 * np.mean(sound**2)) == pytest.approx(12000 / 32768, rel=0.01)
    with wave.open(io.BytesIO(sounds.encode(sound, 16000))) as file:
        assert (file.getframerate(), file.getnframes()) == (16000, 16000)


# What the tabs show


@pytest.fixture
def ask(client):
    """`ask(card, signature, *values)`: what the form of the test model shows, with that card."""

    def press(card, signature, *values):
        address = Client(str(client.base_url))
        known = signatures.read_signatures(address.definitions("all"), card)
        return tabs.Form(tabs.Tab("all", known, []), signature, address).ask(*values)

    return press


@pytest.fixture
def image(tmp_path):
    """The path of a white image."""
    Image.new("RGB", (40, 20), "white").save(tmp_path / "white.png")
    return str(tmp_path / "white.png")


def test_a_model_of_an_unknown_task_shows_strings_scores_and_pictures(ask, image):
    texts, table, attention, alignment = ask(CARD, "look", image, "<b>\u00e9")
    assert "&lt;B&gt;\u00e9" in texts and "4.0" in texts  # upper case of ASCII letters
    assert [row[0] for row in table] == ["<", "b", ">", "\u00e9"]
    assert table[0][1] == pytest.approx(1 / 3, abs=1e-3)
    assert [words for _, words in attention] == ["<", "b", ">", "\u00e9"]
    light = np.asarray(attention[0][0].convert("L"), float).mean(axis=1)
    assert light.argmax() > 0.7 * attention[0][0].height
    assert [words for _, words in alignment] == ["alignment"]


def test_a_model_of_an_unknown_task_takes_sound_lists_and_numbers(ask):
    half = 8000, np.full(8000, 2**14, np.int16)
    total, table = ask(CARD, "serving_default", half)
    assert float(re.search(r"([\d.]+)</dd>", total)[1]) == pytest.approx(16000, rel=0.02)
    assert np.shape(table) == (16000, 2)
    assert ask(CARD, "rank", "ab", "a\nabc\n\nab\n") == [[[2], [0], [1]]]
    assert "5" in ask(CARD, "slow", "5")[0]


def test_a_model_without_a_card_has_a_tab(ask):
    assert ask({}, "rank", "a\nabc", "abcd") == [[[1], [0]]]
    assert ask({"inputs": {"text": "UTF-8"}}, "echo", "a")[0] == [[{"b64": "YQ=="}]]


def test_what_is_missing_is_said_in_words(ask, image):
    with pytest.raises(RequestError, match="text: expected a value, there is none"):
        ask(CARD, "look", image, " ")
    with pytest.raises(RequestError, match=r"steps: expected JSON, as 1.5 or \[1, 2\], got 'x'"):
        ask(CARD, "slow", "x")


class Ranks:
    """A client of a model that ranks candidates by their length."""

    def predict(self, model, inputs, signature="serving_default"):
        if signature == "rank":
            order = np.argsort([-len(text) for text in inputs["candidates"]], kind="stable")
            return {"order": order.tolist(), "scores": [-1.36] * len(order)}
        return {"score": [0.0] * len(inputs["candidate"]), "attention": [[0.0]] * 9}


def test_ranked_sentences_stand_as_they_were_given():
    tab, text = tabs.Tab("qa", {}, []), "Short. Number of Instances: 442."
    ranking = tabs.rank(tab, Ranks(), "How many?", text)
    assert re.findall(r"<li[^>]*>([^<]*)<", ranking) == ["Number of Instances: 442.", "Short."]
    assert "1.36" not in ranking


class Tags:
    """A client of a model that hears two phones."""

    def predict(self, model, inputs, signature):
        return {"phone": [["a", "a", "b", ""]], "start_s": [0.0, 0.01, 0.02, 0.03]}


def test_phones_stand_with_their_times():
    field = signatures.Field(dtype=np.dtype(object), shape=(None,), sample_rate=8000)
    known = {"wav": signatures.Signature({"wav": field}, {})}
    tab = tabs.Tab("phones", known, [])
    spoken, _, table = tabs.tag(tab, Tags(), (16000, np.zeros(4800, np.int16)))
    assert spoken == "## a b"
    assert table == [["a", "0.00", "0.02"], ["b", "0.02", "0.30"]]


@pytest.mark.parametrize("file", ["card.json", "examples.json"])
def test_a_damaged_file_of_an_export_is_named(tmp_path, file):
    assert page.read_model("x", tmp_path) == ({}, [])
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / file).write_text("{")
    with pytest.raises(page.UserError, match="--model x: expected JSON"):
        page.read_model("x", tmp_path)


def test_stopped_while_it_starts_the_page_leaves_no_server(saved_model):
    model = f"all={saved_model}"
    command = [sys.executable, "-m", "serving.page", "--port", "0", "--model", model]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (server := children.read_text().split()):
            pass  # no sleep: the moment in which it could be left behind is short
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not Path(f"/proc/{server[0]}").exists()


def test_the_page_has_a_tab_for_every_model_whatever_its_task(saved_model, tmp_path):
    shutil.copytree(saved_model, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "assets.extra")
    folders = {"known": saved_model, "bare": tmp_path / "bare"}
    with serve(folders) as server:
        command = [sys.executable, "-m", "serving.page", "--port", "0"]
        command += ["--server", str(server.base_url)]
        for name, folder in folders.items():
            command += ["--model", f"{name}={folder}"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            address = process.stdout.readline().removeprefix("page at ").strip()
            components = httpx.get(f"{address.rstrip('/')}/config").json()["components"]
            process.send_signal(signal.SIGTERM)
            process.communicate()
    assert process.returncode == 0
    labels = [component["props"].get("label") for component in components]
    assert {"known", "bare", "look", "rank"} <= set(labels)
    assert labels.count("candidates") == 2
    kinds = {component["type"] for component in components}
    assert {"image", "audio", "textbox", "gallery", "dataframe", "html"} <= kinds


@pytest.fixture(scope="module")
def address(tiny_export):
    """A page with the tiny run of every app, in a process of its own."""
    names = sorted(path.parent.name for path in ROOT.glob("apps/*/export.py"))
    command = [sys.executable, "-m", "serving.page", "--port", "0"]
    for name in names:
        command += ["--model", f"{name}={tiny_export(name)}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("page at ").strip()
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def browser(address):
    """A page of Chromium, which may ask nobody but this machine."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium"),
            args=FLAGS,
            permissions=["microphone"],
        )
        tab, hosts, errors = context.pages[0], set(), []
        tab.on("request", lambda request: hosts.add(urllib.parse.urlsplit(request.url).hostname))
        tab.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        tab.goto(address)
        yield tab
        context.close()
    assert hosts <= {"127.0.0.1", None}
    assert errors == []


def open_tab(browser: Page, name: str):
    browser.get_by_role("tab", name=name).click()
    return browser.locator(f"#{name}")


def shoot(browser: Page, name: str) -> None:
    """Keeps a screenshot for people to look at."""
    folder = ROOT / "runs" / "page"
    folder.mkdir(parents=True, exist_ok=True)
    browser.screenshot(path=folder / f"{name}.png", full_page=True)


def questions_about_an_image_by_keyboard(browser: Page):
    tab = open_tab(browser, "visual_qa")
    tab.locator("tbody tr").first.click()
    expect(tab.locator(".image-frame img")).to_be_visible()
    tab.get_by_label("question").press("Enter")
    expect(tab.locator(".strip img")).to_have_count(2)
    expect(tab.locator(".answer").first).to_contain_text("probability")
    shoot(browser, "visual_qa")


def captions_of_an_upload(browser: Page):
    tab, file = open_tab(browser, "image_captioning"), io.BytesIO()
    Image.new("RGB", (50, 30), "red").save(file, "JPEG")
    photo = {"name": "red.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()}
    tab.locator("input[type=file]").first.set_input_files(photo)
    expect(tab.locator(".image-frame img")).to_be_visible()
    tab.get_by_role("button", name="Ask the model").click()
    expect(tab.locator(".strip img")).not_to_have_count(0)
    shoot(browser, "image_captioning")


def sentences_are_ranked(browser: Page):
    tab = open_tab(browser, "answer_selection")
    tab.get_by_label("Question").fill("what is n_jobs")
    tab.get_by_label("Text").fill("The number of jobs. <b>Verbosity</b> level!")
    tab.get_by_role("button", name="Rank").click()
    expect(tab.locator(".answer li")).to_have_count(2)
    assert "<b>Verbosity</b>" in tab.locator(".answer ol").inner_text()
    shoot(browser, "answer_selection")


def phones_of_an_example(browser: Page):
    tab = open_tab(browser, "phoneme_tagging")
    tab.get_by_role("button", name="espeak_example").click()
    expect(tab.get_by_label("Play", exact=True)).to_be_visible()
    tab.get_by_role("button", name="Find the phones").click()
    expect(tab.locator("img")).not_to_have_count(0)
    shoot(browser, "phoneme_tagging")


def phones_of_the_microphone(browser: Page):
    tab = open_tab(browser, "phoneme_tagging")
    tab.get_by_label("Clear").click()
    tab.get_by_label("Record audio").click()
    tab.get_by_role("button", name="Record", exact=True).click()
    stop = tab.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_be_visible()
    browser.wait_for_timeout(1_500)  # of sound
    stop.click()
    expect(tab.get_by_label("Play", exact=True)).to_be_visible()
    before = tab.locator("td").all_inner_texts()
    tab.get_by_role("button", name="Find the phones").click()
    expect(tab.locator("td").nth(2)).not_to_have_text(before[2])
    shoot(browser, "microphone")


def what_is_missing_is_said_in_words(browser: Page):
    tab = open_tab(browser, "answer_selection")
    tab.get_by_label("Question").fill("")
    tab.get_by_role("button", name="Rank").click()
    expect(browser.get_by_text("expected a question and a text")).to_be_visible()


def it_fits_a_phone(browser: Page):
    browser.set_viewport_size({"width": 390, "height": 800})
    shoot(browser, "phone")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_every_tab_in_a_browser(browser, subtests):
    """One test, for each of pytest's workers would start a page of its own."""
    expect.set_options(timeout=30_000)  # milliseconds: the tests share two processors
    for step in (
        questions_about_an_image_by_keyboard,
        captions_of_an_upload,
        sentences_are_ranked,
        phones_of_an_example,
        phones_of_the_microphone,
        what_is_missing_is_said_in_words,
        it_fits_a_phone,
    ):
        with subtests.test(step.__name__):
            step(browser)
