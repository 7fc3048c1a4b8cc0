"""The sections of an RFC in its text form, without page breaks, and the key words in them."""

from __future__ import annotations

import re
from collections import Counter

# RFC 2119. Longest first: `MUST NOT` holds no `MUST`.
KEYWORD = re.compile(r"\b(MUST NOT|MUST|REQUIRED|SHALL NOT|SHALL|SHOULD NOT|SHOULD)\b")
MANDATORY = ("MUST", "MUST NOT", "REQUIRED", "SHALL", "SHALL NOT")

_PAGE_BREAK = re.compile(r"\n*^\S.*\[Page \d+\]\n+\f\n*^RFC \d+ .*\n+", re.MULTILINE)
_HEADING = re.compile(r"^(\d+(?:\.\d+)*)\.  ?\S.*$", re.MULTILINE)
_BOILERPLATE = re.compile(r"The key words.*?RFC 2119 \[RFC2119\]\.", re.DOTALL)


def sections(text: str) -> dict[str, str]:
    """The text under each numbered heading, up to the next heading, with its lines."""
    # A paragraph may go on behind a page break: no empty line is left there where it does.
    text = _PAGE_BREAK.sub("\n\n", text)
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    found: dict[str, str] = {}
    for heading, end in zip(headings, ends, strict=True):
        body = text[heading.end() : end]
        # Appendices have no number; their headings start a line, as no other text does.
        body = re.split(r"^Appendix ", body, maxsplit=1, flags=re.MULTILINE)[0]
        found[heading[1]] = _BOILERPLATE.sub("", body)
    return found


def one_line(text: str) -> str:
    """`text` with single blanks; words that a line's end cut at their hyphen are whole again."""
    return re.sub(r"(?<=\w)- (?=\w)", "-", " ".join(text.split()))


def keywords(text: str) -> Counter[str]:
    return Counter(KEYWORD.findall(one_line(text)))
