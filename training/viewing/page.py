"""One page that shows everything, without anything from elsewhere."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from bridle.training.viewing.drawing import plain
from bridle.training.viewing.oddities import Finding
from bridle.training.viewing.reading import Reader

MARK = '<meta name="generator" content="bridle data view">'
"""By this a folder is known as one that may be written again."""
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 "DejaVu Sans", system-ui, sans-serif; color: #1b1f24; background: #fff;
       max-width: 1500px; margin: 0 auto; padding: 0 24px 64px; }
h1 { margin: 28px 0 0; font-size: 28px; overflow-wrap: anywhere; }
h2 { margin: 44px 0 10px; font-size: 20px; border-bottom: 1px solid #d5dade; }
h3 { margin: 30px 0 6px; font-size: 16px; overflow-wrap: anywhere; }
p, .about { color: #667079; margin: 4px 0; overflow-wrap: anywhere; }
nav { position: sticky; top: 0; background: #fff; padding: 10px 0; }
nav a { margin-right: 18px; } a { color: #0072b2; }
ul.findings { list-style: none; padding: 0; margin: 8px 0; }
ul.findings li { padding-left: 20px; position: relative; overflow-wrap: anywhere; }
ul.findings li::before { content: "\\25cf"; position: absolute; left: 2px; color: #667079; }
ul.findings li.look::before { color: #d55e00; }
img, video { max-width: 100%; height: auto; display: block; margin: 8px 0; }
table { border-collapse: collapse; font-size: 14px; }
td, th { text-align: left; padding: 3px 16px 3px 0; border-bottom: 1px solid #eef1f3;
         vertical-align: top; overflow-wrap: anywhere; }
th { color: #667079; font-weight: normal; }
.chip { display: inline-block; width: 12px; height: 12px; margin-right: 8px; }
"""


def write_page(
    reader: Reader,
    subtitle: str,
    findings: Sequence[Finding],
    notes: Sequence[str],
    files: Mapping[str, Sequence[Path]],
    plots: Mapping[str, Sequence[Path]],
    path: Path,
) -> None:
    """Write the page.

    Args:
        reader: the set.
        subtitle: what it is and how much of it is shown.
        findings: what stands out.
        notes: what was found about its files.
        files: pictures, video and recording by the section they belong to, all beside the page.
        plots: pages of plots of each key.
        path: the page.
    """
    recording = files.get("Rerun", ())
    sections = {
        "Summary": _findings(findings, notes) + _pictures("summary", files["Summary"]),
        "Episodes": _pictures("contact sheet", files["Episodes"]),
        "Video": "".join(
            f'<video controls muted preload="metadata" src="{escape(f.name)}"></video>'
            for f in files["Video"]
        ),
        "Channels": "".join(_plots(reader, key, pages) for key, pages in plots.items()),
        "Instructions": _instructions(reader),
        "Rerun": "".join(
            f'<p><a href="{escape(f.name)}">{escape(f.name)}</a>: open it with '
            f"<code>rerun {escape(f.name)}</code></p>"
            for f in recording
        ),
    }
    shown = {name: body for name, body in sections.items() if body}
    links = "".join(f'<a href="#{name}">{name}</a>' for name in shown)
    body = "".join(f'<h2 id="{name}">{name}</h2>{content}' for name, content in shown.items())
    title = escape(plain(reader.name))
    path.write_text(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{MARK}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{title}</h1><p>{escape(subtitle)}</p><nav>{links}</nav>{body}</body></html>\n",
        encoding="utf-8",
        errors="replace",
    )


def _findings(findings: Sequence[Finding], notes: Sequence[str]) -> str:
    items = [f'<li class="{f.kind}">{escape(f.text)}</li>' for f in findings]
    items += [f'<li class="note">{escape(note)}</li>' for note in notes]
    if not any(f.kind == "look" for f in findings):
        items.insert(0, "<li>nothing stands out</li>")
    return f'<ul class="findings">{"".join(items)}</ul>'


def _pictures(what: str, files: Sequence[Path]) -> str:
    return "".join(
        f'<a href="{escape(f.name)}"><img src="{escape(f.name)}" alt="{escape(what)}"></a>'
        for f in files
    )


def _plots(reader: Reader, name: str, files: Sequence[Path]) -> str:
    images = "".join(
        f'<a href="{escape(f.name)}"><img loading="lazy" src="{escape(f.name)}" '
        f'alt="{escape(name)} over time"></a>'
        for f in files
    )
    return f"<h3>{escape(name)}</h3>{_about(reader, name)}{images}"


def _about(reader: Reader, name: str) -> str:
    key = reader.keys[name]
    parts = [key.meaning, f"unit {key.unit}" if key.unit else "", f"{key.dtype} {key.shape}"]
    return f'<p class="about">{escape(" · ".join(part for part in parts if part))}</p>'


def _instructions(reader: Reader) -> str:
    attributes = reader.stored.attributes
    if attributes is None or not attributes.instructions:
        return ""
    rows = "".join(
        f'<tr><td>{i}</td><td><span class="chip" style="background:'
        f'{reader.colours.get(i, "transparent")}"></span>{escape(sentence)}</td></tr>'
        for i, sentence in enumerate(attributes.instructions)
    )
    return f"<table><tr><th>id</th><th>sentence</th></tr>{rows}</table>"
