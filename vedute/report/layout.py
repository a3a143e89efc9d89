"""Where the nodes of a flow stand on paper; all lengths are inches, y grows upwards.

The main path runs in rows that turn at the latent vector, so that an encoder lies above its
decoder and each picture above its reconstruction. Conditions enter from the lane between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from vedute.report.flow import Flow

GAP, STACK_GAP = 0.36, 0.16
ROW_SPACE, BUS_SPACE = 0.42, 0.17
ROW_LENGTH = 13
"""Longest row, in columns."""


@dataclass
class Box:
    """Where a node stands: its centre and size, inches."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        """The left edge."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """The upper edge."""
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y - self.height / 2


class Layout:
    """Where the nodes of a flow stand.

    Attributes:
        boxes: Per node, its place.
        buses: Per side node that feeds the main path, the height of its line in each lane.
        row_of: Per node of the main path, its row.
        width: Of everything.
        height: Of everything.
    """

    def __init__(self, flow: Flow, sizes: Sequence[tuple[float, float]]) -> None:
        """Find the places of nodes whose boxes have these (width, height)."""
        self.flow = flow
        self._sizes = sizes
        self.boxes: dict[int, Box] = {}
        self.buses: dict[int, list[float]] = {}
        self.row_of: dict[int, int] = {}
        self.rows = self._rows()
        self._side = [number for number, main in enumerate(flow.main) if not main]
        self._carriers = [n for n in self._side if any(flow.main[c] for c in flow.consumers(n))]
        self._place()

    def _columns(self, main: bool) -> list[list[int]]:
        """Group the nodes of the main path, or the side nodes, by their distance from the input."""
        depth: dict[int, int] = {}
        for number, node in enumerate(self.flow.nodes):
            if self.flow.main[number] == main:
                depth[number] = 1 + max((depth[s] for s in node.sources if s in depth), default=-1)
        columns: list[list[int]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
        for number, column in depth.items():
            columns[column].append(number)
        return columns

    def _rows(self) -> list[list[list[int]]]:
        """Break the columns into rows: after the latent vector, else where they get too many."""
        columns = self._columns(main=True)
        nodes = self.flow.nodes
        turn = [i for i, column in enumerate(columns) if any(nodes[n].role == "sample" for n in column)]
        if not turn and len(columns) > ROW_LENGTH // 2:
            # No random draw: the narrowest point, when the data gets wide again after it.
            sizes = [min(prod(nodes[n].shape) for n in column) for column in columns]
            narrow = sizes.index(min(sizes))
            turn = [narrow] if sizes[-1] >= 4 * sizes[narrow] and 2 < narrow < len(columns) - 3 else []
        parts = [columns[: turn[0] + 1], columns[turn[0] + 1 :]] if turn else [columns]
        rows = []
        for part in parts:
            count = ceil(len(part) / ROW_LENGTH)
            length = ceil(len(part) / count)
            rows += [part[start : start + length] for start in range(0, len(part), length)]
        for number, row in enumerate(rows):
            self.row_of |= {node: number for column in row for node in column}
        return rows

    def _place(self) -> None:
        """Stand everything, row by row from the top, then move it to the first quadrant."""
        lane = self._side_height() + BUS_SPACE * len(self._carriers)
        x = y = 0.0
        for number, row in enumerate(self.rows):
            height = max(map(self._stack_height, row))
            direction = 1 if number % 2 == 0 else -1
            for column in row:
                width = max(self._sizes[n][0] for n in column)
                self._stack(column, x + direction * width / 2, y - height / 2)
                x += direction * (width + GAP)
            x -= direction * GAP  # the next row starts where this one ends
            y -= height
            if direction > 0 and self._side:
                self._fill_lane(y - ROW_SPACE - lane / 2)
                y -= lane + ROW_SPACE
            y -= ROW_SPACE
        self._clear_side_nodes()
        left = min(box.left for box in self.boxes.values())
        bottom = min(box.bottom for box in self.boxes.values())
        bottom = min([bottom, *(level - 0.1 for levels in self.buses.values() for level in levels)])
        self.shift(-left, -bottom)
        self.width = max(box.right for box in self.boxes.values())
        arcs = len(self.skips())
        self.height = max(box.top for box in self.boxes.values()) + (0.2 + 0.05 * arcs if arcs else 0.0)

    def _stack_height(self, column: list[int]) -> float:
        return sum(self._sizes[number][1] for number in column) + STACK_GAP * (len(column) - 1)

    def _side_height(self) -> float:
        return max(map(self._stack_height, self._columns(main=False)), default=0.0)

    def _stack(self, column: list[int], x: float, y: float) -> None:
        """Stand the nodes of a column below each other around ``y``."""
        top = y + self._stack_height(column) / 2
        for number in column:
            width, height = self._sizes[number]
            self.boxes[number] = Box(x, top - height / 2, width, height)
            top -= height + STACK_GAP

    def _fill_lane(self, y: float) -> None:
        """Stand the side nodes in the lane and give each that feeds the main path a bus."""
        if self._side[0] not in self.boxes:
            x = 0.0
            for column in self._columns(main=False):
                width = max(self._sizes[number][0] for number in column)
                self._stack(column, x + width / 2, y)
                x += width + GAP
        for place, number in enumerate(reversed(self._carriers)):
            # The last one's bus leaves it straight; earlier ones pass below the later ones.
            behind = any(self.boxes[later].x > self.boxes[number].x for later in self._side)
            below = y - self._side_height() / 2 - BUS_SPACE * max(place, 1)
            self.buses.setdefault(number, []).append(below if behind else self.boxes[number].y)

    def _clear_side_nodes(self) -> None:
        """Push the main path to the right until no arrow through the lane meets a side node."""
        if not self._side:
            return
        fed = [c for n in self._carriers for c in self.flow.consumers(n) if self.flow.main[c]]
        fed += [n for skip in self.skips() for n in skip if self.row_of[skip[0]] != self.row_of[skip[1]]]
        end = max(self.boxes[n].right for n in self._side) + 0.25
        first = min((self.boxes[n].x for n in fed), default=end)  # nothing fed: inputs that meet in a block
        push = max(0.0, end - first, -min(b.left for b in self.boxes.values()))
        for number, main in enumerate(self.flow.main):
            if main:
                self.boxes[number].x += push

    def shift(self, x: float, y: float) -> None:
        """Move everything by (x, y)."""
        for box in self.boxes.values():
            box.x, box.y = box.x + x, box.y + y
        for number, levels in self.buses.items():
            self.buses[number] = [level + y for level in levels]

    def column_of(self, number: int) -> int:
        """Return the position of a main node's column along the whole path."""
        columns = [column for row in self.rows for column in row]
        return next(position for position, column in enumerate(columns) if number in column)

    def skips(self) -> list[tuple[int, int]]:
        """Return the main path's arrows that pass over other columns."""
        return [
            (source, number)
            for number, node in enumerate(self.flow.nodes)
            for source in node.sources
            if self.flow.main[source] and self.column_of(number) - self.column_of(source) > 1
        ]
