"""Streets of Brazil and the United States: what stands along them, see the table in ``streets``."""

from __future__ import annotations

from random import Random

from vedute.data.painted import streets_traffic as traffic
from vedute.data.painted.streets_buildings import House
from vedute.data.painted.streets_ground import WHITE, YELLOW, Ground, Mark, edge_lines
from vedute.data.painted.streets_plants import broadleaf, bush, palm
from vedute.data.painted.streets_scene import Country, Street, hills
from vedute.data.painted.streets_view import Rgb, View

# Brazil: small houses in strong colours behind walls, red earth, palms, round green hills.


def _brazil_ground(random: Random) -> Ground:
    marks = [Mark(-0.12, 0.12, YELLOW), Mark(0.12, 0.12, YELLOW)] if random.random() < 0.7 else []
    return Ground(
        3.4,
        (98, 92, 90),
        ((172, 92, 58), (112, 118, 52)),
        marks,
        crumble=0.3,
        dust=0.35,
        walk=1.0,
        walk_colour=(166, 150, 136),
    )


def _brazil_behind(view: View, random: Random) -> None:
    hills(view, random, random.uniform(0.14, 0.24), (58, 104, 62), 230, 0.2)
    hills(view, random, random.uniform(0.06, 0.1), (52, 100, 46), 140, 0.35)


def _brazil(street: Street) -> None:
    random = street.random
    walls: tuple[Rgb, ...] = (
        (232, 96, 130),
        (60, 150, 204),
        (250, 206, 66),
        (92, 186, 110),
        (240, 138, 62),
        (140, 104, 186),
        (238, 234, 224),
    )

    def house() -> tuple[House, float]:
        shape = random.choice(("flat", "along"))
        made = House(
            random.choice(walls),
            (176, 84, 54) if shape == "along" else (220, 216, 208),
            random.choice((1, 1, 2)),
            "flat" if shape == "flat" else "along",
            1.1,
            frame=(244, 244, 240),
            window=(1.2, 1.1),
        )
        return made, random.uniform(6.0, 9.0)

    for side in (-1, 1):
        street.houses(side, random.uniform(4.7, 6.0), house, (0.0, 4.0), 8.0, 95.0)
    green: list[Rgb] = [(54, 116, 50), (76, 138, 54), (44, 98, 52)]
    street.scatter(9, 5.2, 24.0, lambda x, z: street.plant(palm, x, z, random.uniform(6.0, 10.0), green))
    street.scatter(12, 7.0, 30.0, lambda x, z: street.plant(broadleaf, x, z, random.uniform(5.0, 9.0), green))
    if random.random() < 0.7:
        street.line(random.choice((-1, 1)) * 4.2, 26.0, 8.5, (170, 166, 158), 1, (-0.3, -0.8, -1.3))
    street.parked(2.4, 0.3)
    street.traffic(1.6, 0.22)


BRAZIL = Country(1, (0.46, 0.56), 240, 0.003, _brazil_ground, _brazil_behind, _brazil)


# United States: a wide straight road with a double yellow line, low buildings far apart, mesas, a big sky.


def _america_ground(random: Random) -> Ground:
    half = random.choice((5.2, 6.8))
    marks = [Mark(-0.16, 0.13, YELLOW), Mark(0.16, 0.13, YELLOW), *edge_lines(half)]
    if half > 6:
        marks += [Mark(side * 3.4, 0.13, WHITE, 3.0, 12.0) for side in (-1, 1)]
    return Ground(half, (122, 120, 118), ((190, 172, 122), (160, 150, 98)), marks, crumble=0.2, dust=0.1)


def _america_behind(view: View, random: Random) -> None:
    hills(view, random, random.uniform(0.04, 0.09), (150, 112, 96), 260, 0.4, flat=random.random() < 0.7)


def _america(street: Street) -> None:
    random = street.random
    half = street.ground.half
    walls: tuple[Rgb, ...] = ((214, 204, 184), (178, 158, 136), (232, 230, 226), (150, 92, 76))

    def store() -> tuple[House, float]:
        made = House(
            random.choice(walls),
            (120, 118, 116),
            1,
            "flat",
            frame=None,
            spacing=3.6,
            window=(2.4, 1.5),
            shop=random.choice(((196, 44, 40), (40, 80, 160), (240, 200, 60), (236, 236, 236))),
        )
        return made, random.uniform(14.0, 26.0)

    for side in (-1, 1):
        if random.random() < 0.6:
            street.houses(side, half + random.uniform(9.0, 13.0), store, (12.0, 40.0), 12.0, 110.0)
    if random.random() < 0.8:
        street.line(random.choice((-1, 1)) * (half + 3.0), 32.0, 9.5, (104, 84, 66), 2, (-0.3, -0.35, -1.1))
    if random.random() < 0.6:  # a sign on a tall post
        x, z = street.centre + random.choice((-1, 1)) * (half + 5.0), random.uniform(16.0, 40.0)
        board: Rgb = random.choice(((206, 40, 40), (30, 90, 170), (250, 196, 40)))

        def sign() -> None:
            traffic.box(street.view, x, z, 0.2, 0, 6.5, (140, 140, 140), 0.5)
            traffic.box(street.view, x, z, 2.2, 6.2, 9.2, board, 0.8)
            traffic.box(street.view, x, z, 1.6, 7.3, 8.1, (244, 244, 240), 0.8)

        street.add(z, sign)
    scrub: list[Rgb] = [(120, 122, 84), (142, 134, 92), (98, 110, 72)]
    street.scatter(
        24, half + 2.5, 50.0, lambda x, z: street.plant(bush, x, z, random.uniform(0.5, 1.1), scrub)
    )
    street.traffic(
        2.6 if half < 6 else 1.8,
        0.3,
        lambda x, z, rear: traffic.car(
            street.view, x, z, traffic.car_colour(random), rear, random.choice((1.5, 1.9, 1.95))
        ),
    )


UNITED_STATES = Country(1, (0.56, 0.66), 380, 0.0006, _america_ground, _america_behind, _america)
