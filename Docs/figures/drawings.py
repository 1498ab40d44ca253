"""Draws ring.svg, overlap.svg and routes.svg of this folder, by the words of Docs/Glossary.md."""

from math import cos, pi, sin
from pathlib import Path

COLOURS = ["#4269d0", "#efb118", "#3ca951", "#ff725c"]
GREY = "#8a8a8a"


class Drawing:
    def __init__(self, width, height):
        self.width, self.height, self.out = width, height, []

    def text(self, x, y, words, size=13, anchor="middle", fill="#222", weight="normal"):
        self.out.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" '
            f'font-weight="{weight}">{words}</text>'
        )

    def box(self, x, y, width, height, fill, words="", stroke="none", dash="", size=12, ink="white"):
        self.out.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" fill="{fill}" '
            f'stroke="{stroke}" stroke-dasharray="{dash}"/>'
        )
        if words:
            self.text(x + width / 2, y + height / 2 + 4.5, words, size, fill=ink)

    def arrow(self, x, y, x2, y2, colour=GREY, dash=""):
        self.out.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="1.6" stroke-dasharray="{dash}" marker-end="url(#head)"/>'
        )

    def save(self, name):
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" font-family="sans-serif">'
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
            f'<path d="M0,0 L7,3 L0,6 z" fill="{GREY}"/></marker></defs>'
            f'<rect width="{self.width}" height="{self.height}" fill="white"/>'
        )
        path = Path(__file__).parent / name
        path.write_text("\n".join([head, *self.out, "</svg>"]) + "\n")


def ring():
    """Four ranks, four steps: who holds whose block."""
    d = Drawing(860, 250)
    for step in range(4):
        centre_x, centre_y, radius = 115 + step * 210, 128, 62
        d.text(centre_x, 24, f"step {step}", 14, weight="bold")
        at = []
        for rank in range(4):
            angle = -pi / 2 + rank * pi / 2
            at.append((centre_x + radius * cos(angle), centre_y + radius * sin(angle)))
        for rank in range(4):
            if step == 3:
                break
            (x, y), (x2, y2) = at[rank], at[(rank + 1) % 4]
            d.arrow(x + (x2 - x) * 0.36, y + (y2 - y) * 0.36, x + (x2 - x) * 0.64, y + (y2 - y) * 0.64)
        for rank, (x, y) in enumerate(at):
            owner = (rank - step) % 4
            d.box(x - 26, y - 17, 26, 34, COLOURS[rank], f"q{rank}")
            d.box(x, y - 17, 26, 34, COLOURS[owner], f"kv{owner}")
    d.text(430, 240, "Each rank keeps its queries q and meets every block kv of keys and values once.", 13)
    d.save("ring.svg")


def overlap():
    """One rank's time: computing on the block in hand while the next one comes in."""
    d = Drawing(760, 180)
    left, step, top = 130, 150, 40
    d.text(left - 12, top + 18, "computes on", anchor="end")
    d.text(left - 12, top + 62, "receives", anchor="end")
    d.text(left - 12, top + 96, "sends", anchor="end")
    for turn in range(4):
        x = left + turn * step
        owner, coming = (2 - turn) % 4, (1 - turn) % 4
        d.text(x + step / 2 - 4, 26, f"step {turn}")
        d.box(x, top, step - 8, 28, COLOURS[owner], f"block of rank {owner}")
        if turn < 3:
            d.box(x, top + 46, (step - 8) * 0.7, 24, COLOURS[coming], f"block of {coming}", size=11)
            d.box(x, top + 80, (step - 8) * 0.7, 24, COLOURS[owner], f"block of {owner}", size=11)
    d.text(
        380, 168, "Rank 2 of 4. A transfer that is shorter than the computing costs no time.", 13
    )
    d.save("overlap.svg")


def routes():
    """What the four answers of a route change, for four ranks on two hosts."""
    d = Drawing(860, 268)
    panels = [
        ("ring", "each rank alone, rotating", [(0, 1), (1, 2), (2, 3), (3, 0)], False),
        ("hierarchical", "hosts as groups, rotating", [("A", "B"), ("B", "A")], True),
        ("allgather", "each rank alone, direct", [(0, 1), (0, 2), (0, 3)], False),
        ("heads", "ranks share the heads", [(a, b) for a in range(4) for b in range(4) if a != b], False),
    ]
    for index, (name, note, arrows, shares) in enumerate(panels):
        x, y = 20 + index * 210, 54
        d.text(x + 95, 24, name, 14, weight="bold")
        d.text(x + 95, 43, note, 12)
        places = {0: (x + 38, y + 44), 1: (x + 38, y + 124), 3: (x + 152, y + 44), 2: (x + 152, y + 124)}
        for column, label in ((0, "host A"), (1, "host B")):
            d.box(x + 4 + column * 114, y + 8, 68, 152, "none", stroke=GREY, dash="4 3")
            d.text(x + 38 + column * 114, y + 176, label, 11, fill=GREY)
        if shares:
            for column in (0, 1):
                d.box(x + 14 + column * 114, y + 26, 48, 116, "#eef2fb", stroke="#c6d2f2")
            d.arrow(x + 72, y + 74, x + 116, y + 74)
            d.arrow(x + 118, y + 94, x + 74, y + 94)
        for start, end in arrows:
            if start in places:
                (a, b), (a2, b2) = places[start], places[end]
                length = ((a2 - a) ** 2 + (b2 - b) ** 2) ** 0.5
                cut = 21 / length
                d.arrow(
                    a + (a2 - a) * cut, b + (b2 - b) * cut, a2 - (a2 - a) * cut, b2 - (b2 - b) * cut,
                    COLOURS[0] if name == "allgather" else GREY,
                )
        for rank, (a, b) in places.items():
            d.box(a - 17, b - 14, 34, 28, COLOURS[rank], str(rank), size=13)
    d.text(430, 258, "allgather: of the arrows only those of rank 0.", 12)
    d.save("routes.svg")


if __name__ == "__main__":
    ring()
    overlap()
    routes()
