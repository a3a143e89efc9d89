"""Country names and codes: what people write is understood, the rest gets a suggestion."""

from __future__ import annotations

import pytest

from vedute.countries import country_code, country_name, country_names
from vedute.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "code", "name"),
    [
        ("NO", "NO", "Norway"),
        ("no", "NO", "Norway"),
        ("NOR", "NO", "Norway"),
        (" norway ", "NO", "Norway"),
        ("NA", "NA", "Namibia"),
        ("USA", "US", "United States"),
        ("U.S.A.", "US", "United States"),
        ("United States of America", "US", "United States"),
        ("UK", "GB", "United Kingdom"),
        ("Great Britain", "GB", "United Kingdom"),
        ("Ivory Coast", "CI", "Ivory Coast"),
        ("Côte d'Ivoire", "CI", "Ivory Coast"),
        ("COTE D'IVOIRE", "CI", "Ivory Coast"),
        ("Korea, Republic of", "KR", "South Korea"),
        ("South Korea", "KR", "South Korea"),
        ("North Korea", "KP", "North Korea"),
        ("Russia", "RU", "Russia"),
        ("Russian Federation", "RU", "Russia"),
        ("Viet Nam", "VN", "Vietnam"),
        ("Laos", "LA", "Laos"),
        ("Czechia", "CZ", "Czech Republic"),
        ("Türkiye", "TR", "Turkey"),
        ("turkey", "TR", "Turkey"),
        ("Kosovo", "XK", "Kosovo"),
        ("xk", "XK", "Kosovo"),
        ("The Netherlands", "NL", "Netherlands"),
        ("Holland", "NL", "Netherlands"),
        ("Bosnia & Herzegovina", "BA", "Bosnia and Herzegovina"),
        ("St. Lucia", "LC", "Saint Lucia"),
        ("Réunion", "RE", "Réunion"),
        ("Reunion", "RE", "Réunion"),
        ("Congo", "CG", "Congo"),
        ("Democratic Republic of the Congo", "CD", "DR Congo"),
    ],
)
def test_what_people_write_is_understood(text: str, code: str, name: str) -> None:
    assert country_code(text) == code
    assert country_name(text) == name


def test_every_country_is_found_by_its_code_and_by_its_shown_name() -> None:
    names = country_names()
    assert len(names) > 240
    assert all(country_code(code) == country_code(name) == code for code, name in names.items())


def test_shown_names_can_be_typed_as_conditions() -> None:
    names = list(country_names().values())
    assert len({name.casefold() for name in names}) == len(names)
    assert not any(sign in name for name in names for sign in ",=()")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("Norwegen", "Norway"), ("Brasil", "Brazil"), ("Swizerland", "Switzerland"), ("Frnce", "France")],
)
def test_an_unknown_country_gets_the_nearest_as_suggestion(text: str, nearest: str) -> None:
    assert country_name(text) is None
    with pytest.raises(ConfigurationError, match=f"'{text}'.*Did you mean '{nearest}'"):
        country_code(text)


@pytest.mark.parametrize("text", ["", "xx", "QQQ", "12", "Narnia and the Lion"])
def test_what_is_like_no_country_gets_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match="Unknown country"):
        country_code(text)
