"""A bar chart of latencies as SVG, next to the document."""

from html import escape

# Pixels.
WIDTH, LABEL, VALUE, BAR, GAP, TITLE = 900, 170, 210, 14, 4, 30
OURS, PEER, WRONG = "#1d4ed8", "#9ca3af", "#d6d9de"


def bars(title: str, groups: list[tuple[str, list[tuple[str, float, bool, bool]]]]) -> str:
    """`groups` of (name, bars), a bar being (name, milliseconds, ours, outputs are right).

    All bars have one scale. It fits the longest of engines that are at most five times as slow as the slowest of
    ours; longer ones are cut.
    """
    every = [bar for _, group in groups for bar in group]
    slowest_of_ours = max((ms for _, ms, ours, _ in every if ours), default=float("inf"))
    scale = max((ms for _, ms, _, _ in every if ms <= 5 * slowest_of_ours), default=1.0)
    room = WIDTH - LABEL - VALUE
    parts, y = [_text(0, 16, title, "start", "bold")], TITLE
    for name, group in groups:
        y += GAP
        parts.append(_text(0, y + 12, name, "start", "bold"))
        y += 18
        for engine, ms, ours, right in group:
            width = room * min(ms / scale, 1.0)
            color = OURS if ours else PEER if right else WRONG
            note = (
                f"{ms:.{1 if ms >= 10 else 2}f} ms"
                + (" (cut)" if ms > scale else "")
                + ("" if right else ", outputs differ")
            )
            parts.append(_text(LABEL - 8, y + BAR - 3, engine, "end"))
            parts.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{color}"/>')
            parts.append(_text(LABEL + width + 6, y + BAR - 3, note, "start"))
            y += BAR + GAP
    height = y + GAP
    box = f'viewBox="-12 -8 {WIDTH + 24} {height + 16}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" {box}'
        ' font-family="sans-serif" font-size="12" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect x="-12" y="-8" width="{WIDTH + 24}" height="{height + 16}" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {place} fill="#111827">{escape(text)}</text>'
