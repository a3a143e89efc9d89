"""A drawing of networks: boxes with shapes and weights, arrows as the data flows.

Here: how things look. Not here: what the network consists of (flow.py), where it stands (layout.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import log2
from pathlib import Path as FilePath

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.textpath import TextToPath

from vedute.errors import ConfigurationError
from vedute.files import whole
from vedute.report.flow import TIMES, Flow, Node, Role
from vedute.report.layout import GAP, Box, Layout

# Face and edge of the boxes by role.
COLOURS: dict[Role, tuple[str, str]] = {
    "input": ("#f4f4f2", "#8a8a85"),
    "output": ("#f4f4f2", "#8a8a85"),
    "convolution": ("#dbe9f6", "#3f78b5"),
    "dense": ("#fdebd3", "#d08a2e"),
    "block": ("#e3e0f3", "#6a5fb0"),
    "other": ("#eeeeee", "#9a9a9a"),
    "sample": ("#f9dbe2", "#c2446a"),
    "join": ("#ffffff", "#555555"),
}
CONDITION = ("#ddf0e0", "#3c8f56")
INK, FAINT = "#22252a", "#6b7078"

# All lengths are in inches.
BOX_WIDTH, LINE_HEIGHT, PADDING = 1.32, 0.135, 0.12
MARGIN, TITLE_HEIGHT = 0.35, 0.6
TITLE_SIZE = 13.0  # points


def draw_networks(path: FilePath, networks: Sequence[tuple[str, Flow]]) -> None:
    """Draw networks below each other into a file.

    Args:
        path: Ends in .png, .svg or .pdf.
        networks: Title and flow of each.

    Raises:
        ConfigurationError: The file's ending is another one.
    """
    ending = check_ending(path)
    layouts = [Layout(flow, [_size(node) for node in flow.nodes]) for _, flow in networks]
    titles = [_text_width(title, TITLE_SIZE, True) for title, _ in networks]
    width = max(*titles, *(layout.width for layout in layouts)) + 2 * MARGIN
    height = sum(layout.height + TITLE_HEIGHT for layout in layouts) + 2 * MARGIN
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    top = height - MARGIN
    for (title, _), layout in zip(networks, layouts, strict=True):
        axes.text(MARGIN, top, title, size=TITLE_SIZE, weight="bold", color=INK, va="top")
        top -= TITLE_HEIGHT
        layout.shift(MARGIN, top - layout.height)
        _Painter(axes, layout).paint()
        top -= layout.height
    with whole(path) as temporary:
        figure.savefig(temporary, format=ending, dpi=150)


def check_ending(path: FilePath) -> str:
    """Return a drawing's format by its path: ``png``, ``svg`` or ``pdf``.

    Raises:
        ConfigurationError: It ends otherwise.
    """
    ending = path.suffix.lower().lstrip(".")
    if ending not in ("png", "svg", "pdf"):
        raise ConfigurationError(f"A drawing is written as .png, .svg or .pdf; got '{path.name}'.")
    return ending


def _lines(node: Node) -> list[tuple[str, str, float, bool]]:
    """Return the text in a box: text, colour, size in points, bold."""
    title = node.title + (f"  ({TIMES} {node.count})" if node.count > 1 else "")
    head, _, tail = title.partition(", ")
    lines = [(head, INK, 8.0, True)]
    lines += [(tail, INK, 7.0, False)] if tail else []
    lines += [(detail, INK, 7.0, False) for detail in node.details]
    lines += [(f" {TIMES} ".join(map(str, node.shape)) or "scalar", "#0b4f8a", 7.5, False)]
    lines += [(f"{node.weights:,} weights", FAINT, 6.5, False)] if node.weights else []
    lines += [(node.path, FAINT, 6.5, False)] if node.path else []
    return lines


def _size(node: Node) -> tuple[float, float]:
    """Return width and height of a node's box; maps of more pixels are taller."""
    if node.role == "join":
        return 0.28, 0.28
    height = len(_lines(node)) * LINE_HEIGHT + 2 * PADDING
    if len(node.shape) == 3:
        height = max(height, 0.75 + 0.15 * log2(max(node.shape[1], 1)))
    longest = max(_text_width(text, size, bold) for text, _, size, bold in _lines(node))
    return max(BOX_WIDTH, longest + 2 * PADDING), height


@cache
def _text_width(text: str, size: float, bold: bool) -> float:
    """Return the width of a line, inches."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return float(TextToPath().get_text_width_height_descent(text, font, ismath=False)[0]) / 72


class _Painter:
    """Paints a layout."""

    def __init__(self, axes: Axes, layout: Layout) -> None:
        self.axes = axes
        self.layout = layout
        self.flow = layout.flow

    def paint(self) -> None:
        """Paint arrows first, boxes over them."""
        skips = self.layout.skips()
        for place, (source, number) in enumerate(skips):
            self._skip(source, number, place)
        for number, node in enumerate(self.flow.nodes):
            for source in node.sources:
                if self.flow.main[number] != self.flow.main[source] or (source, number) in skips:
                    continue
                self._flow_arrow(source, number)
        for source in self.layout.buses:
            self._bus(source)
        for number, node in enumerate(self.flow.nodes):
            self._box(node, self.layout.boxes[number], self.flow.main[number])

    def _box(self, node: Node, box: Box, main: bool) -> None:
        face, edge = COLOURS[node.role] if main else CONDITION
        if node.role == "join":
            self.axes.add_patch(Circle((box.x, box.y), box.width / 2, fc=face, ec=edge, lw=1.1, zorder=3))
            self.axes.text(box.x, box.y, node.title, size=8, ha="center", va="center", color=INK, zorder=4)
            return
        rounding = box.height / 2 if node.role == "sample" else 0.08
        style = f"round,pad=0,rounding_size={rounding}"
        corner = (box.left, box.bottom)
        self.axes.add_patch(
            FancyBboxPatch(corner, box.width, box.height, boxstyle=style, fc=face, ec=edge, lw=1.2, zorder=3)
        )
        lines = _lines(node)
        y = box.y + LINE_HEIGHT * (len(lines) - 1) / 2
        for text, colour, size, bold in lines:
            weight = "bold" if bold else "normal"
            self.axes.text(
                box.x, y, text, size=size, color=colour, weight=weight, ha="center", va="center", zorder=4
            )
            y -= LINE_HEIGHT

    def _arrow(self, points: Sequence[tuple[float, float]], colour: str, style: str = "-|>") -> None:
        self.axes.add_patch(
            FancyArrowPatch(
                path=_rounded(points),
                arrowstyle=style,
                mutation_scale=8,
                color=colour,
                lw=1.2,
                fill=False if style == "-" else None,
                capstyle="round",
                joinstyle="round",
                zorder=2,
            )
        )

    def _flow_arrow(self, source: int, number: int) -> None:
        """Draw the arrow between neighbouring columns, or down to the next row."""
        start, end = self.layout.boxes[source], self.layout.boxes[number]
        colour = INK if self.flow.main[number] else CONDITION[1]
        row = self.layout.row_of.get(source, 0)
        if self.layout.row_of.get(number, 0) != row:
            self._arrow([(start.x, start.bottom), (start.x, end.top)], colour)
            return
        rightward = row % 2 == 0 or not self.flow.main[number]
        x1, x2 = (start.right, end.left) if rightward else (start.left, end.right)
        middle = x2 - GAP / 2 if rightward else x2 + GAP / 2
        self._arrow([(x1, start.y), (middle, start.y), (middle, end.y), (x2, end.y)], colour)

    def _skip(self, source: int, number: int, place: int) -> None:
        """Draw an arrow over the columns between, or across the lane to another row."""
        start, end = self.layout.boxes[source], self.layout.boxes[number]
        row = self.layout.row_of[source]
        if row == self.layout.row_of[number]:
            tops = [b.top for n, b in self.layout.boxes.items() if self.layout.row_of.get(n) == row]
            y = max(tops) + 0.12 + 0.05 * place
            self._arrow([(start.x, start.top), (start.x, y), (end.x, y), (end.x, end.top)], FAINT)
        else:
            x1, x2 = start.x + 0.22 * start.width, end.x + 0.22 * end.width
            y = start.bottom - 0.1 - 0.05 * place
            self._arrow([(x1, start.bottom), (x1, y), (x2, y), (x2, end.top)], FAINT)

    def _bus(self, source: int) -> None:
        """Draw the line along the lane from a side node, with an arrow to each block it feeds."""
        box = self.layout.boxes[source]
        levels = self.layout.buses[source]
        fed = [self.layout.boxes[n] for n in self.flow.consumers(source) if self.flow.main[n]]
        edge = CONDITION[1]
        for lane, level in enumerate(levels):
            ends = [end for end in fed if self._nearest(levels, end) == level]
            if not ends:
                continue
            last = max(self._entry(end, level) for end in ends)
            if lane:
                line = [(0.05, levels[0]), (0.05, level), (last, level)]
            elif abs(level - box.y) < 1e-6:
                line = [(box.right, level), (last, level)]
            else:
                line = [(box.x, box.bottom), (box.x, level), (last, level)]
            self._arrow(line, edge, "-")
            for end in ends:
                x = self._entry(end, level)
                self._arrow([(x, level), (x, end.bottom if end.y > level else end.top)], edge)
                self.axes.add_patch(Circle((x, level), 0.03, color=edge, zorder=3))

    @staticmethod
    def _nearest(levels: Sequence[float], end: Box) -> float:
        return min(levels, key=lambda level: abs(level - end.y))

    @staticmethod
    def _entry(end: Box, level: float) -> float:
        """Return where a bus enters a box: beside the arrow that may come from the row above."""
        return end.x if end.y > level else end.x - 0.22 * end.width


def _rounded(points: Sequence[tuple[float, float]], radius: float = 0.09) -> Path:
    """Return a path through ``points`` with rounded corners; equal neighbours are left out."""
    kept = [points[0]]
    for point in points[1:]:
        if abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) > 1e-6:
            kept.append(point)
    vertices, codes = [kept[0]], [Path.MOVETO]
    for before, corner, after in zip(kept, kept[1:], kept[2:], strict=False):
        vertices += [_towards(corner, before, radius), corner, _towards(corner, after, radius)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    vertices.append(kept[-1])
    codes.append(Path.LINETO)
    return Path(vertices, codes)


def _towards(start: tuple[float, float], end: tuple[float, float], distance: float) -> tuple[float, float]:
    """Return the point ``distance`` from ``start`` towards ``end``, at most half-way."""
    length = abs(end[0] - start[0]) + abs(end[1] - start[1])
    share = min(distance / length, 0.5)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
