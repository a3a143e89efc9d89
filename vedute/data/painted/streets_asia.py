"""Streets of Australia, India and Japan: what stands along them, see the table in ``streets``."""

from __future__ import annotations

from functools import partial
from random import Random

from vedute.data.painted import streets_traffic as traffic
from vedute.data.painted.streets_buildings import House
from vedute.data.painted.streets_ground import WHITE, Ground, Mark, edge_lines
from vedute.data.painted.streets_plants import broadleaf, bush, eucalypt, palm
from vedute.data.painted.streets_scene import Country, Street, forest_edge, hills
from vedute.data.painted.streets_view import Rgb, View

# Australia: red earth to a flat horizon, a broken white line, left-hand traffic, gum trees, hardly a house.


def _australia_ground(random: Random) -> Ground:
    if random.random() < 0.2:  # unsealed
        return Ground(3.6, (196, 108, 66), ((186, 88, 46), (150, 122, 70)), crumble=0.6)
    marks = [Mark(0, 0.14, WHITE, 3.0, 12.0), *edge_lines(3.5)]
    return Ground(3.5, (112, 104, 102), ((190, 90, 48), (158, 118, 66)), marks, crumble=0.5, dust=0.25)


def _australia_behind(view: View, random: Random) -> None:
    if random.random() < 0.4:
        hills(view, random, random.uniform(0.02, 0.05), (158, 98, 76), 240, 0.3)
    forest_edge(view, random, 0.022, (104, 108, 78), 150, pointed=False)


def _australia(street: Street) -> None:
    random = street.random

    def homestead() -> tuple[House, float]:
        made = House(
            (224, 214, 190),
            random.choice(((176, 182, 184), (158, 66, 52))),
            1,
            "along",
            2.0,
            frame=(120, 90, 70),
            spacing=3.4,
            boards=True,
        )
        return made, random.uniform(12.0, 16.0)

    if random.random() < 0.35:
        street.houses(
            random.choice((-1, 1)), 16.0, homestead, (30.0, 60.0), 9.0, 70.0, random.uniform(10.0, 30.0)
        )
    leaves: list[Rgb] = [(108, 118, 84), (92, 106, 74), (122, 126, 92)]
    street.scatter(9, 7.0, 45.0, lambda x, z: street.plant(eucalypt, x, z, random.uniform(6.0, 12.0), leaves))
    tufts: list[Rgb] = [(176, 160, 96), (146, 142, 88), (190, 172, 110)]
    street.scatter(34, 4.8, 40.0, lambda x, z: street.plant(bush, x, z, random.uniform(0.3, 0.7), tufts))
    if random.random() < 0.5:
        z = random.uniform(9.0, 24.0)
        street.add(z, lambda: traffic.diamond(street.view, street.centre - 4.6, z, (250, 196, 30), 0.6))
    street.traffic(
        1.75,
        0.18,
        lambda x, z, rear: traffic.car(
            street.view, x, z, traffic.car_colour(random), rear, random.choice((1.5, 1.95))
        ),
    )


AUSTRALIA = Country(-1, (0.54, 0.64), 380, 0.0008, _australia_ground, _australia_behind, _australia)


# India: dusty road without edges, pale concrete houses with bright shop signs, green-yellow rickshaws, haze.


def _india_ground(random: Random) -> Ground:
    marks = [Mark(0, 0.12, WHITE, 3.0, 9.0)] if random.random() < 0.5 else []
    return Ground(3.2, (122, 112, 102), ((196, 164, 122), (174, 142, 104)), marks, crumble=1.1, dust=0.75)


def _india_behind(view: View, random: Random) -> None:
    forest_edge(view, random, 0.05, (104, 110, 76), 90, pointed=False)


def _india(street: Street) -> None:
    random = street.random
    walls: tuple[Rgb, ...] = (
        (226, 214, 190),
        (210, 176, 150),
        (176, 200, 200),
        (230, 200, 132),
        (204, 186, 196),
    )
    signs: tuple[Rgb, ...] = ((214, 36, 52), (30, 86, 176), (250, 204, 40), (22, 136, 84), (240, 110, 30))

    def house() -> tuple[House, float]:
        made = House(
            random.choice(walls),
            (186, 172, 152),
            random.choice((1, 2, 2, 3)),
            "flat",
            frame=(150, 122, 96),
            spacing=3.0,
            window=(1.2, 1.2),
            shop=random.choice(signs),
        )
        return made, random.uniform(4.5, 8.0)

    for side in (-1, 1):
        street.houses(side, random.uniform(5.8, 7.5), house, (0.0, 6.0), 8.0, 90.0)
    leaves: list[Rgb] = [(96, 112, 58), (80, 98, 52), (116, 122, 70)]
    street.scatter(8, 6.5, 22.0, lambda x, z: street.plant(broadleaf, x, z, random.uniform(6.0, 9.5), leaves))
    street.scatter(2, 6.0, 14.0, lambda x, z: street.plant(palm, x, z, random.uniform(8.0, 11.0), leaves))
    street.line(random.choice((-1, 1)) * 4.6, 20.0, 8.0, (112, 108, 102), 2, (-0.3, -0.6, -1.2, -1.7))

    def vehicle(x: float, z: float, rear: bool) -> None:
        kind = int(x * 977) % 4
        if kind < 2:
            traffic.rickshaw(street.view, x, z)
        elif kind == 2:
            traffic.rider(street.view, x, z, (170, 60, 60), motor=True)
        else:
            traffic.car(street.view, x, z, (236, 238, 238), rear, 1.6)

    street.traffic(1.6, 0.6, vehicle)
    for _ in range(random.randrange(2, 6)):
        clothes: Rgb = random.choice(((220, 60, 90), (240, 170, 40), (60, 120, 180), (230, 230, 226)))
        x, z = street.centre + random.choice((-1, 1)) * random.uniform(3.6, 5.4), random.uniform(7.0, 30.0)
        street.add(z, partial(traffic.walker, street.view, x, z, clothes))


INDIA = Country(-1, (0.46, 0.56), 85, 0.002, _india_ground, _india_behind, _india)


# Japan: a narrow lane between houses and walls, poles with many wires, left-hand traffic, no centre line.


def _japan_ground(random: Random) -> Ground:
    marks = [Mark(side * 1.75, 0.16, WHITE) for side in (-1, 1)]
    grey = random.uniform(112, 130)
    return Ground(2.5, (grey, grey, grey + 2), ((150, 148, 142), (132, 130, 126)), marks)


def _japan_behind(view: View, random: Random) -> None:
    hills(view, random, random.uniform(0.08, 0.16), (60, 88, 72), 200, 0.4)


def _japan(street: Street) -> None:
    random = street.random
    walls: tuple[Rgb, ...] = (
        (206, 200, 188),
        (178, 172, 164),
        (222, 218, 210),
        (150, 128, 106),
        (118, 112, 108),
    )

    def house() -> tuple[House, float]:
        roof: Rgb = random.choice(((58, 66, 84), (70, 72, 78), (92, 70, 62)))
        made = House(
            random.choice(walls),
            roof,
            2,
            random.choice(("along", "along", "flat")),
            random.uniform(1.2, 2.0),
            frame=(120, 122, 126),
            spacing=2.8,
            window=(1.5, 1.1),
        )
        return made, random.uniform(6.0, 9.0)

    for side in (-1, 1):
        street.houses(side, random.uniform(3.4, 4.2), house, (0.6, 2.5), 7.0, 90.0)
        lit = 0.7 if street.view.light.side == -side else 0.2
        block: Rgb = (168, 166, 160)
        begin = random.uniform(3.0, 12.0)
        street.add(
            begin,
            partial(
                traffic.wall, street.view, street.centre + side * 2.75, begin, begin + 14, 1.4, block, lit
            ),
        )
        street.line(side * 2.6, 15.0, 8.6, (150, 150, 148), 2, (-0.3, -0.9, -2.2))
    shrubs: list[Rgb] = [(56, 88, 48), (74, 104, 56)]
    street.scatter(9, 2.9, 4.5, lambda x, z: street.plant(bush, x, z, random.uniform(0.7, 1.8), shrubs))
    if random.random() < 0.55:  # a vending machine
        x, z = street.centre + random.choice((-1, 1)) * 2.9, random.uniform(6.0, 18.0)
        body: Rgb = random.choice(((206, 40, 44), (238, 238, 238), (40, 92, 168)))

        def machine() -> None:
            traffic.box(street.view, x, z, 0.5, 0.0, 1.85, body, 0.6)
            traffic.box(street.view, x, z, 0.38, 0.85, 1.65, (226, 236, 240), 0.8)

        street.add(z, machine)
    street.traffic(1.1, 0.2, lambda x, z, rear: traffic.car(street.view, x, z, (236, 238, 238), rear, 1.75))
    if random.random() < 0.4:
        street.add(
            14.0, lambda: traffic.rider(street.view, street.centre - 1.9, 14.0, (70, 90, 130), motor=False)
        )


JAPAN = Country(-1, (0.46, 0.54), 260, 0.002, _japan_ground, _japan_behind, _japan)
