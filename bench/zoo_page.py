"""Write docs/zoo.md from the cards, the published boards and the numbers of `bench.zoo`.

python -m bench.zoo_page
"""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.zoo_table import TOLERANCE, Parity, Table, described, place, read_table
from model_zoo.downloads.sources import hub_source
from model_zoo.registry import PublishedCard, published

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/zoo.md"
WITHOUT = ROOT / "model_zoo/cards/without.toml"
REFERENCE = ROOT / "store/reference_data"
BOARDS = {
    "cifar10/Linf": "CIFAR-10, Linf",
    "cifar10/L2": "CIFAR-10, L2",
    "cifar10/corruptions": "CIFAR-10, common corruptions",
    "cifar100/Linf": "CIFAR-100, Linf",
    "cifar100/corruptions": "CIFAR-100, common corruptions",
    "imagenet/Linf": "ImageNet, Linf",
    "imagenet/corruptions": "ImageNet, common corruptions",
}


@dataclass(frozen=True)
class Absence:
    """Entries of the published boards that have no card, and why."""

    reason: str
    models: tuple[str, ...]


def entries() -> tuple[str, ...]:
    """Return data set, threat model and id of every entry of the published boards."""
    lines = (REFERENCE / "robustbench_entries.jsonl").read_text(encoding="utf-8").splitlines()
    found = map(json.loads, lines)
    return tuple(f"{entry['dataset']}/{entry['threat_model']}/{entry['id']}" for entry in found)


def named_by_the_paper() -> frozenset[str]:
    """Return the same of the models that the tables of the RobustBench paper name."""
    with (REFERENCE / "paper_leaderboards.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model_zoo_id"]]
    return frozenset(f"{row['dataset']}/{row['threat_model']}/{row['model_zoo_id']}" for row in rows)


def absences() -> tuple[Absence, ...]:
    groups = tomllib.loads(WITHOUT.read_text(encoding="utf-8"))["without"]
    return tuple(Absence(group["reason"].strip(), tuple(group["models"])) for group in groups)


def page() -> str:
    table = read_table()
    results = {result.model: result for result in table.results}
    cards = published()
    sections = "\n".join(_section(board, title, cards, results) for board, title in BOARDS.items())
    return f"""# The zoo's published models

{_summary(cards, results)}

`load_model("Wong2020Fast", dataset="cifar10", threat_model="Linf")` builds the network of a card, fetches its
checkpoint and loads it; `pretrained=False` gives the network with random weights. `gauntlet zoo show` tells what a card
says. [Adding a model](adding-a-model.md) tells how another card is made, and decisions tell
[why cards are like this](decisions/0018-cards-of-published-checkpoints.md) and
[how downloads are pinned](decisions/0019-downloads-are-pinned.md).

{_comparison(table)}
## What the columns say

- **model**: the card, a file of its own; its venue, linked to the paper; "extra data" where training saw more than the
  data set's training split.
- **network**: the class in `model_zoo/architectures` and its arguments. What happens to an image before the first layer
  is one of them.
- **keys**: number of tensors that a checkpoint must have, and that the peer has under the same names and in the same
  shapes. A dash: there is no peer.
- **logits**: the greatest difference between the peer's logits and ours, relative to the greatest logit.
- **images**: what is done to images of other sizes first; nothing where they have the size already.
- **checkpoint**: where its authors or RobustBench have put it; the licence, where one is stated.

{sections}
{_without()}"""


def _summary(cards: Sequence[PublishedCard], results: Mapping[str, Parity]) -> str:
    listed, mine = entries(), {place(card) for card in cards}
    paper = named_by_the_paper()
    agreeing = {model for model, result in results.items() if model in mine and result.agrees}
    rows = []
    for board, title in BOARDS.items():
        on_board = {model for model in listed if model.startswith(f"{board}/")}
        rows.append(f"| {title} | {len(on_board)} | {len(on_board & mine)} | {len(on_board & agreeing)} |")
    total, agree = len(mine.intersection(listed)), len(agreeing.intersection(listed))
    rows.append(f"| **all** | **{len(listed)}** | **{total}** | **{agree}** |")
    table = "\n".join(rows)
    named = f"all {len(paper)}" if paper <= mine else f"{len(paper & mine)} of the {len(paper)}"
    return f"""{total} of the {len(listed)} entries of RobustBench's boards have a card here, {named} that the tables of
its paper name among them. The others stand [at the end](#without-a-card), with the reasons.

| board | entries | with a card | logits agree with the peer's |
|---|---|---|---|
{table}"""


def _comparison(table: Table) -> str:
    worst = max(table.results, key=lambda result: result.relative)
    least = min(result.spread / result.scale for result in table.results)
    agreeing = sum(result.agrees for result in table.results)
    closer = sum(result.difference <= TOLERANCE for result in table.results)
    versions = ", ".join(f"{name} {number}" for name, number in table.versions.items())
    return f"""## How the networks were compared

```
python -m pip install --no-deps --target PEER robustbench timm==1.0.9 torchdiffeq geotorch pandas requests tqdm \\
    pyyaml huggingface_hub filelock
python -m bench.zoo --peer PEER
python -m bench.zoo_page
```

The first command installs RobustBench's package, which nothing here depends on, into a folder of its own. The second
builds each network twice, ours and the package's, gives both one random state dict and the same two images, and writes
[the numbers](benchmarks/zoo.json); the third writes this page. So a wrong padding, activation or statistic shows
without a download. It says nothing about the published files themselves: that takes the files.

- **{agreeing} of {len(table.results)} agree within {TOLERANCE:g} of the greatest logit**; the greatest difference is
  {worst.relative:.1e}, of {worst.model}. Absolutely, {closer} agree within {TOLERANCE:g}. Answers depend on the image:
  the two images' logits differ by {least:.1g} of the greatest or more.
- **Keys and shapes are equal in all of them**, the constants of the normalisation aside, which are no part of our state
  dicts, and what published checkpoints hold though nothing uses it.
- Both sides get the images one by one: answers of `Kang2021Stable` as published depend on the batch, ours do not.
- Where the package would download weights while it builds a network, `Standard_R50`, the peer is torchvision's network.
  An id that the package does not have is compared with its entry of the same file on another board.
- {versions}; one thread, float32, on a CPU.
"""


def _section(board: str, title: str, cards: Iterable[PublishedCard], results: Mapping[str, Parity]) -> str:
    rows = [_row(card, results.get(place(card))) for card in cards if place(card).startswith(f"{board}/")]
    return "\n".join(
        (
            f"## {title}",
            "",
            "| model | network | parameters | keys | logits | images | checkpoint |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
        )
    )


def _row(card: PublishedCard, result: Parity | None) -> str:
    venue = card.venue or "paper"
    paper = f"[{venue}]({card.link})" if card.link else card.venue or "no paper"
    model = f"[{card.id}](../model_zoo/cards/{place(card)}.toml), {paper}{', extra data' if card.extra_data else ''}"
    current = result is not None and result.network == described(card)
    keys, logits = (f"{result.keys}", f"{result.relative:.1e}") if current and result is not None else ("–", "–")
    cells = (
        model,
        f"`{described(card)}`",
        f"{card.parameters:,}",
        keys,
        logits,
        card.preprocessing or "",
        _files(card),
    )
    return f"| {' | '.join(cells)} |"


def _files(card: PublishedCard) -> str:
    links = [f"https://drive.google.com/uc?id={file}" for file in card.google_drive]
    if card.hugging_face is not None:
        links.append(hub_source(card.hugging_face).url)
    if card.url is not None:
        links.append(card.url)
    names = ["file"] if len(links) == 1 else [f"file {number}" for number in range(1, len(links) + 1)]
    places = [f"[{name}]({link})" for name, link in zip(names, links, strict=True)]
    return ", ".join([*places, *([card.licence] if card.licence else [])]) or "–"


def _without() -> str:
    text = ["## Without a card", ""]
    for absence in absences():
        text += [absence.reason, "", *(f"- {model}" for model in absence.models), ""]
    return "\n".join(text)


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
