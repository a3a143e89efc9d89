"""Streets of Italy, the Netherlands and Norway: what stands along them, see the table in ``streets``."""

from __future__ import annotations

from functools import partial
from random import Random

from vedute.data.painted import streets_traffic as traffic
from vedute.data.painted.streets_buildings import House
from vedute.data.painted.streets_ground import WHITE, YELLOW, Ground, Mark, edge_lines
from vedute.data.painted.streets_plants import broadleaf, bush, conifer, cypress
from vedute.data.painted.streets_scene import Country, Street, corners, forest_edge, hills
from vedute.data.painted.streets_view import Rgb, View

# Italy: unbroken ochre and terracotta fronts with green shutters on paving stones, cypresses, a bell tower.


def _italy_ground(random: Random) -> Ground:
    stone: Rgb = random.choice(((140, 128, 116), (124, 118, 112)))
    return Ground(
        2.6, stone, ((170, 150, 112), (150, 142, 96)), walk=1.2, walk_colour=(176, 164, 146), cobbles=0.2
    )


def _italy_behind(view: View, random: Random) -> None:
    hills(view, random, random.uniform(0.1, 0.2), (150, 140, 88), 240, 0.3)
    hills(view, random, random.uniform(0.05, 0.1), (104, 116, 66), 160, 0.3)


def _italy(street: Street) -> None:
    random = street.random
    walls: tuple[Rgb, ...] = (
        (218, 168, 92),
        (204, 132, 84),
        (228, 190, 128),
        (196, 112, 76),
        (224, 178, 140),
    )

    def house() -> tuple[House, float]:
        made = House(
            random.choice(walls),
            (168, 88, 58),
            random.choice((2, 3, 3)),
            "along",
            random.uniform(1.2, 1.9),
            frame=(232, 216, 190),
            shutters=random.choice(((52, 92, 62), (44, 82, 70), (104, 70, 46))),
            spacing=3.0,
            window=(0.95, 1.6),
        )
        return made, random.uniform(7.0, 12.0)

    stop = random.uniform(35.0, 70.0)
    for side in (-1, 1):
        if side == 1 or random.random() < 0.8:
            street.houses(side, 4.0, house, (0.0, 0.05), 9.0, stop)
    tower_x, tower_z = street.centre + random.uniform(-9, 9), stop + 25.0
    if random.random() < 0.6:

        def tower() -> None:
            view, brick = street.view, (190, 140, 98)
            traffic.box(view, tower_x, tower_z, 2.2, 0, 21, brick, 0.6)
            view.polygon(corners(tower_x, tower_z, 1.3, 16, 19.5), (70, 54, 44), 0.2)
            view.polygon(
                [(tower_x - 2.6, 21, tower_z), (tower_x + 2.6, 21, tower_z), (tower_x, 25.5, tower_z)],
                (150, 80, 56),
                0.7,
            )

        street.add(tower_z, tower)
    trees: list[Rgb] = [(38, 58, 38), (46, 68, 40)]
    for _ in range(9):
        x = random.choice((-1, 1)) * random.uniform(5.0, 20.0)
        street.plant(cypress, x, stop + random.uniform(3.0, 45.0), random.uniform(8.0, 13.0), trees)
    pots: list[Rgb] = [(66, 100, 52), (90, 110, 60)]
    for _ in range(3):
        street.plant(bush, random.choice((-1, 1)) * 3.6, random.uniform(6.0, 30.0), 0.9, pots)
    street.parked(2.0, 0.35, 1.4)
    for _ in range(random.randrange(3)):
        clothes = traffic.car_colour(random)
        x, z = street.centre + random.uniform(-3.4, -1.5), random.uniform(9.0, 30.0)
        street.add(z, partial(traffic.walker, street.view, x, z, clothes))


ITALY = Country(1, (0.46, 0.56), 260, 0.004, _italy_ground, _italy_behind, _italy)


# Netherlands: brick houses with stepped gables, red bicycle lanes, rows of limes, flat to a low horizon.


def _netherlands_ground(random: Random) -> Ground:
    marks = [Mark(side * 2.6, 0.14, WHITE, 1.6, 3.2) for side in (-1, 1)]
    return Ground(
        2.6,
        (98, 96, 100),
        ((98, 132, 62), (76, 112, 52)),
        marks,
        lane=1.7,
        lane_colour=(150, 86, 74),
        walk=1.6,
        walk_colour=(160, 148, 140),
    )


def _netherlands_behind(view: View, random: Random) -> None:
    forest_edge(view, random, 0.03, (78, 98, 70), 170, pointed=False)
    if random.random() < 0.5:
        x, z = random.choice((-1, 1)) * random.uniform(14, 40), 120.0
        body = [(x - 3, 0, z), (x + 3, 0, z), (x + 1.8, 13, z), (x - 1.8, 13, z)]
        view.polygon(body, (112, 88, 72), 0.5)
        for dx, dy in ((6, 7), (-7, 6)):
            view.line([(x - dx, 13 - dy, z), (x + dx, 13 + dy, z)], 0.9, (226, 220, 208), 0.6)


def _netherlands(street: Street) -> None:
    random = street.random
    bricks: tuple[Rgb, ...] = ((140, 70, 54), (122, 62, 52), (158, 92, 66), (104, 58, 52))

    def house() -> tuple[House, float]:
        made = House(
            random.choice(bricks),
            (96, 62, 54),
            random.choice((2, 2, 3)),
            random.choice(("stepped", "stepped", "along")),
            random.uniform(2.6, 3.6),
            frame=(246, 246, 242),
            spacing=2.1,
            window=(1.25, 1.8),
        )
        return made, random.uniform(5.5, 7.0)

    built = random.choice((-1, 1))
    street.houses(built, 7.2, house, (0.0, 0.0), 9.0, random.uniform(50.0, 100.0))
    if random.random() < 0.45:
        street.houses(-built, 8.5, house, (0.0, 3.0), 9.0, 90.0, random.uniform(20.0, 50.0))
    limes: list[Rgb] = [(86, 124, 54), (104, 138, 60), (70, 108, 50)]
    for side in (-1, 1):
        z = random.uniform(6.0, 14.0)
        while z < 110.0:
            street.plant(
                broadleaf, side * (5.5 if side != built else 5.2), z, random.uniform(5.0, 6.5), limes
            )
            z += 11.0 if side != built else 16.0
    for _ in range(random.randrange(1, 4)):
        z = random.uniform(8.0, 35.0)
        x, clothes = street.centre + random.choice((-1, 1)) * 3.4, traffic.car_colour(random)
        street.add(z, partial(traffic.rider, street.view, x, z, clothes, motor=False))
    street.traffic(1.2, 0.2)


NETHERLANDS = Country(1, (0.54, 0.62), 220, 0.001, _netherlands_ground, _netherlands_behind, _netherlands)


# Norway: painted wooden houses apart from each other, conifers, a fjord's steep hills with snow.


def _norway_ground(random: Random) -> Ground:
    snow = random.random() < 0.25
    verge: tuple[Rgb, Rgb] = ((222, 228, 238), (196, 206, 222)) if snow else ((92, 116, 58), (66, 92, 48))
    marks = [Mark(0, 0.13, YELLOW, 3.0, 9.0), *edge_lines(3.1)]
    return Ground(3.1, (92, 95, 101), verge, marks, crumble=0.5 if snow else 0.1, dust=0.5 if snow else 0.0)


def _norway_behind(view: View, random: Random) -> None:
    hills(view, random, random.uniform(0.26, 0.36), (92, 104, 116), 260, 0.55, snow=random.uniform(0.45, 0.6))
    hills(view, random, random.uniform(0.1, 0.2), (48, 72, 56), 150, 0.45)
    forest_edge(view, random, 0.06, (34, 54, 40), 110, pointed=True)


def _norway(street: Street) -> None:
    random = street.random
    snow = 1.0 if street.ground.dust else 0.0
    walls: tuple[Rgb, ...] = ((158, 38, 34), (232, 230, 222), (226, 178, 74), (150, 44, 36), (92, 110, 120))

    def house() -> tuple[House, float]:
        roof: Rgb = (214, 222, 234) if snow else random.choice(((62, 60, 64), (84, 66, 58)))
        shape = random.choice(("along", "across"))
        wall = random.choice(walls)
        made = House(
            wall,
            roof,
            random.choice((1, 2, 2)),
            "along" if shape == "along" else "across",
            random.uniform(2.4, 3.4),
            frame=(244, 244, 240),
            boards=True,
        )
        return made, random.uniform(7.5, 11.0)

    for side in (-1, 1):
        if random.random() < 0.85:
            street.houses(side, random.uniform(6.5, 9.5), house, (7.0, 24.0), 8.0, 80.0)
    firs: list[Rgb] = [(38, 66, 46), (50, 82, 52), (30, 54, 44)]
    street.scatter(
        26, 7.0, 34.0, lambda x, z: street.plant(conifer, x, z, random.uniform(5, 12), firs, snow=snow)
    )
    if random.random() < 0.4:
        side = random.choice((-1, 1))
        street.add(90.0, lambda: traffic.rail(street.view, street.centre + side * 3.7, 4.0, 70.0))
    street.traffic(1.5, 0.22)


NORWAY = Country(1, (0.48, 0.58), 260, 0.004, _norway_ground, _norway_behind, _norway)
