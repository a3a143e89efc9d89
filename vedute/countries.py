"""Countries as people write them: codes, English names and usual variants, to ISO 3166 codes and back.

Source of codes and names: ISO 3166-1 as in pycountry. Here: the names that people use instead of
ISO's formal ones, and what ISO leaves out (Kosovo). pycountry is imported when it is first needed.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from functools import cache

from vedute.errors import ConfigurationError

# Names to show, where ISO's are formal, inverted ("Korea, Republic of") or little used. Without commas, which
# separate conditions on the command line.
_SHOWN = {
    "BN": "Brunei", "BQ": "Caribbean Netherlands", "CC": "Cocos Islands", "CD": "DR Congo", "CG": "Congo",
    "CI": "Ivory Coast", "CV": "Cape Verde", "CW": "Curaçao", "CZ": "Czech Republic",
    "FK": "Falkland Islands", "FM": "Micronesia", "LA": "Laos", "MF": "Saint Martin", "PS": "Palestine",
    "RU": "Russia", "SH": "Saint Helena", "SX": "Sint Maarten", "TL": "East Timor", "TR": "Turkey",
    "VA": "Vatican City", "VG": "British Virgin Islands", "VI": "US Virgin Islands", "XK": "Kosovo",
}  # fmt: skip

# What else people write, beside both ISO names and the codes of two and three letters.
_VARIANTS = {
    "AE": ("UAE", "Emirates"), "BA": ("Bosnia",), "BY": ("Byelorussia",),
    "CD": ("DRC", "Democratic Republic of Congo", "Congo-Kinshasa", "Zaire"),
    "CG": ("Republic of Congo", "Republic of the Congo", "Congo-Brazzaville"),
    "CN": ("PRC", "Mainland China"),
    "CZ": ("Czechia",), "DE": ("Deutschland",), "FK": ("Falklands",),
    "GB": ("UK", "Great Britain", "Britain", "England", "Scotland", "Wales", "Northern Ireland"),
    "GM": ("The Gambia",), "IE": ("Republic of Ireland", "Eire"), "KP": ("DPRK",),
    "KR": ("Korea", "Republic of Korea"), "MK": ("Macedonia", "FYROM"), "MM": ("Burma",),
    "NL": ("Holland",), "PS": ("Palestinian Territories", "West Bank"), "SJ": ("Svalbard",),
    "ST": ("Sao Tome",), "SZ": ("Swaziland",), "TL": ("Timor",), "TR": ("Turkiye",),
    "US": ("USA", "U.S.A.", "America", "United States of America", "The States"),
    "VA": ("Vatican", "Holy See"), "XK": ("XKX", "Republic of Kosovo"),
}  # fmt: skip


def country_code(text: str) -> str:
    """Return the ISO 3166 code of a country.

    Args:
        text: A code of two or three letters, an English name, or a usual variant, in any case, with or
            without accents: ``NO``, ``nor``, ``Norway``, ``Ivory Coast``, ``Côte d'Ivoire``, ``USA``.

    Returns:
        Two capital letters (alpha-2). Kosovo, which ISO lacks, is XK, as OpenStreetView-5M has it.

    Raises:
        ConfigurationError: No country is called so; the message suggests the nearest name.
    """
    code = _codes().get(_folded(text))
    if code is None:
        raise ConfigurationError(f"Unknown country '{text.strip()}'.{_suggestion(text)}")
    return code


def country_name(text: str) -> str | None:
    """Return the one English name by which Vedute shows a country, None where there is no such country.

    Args:
        text: As for :func:`country_code`.
    """
    code = _codes().get(_folded(text))
    return None if code is None else country_names()[code]


@cache
def country_names() -> Mapping[str, str]:
    """Return the shown name of every alpha-2 code, in alphabetical order of the names."""
    import pycountry

    names = {
        country.alpha_2: getattr(country, "common_name", country.name) for country in pycountry.countries
    }
    return dict(sorted((names | _SHOWN).items(), key=lambda pair: _folded(pair[1])))


@cache
def _codes() -> Mapping[str, str]:
    """Return the code for everything that a country may be called, folded."""
    import pycountry

    codes: dict[str, str] = {}
    # The certain ones last: nothing may take a code or a shown name from its country.
    for code, variants in _VARIANTS.items():
        codes.update({_folded(variant): code for variant in variants})
    for country in pycountry.countries:
        for kind in ("official_name", "common_name", "name"):
            name = getattr(country, kind, country.name)
            first, _, rest = name.partition(", ")  # "Korea, Republic of"
            codes.update({_folded(name): country.alpha_2, _folded(f"{rest} {first}"): country.alpha_2})
    codes.update({_folded(name): code for code, name in country_names().items()})
    codes.update({_folded(country.alpha_3): country.alpha_2 for country in pycountry.countries})
    codes.update({_folded(code): code for code in country_names()})
    return codes


def _folded(text: str) -> str:
    """Return a name without case, accents, punctuation, spaces and article, for comparison."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("&", " and "))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    words = re.sub(r"[\W_]+", " ", plain).split()
    words = ["saint" if word == "st" and len(words) > 1 else word for word in words]
    return "".join(words[1:] if len(words) > 1 and words[0] == "the" else words)


def _suggestion(text: str) -> str:
    wanted = _folded(text)

    def nearness(name: str) -> float:
        # A common beginning counts more: "Norwegen" is Norway, not Sweden.
        differing = (i for i, (a, b) in enumerate(zip(wanted, name, strict=False)) if a != b)
        same = next(differing, min(len(wanted), len(name)))
        return difflib.SequenceMatcher(None, wanted, name).ratio() + 0.05 * same

    # Codes are left out: two letters are near to everything.
    nearest = max((name for name in _codes() if len(name) > 3), key=nearness)
    if nearness(nearest) < 0.65:
        return " Give an English name or an ISO 3166 code, e.g. Norway or NO."
    code = _codes()[nearest]
    return f" Did you mean '{country_names()[code]}' ({code})?"
