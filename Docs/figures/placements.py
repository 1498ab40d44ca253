"""Draws Docs/figures/placements.svg: which rank computes which queries of three dilation rates."""

TOKENS, RANKS = 32, 4
BRANCHES = [(8, 1), (16, 2), (32, 4)]
COLOURS = ["#4269d0", "#efb118", "#3ca951", "#ff725c"]
CELL, LEFT, GAP, PANEL = 20, 118, 6, 128


def queries():
    """(branch, query, cost) of one head with offset 0, full attention, in order."""
    for index, (length, rate) in enumerate(BRANCHES):
        for token in range(TOKENS):
            if token % length % rate == 0:
                yield index, token, length // rate


def rate():
    """Two ranks for the first rate, one for each other."""
    return {
        (index, token): (token // 16 if index == 0 else index + 1) for index, token, _ in queries()
    }


def sequence():
    return {(index, token): token * RANKS // TOKENS for index, token, _ in queries()}


def units():
    total = sum(cost for _, _, cost in queries())
    owners, done = {}, 0
    for index, token, cost in queries():
        owners[index, token] = done * RANKS // total
        done += cost
    return owners


def share(owners):
    loads = [0] * RANKS
    for index, token, cost in queries():
        loads[owners[index, token]] += cost
    return sum(loads) / RANKS / max(loads)


def main():
    width = LEFT + TOKENS * CELL + 24
    height = 3 * PANEL + 44
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for panel, (name, owners, note) in enumerate(
        [
            ("rate", rate(), "each rate has ranks of its own"),
            ("sequence", sequence(), "work stays with its queries"),
            ("units", units(), "the list of segments in equal pieces"),
        ]
    ):
        top = 12 + panel * PANEL
        out.append(
            f'<text x="{LEFT}" y="{top + 14}"><tspan font-weight="bold">{name}</tspan>: {note}; '
            f"balance {100 * share(owners):.0f} %</text>"
        )
        for index, (length, dilation) in enumerate(BRANCHES):
            y = top + 24 + index * (CELL + GAP)
            out.append(
                f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">'
                f"{length} : {dilation}</text>"
            )
            for token in range(TOKENS):
                owner = owners.get((index, token))
                fill = "#f1f1f1" if owner is None else COLOURS[owner]
                out.append(
                    f'<rect x="{LEFT + token * CELL + 1}" y="{y}" width="{CELL - 2}" '
                    f'height="{CELL}" fill="{fill}"/>'
                )
            for segment in range(0, TOKENS + 1, length):
                x = LEFT + segment * CELL
                out.append(
                    f'<line x1="{x}" x2="{x}" y1="{y - 2}" y2="{y + CELL + 2}" '
                    'stroke="#222" stroke-width="1.5"/>'
                )
    y = height - 24
    for rank, colour in enumerate(COLOURS):
        x = LEFT + rank * 90
        out.append(f'<rect x="{x}" y="{y}" width="14" height="14" fill="{colour}"/>')
        out.append(f'<text x="{x + 20}" y="{y + 12}">rank {rank}</text>')
    out.append("</svg>")
    with open(__file__.replace(".py", ".svg"), "w") as file:
        file.write("\n".join(out) + "\n")


main()
