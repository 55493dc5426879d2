"""Lists as sentences have them."""

from collections.abc import Sequence


def either(words: Sequence[object]) -> str:
    """The words as a choice: "a", "a or b", "a, b or c"."""
    texts = [str(word) for word in words]
    return " or ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
