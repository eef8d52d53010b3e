"""Names of emoji in fourteen languages, from the package emoji (Unicode CLDR, Unicode licence).

Most are a subject, perhaps with a gender, and a skin tone: "woman firefighter dark skin tone".
Combinations of a subject with a skin tone are held out in all languages: both occur in training,
but not together.
"""

import re
from collections.abc import Sequence

from apps.translation.corpora.formats import Pair, Parts
from common.inputs import datasets
from common.runs import files
from common.runs.errors import UserError

PACKAGE = "emoji==2.16.0"
LANGUAGES = ("en", "ar", "de", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")
_TONE = re.compile("[\U0001f3fb-\U0001f3ff]")
_HELD_OUT = 0.125  # share of the combinations with a skin tone for validation, and for test
_FULLY_QUALIFIED = 2  # Unicode's status of the form that is recommended


def check(source_language: str, target_languages: Sequence[str]) -> None:
    """Raises UserError where the package is missing or has no names in a language."""
    files.package_folder("emoji", PACKAGE)
    for language in (source_language, *target_languages):
        if language not in LANGUAGES:
            raise UserError(
                f"expected languages out of {', '.join(LANGUAGES)} for emoji_names, got "
                f"{language}: correct --data.target-languages or --data.source-language"
            )


def read(source_language: str, target_languages: Sequence[str]) -> Parts:
    """Pairs of names, one for each emoji and target language."""
    folder = files.package_folder("emoji", PACKAGE) / "unicode_codes"
    listed = files.read_json(folder / "emoji.json")
    emoji = [
        character for character, entry in listed.items() if entry["status"] == _FULLY_QUALIFIED
    ]
    names = {"en": {character: listed[character]["en"] for character in emoji}}
    for language in {source_language, *target_languages} - {"en"}:
        names[language] = files.read_json(folder / f"emoji_{language}.json")
    parts: Parts = {"train": [], "validation": [], "test": []}
    for character in emoji:
        source = _plain(names[source_language][character])
        for language in target_languages:
            target = _plain(names[language][character])
            parts[_part(character)].append(Pair(character, source, target, language))
    return parts


def _plain(name: str) -> str:
    return name.strip(":").replace("_", " ")


def _part(character: str) -> str:
    if not _TONE.search(character):
        return "train"
    if datasets.is_held_back(character, share=_HELD_OUT):
        return "validation"
    return "test" if datasets.is_held_back(character, share=2 * _HELD_OUT) else "train"
