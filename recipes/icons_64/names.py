"""Which icons are things one can name and draw, and one plain name for each, the same in every set."""

import re
from collections import Counter

from recipes.icons_64.icon_sets import Icon

# Skin tones, regional letters (flags), tag characters, gender signs and the enclosing keycap.
_MODIFIERS = re.compile(r"1f3f[b-f]|1f1[ef][0-9a-f]|e00[0-9a-f]{2}|2640|2642|20e3")
_PERSON = re.compile(r"1f46[89]|1f9d1")
_SIGNS = re.compile(
    r"button|arrow|-oclock|-thirty|^digit-|^keycap|-skin-tone|^input-|-sign$|-symbol$|blood-type|^letter"
    r"|^(aries|taurus|gemini|cancer|leo|virgo|libra|scorpio|scorpius|sagittarius|capricorn|aquarius|pisces|ophiuchus)$"
    r"|^(plus|minus|divide|multiply|heavy-|infinity|copyright|registered|trade-mark|information|asterisk|number-)"
    r"|exclamation|question-mark|-dash$|curly-loop|part-alternation|eight-spoked|sparkle$|-pointed-star|circled"
    r"|small-square|medium-square|large-square|-square$|^(up|down|left|right)wards-|prohibited|^no-|non-potable|^not-"
    r"|cross-mark|check-mark|check-box|geometric|diamond-with-a-dot|antenna-bars|hundred-points|zzz|dotted-six"
    r"|restroom|mens-room|womens-room|water-closet|customs|baggage-claim|left-luggage|passport-control|p-button"
    r"|^japanese-.*-(button|sign)|recycling|fleur-de-lis|trident|name-badge|^(om|yin-yang|peace|menorah|khanda)"
    r"|star-and-crescent|star-of-david|latin-cross|orthodox-cross|wheel-of-dharma|biohazard|radioactive|warning"
    r"|children-crossing|vibration-mode|mobile-phone-off|atm|wavy|wireless|gender|litter-in-bin|place-of-worship"
)


def is_drawable(icon: Icon) -> bool:
    """Leave out flags, skin tones, letters, clocks, signs, people at work: what differs by a mark, not a shape."""
    points = icon.code_points.split("-")
    if any(_MODIFIERS.fullmatch(point) for point in points):
        return False
    if "200d" in points and any(_PERSON.fullmatch(point) for point in points):
        return False
    # Digits, letters and enclosed text.
    is_text = len(points[0]) < 4 or re.fullmatch(
        r"1f1[0-9a-f]{2}|1f2[0-9a-f]{2}|32[0-9a-f]{2}|24[0-9a-f]{2}", points[0]
    )
    return not is_text and not _SIGNS.search(icon.name)


def canonical_names(sets: list[list[Icon]]) -> dict[str, str]:
    """Code points -> name in plain words: the name that most of the sets give it, and on a tie the shortest."""
    votes: dict[str, Counter[str]] = {}
    for icons in sets:
        for icon in icons:
            votes.setdefault(icon.code_points, Counter())[icon.name] += 1
    best = {points: min(names, key=lambda name: (-names[name], len(name), name)) for points, names in votes.items()}
    taken: dict[str, str] = {}
    for points, name in sorted(best.items()):
        taken.setdefault(name, points)
    # Where two code points share a name the first keeps it and the other is left out.
    return {points: name.replace("-", " ") for name, points in taken.items()}


def shared_names(sets: list[list[Icon]], at_least: int = 3) -> dict[str, str]:
    """Code points -> name of the drawable icons that at least so many of the sets have."""
    drawable = [[icon for icon in icons if is_drawable(icon)] for icons in sets]
    counts = Counter(icon.code_points for icons in drawable for icon in icons)
    names = canonical_names(drawable)
    return {points: names[points] for points in sorted(names) if counts[points] >= at_least}
