"""From a card to its checkpoint in the cache: pinned once it fits, and never another file after that."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from benchmark.errors import GauntletError, InvalidCheckpoint, InvalidInput, NotFound
from model_zoo import licences
from model_zoo.building import build_published, load_model
from model_zoo.downloads import locking
from model_zoo.downloads.fetching import Fetcher, convert_published
from model_zoo.downloads.places import Places
from model_zoo.downloads.sources import Hosts, hub_source, sources_of
from model_zoo.downloads.transfer import DownloadFailed, HtmlInstead, Patience
from model_zoo.licences import LicenceNotice, tell_licence
from model_zoo.registry import PublishedCard, published
from tests.model_zoo.hosts import Host, content, dripping_head, endless, host, in_turn, page, status

CARD = PublishedCard(
    id="Doe2026Careful",
    dataset="cifar10",
    threat_model="Linf",
    title="Careful training",
    module="wide_resnet",
    network="WideResNet",
    arguments={"depth": 10, "width": 1},
    parameters=77_850,
    google_drive=("abc",),
    unused=("dead.",),
    licence="MIT",
)
NAME = "cifar10/Linf/Doe2026Careful"
QUICK = Patience(attempts=2, pause_s=0.01, silence_s=1.0)
DRIVE = "/download"


def weights(seed: int = 1) -> dict[str, Tensor]:
    return build_published(CARD, seed).state_dict()


def saved(state: object, *, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def as_published(seed: int = 1) -> dict[str, object]:
    """As such files are: wrapped twice, with the constants of a normalisation and with a block that nothing uses."""
    state = {f"module.model.{name}": tensor for name, tensor in weights(seed).items()}
    extra = {"module.mu": torch.zeros(3, 1, 1), "module.model.dead.weight": torch.ones(2)}
    return {"state_dict": state | extra, "epoch": 7}


PUBLISHED = saved(as_published())


@pytest.fixture
def server() -> Iterator[Host]:
    with host() as served:
        served.serve(DRIVE, content(PUBLISHED))
        yield served


@pytest.fixture
def fetcher(server: Host, tmp_path: Path) -> Fetcher:
    return Fetcher(Places(tmp_path / "cache"), Hosts(drive=server.url, hub=server.url), QUICK)


def stored(fetcher: Fetcher) -> dict[str, Path]:
    folder = fetcher.places.cache / "zoo" / "checkpoints"
    return {path.stem: path for path in folder.iterdir()} if folder.exists() else {}


def left_over(fetcher: Fetcher) -> list[Path]:
    """What lies about in the cache beside checkpoints, pins and locks."""
    zoo = fetcher.places.cache / "zoo"
    kept = (zoo / "checkpoints", zoo / "locks")
    names = ("zoo.lock.json", "zoo.lock.lock")
    return [path for path in zoo.rglob("*") if path.is_file() and path.parent not in kept and path.name not in names]


def test_a_checkpoint_is_fetched_once_and_lies_under_its_hash(server: Host, fetcher: Fetcher) -> None:
    found = fetcher.checkpoint(CARD)
    assert (found.origin, found.path.stem) == ("source", found.pin.safetensors)
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.pin.safetensors
    assert found.pin.sources == (hashlib.sha256(PUBLISHED).hexdigest(),)
    tensors = {name.removeprefix("model."): tensor for name, tensor in load_file(found.path).items()}
    assert all(torch.equal(tensors[name], tensor) for name, tensor in weights().items())
    again = fetcher.checkpoint(CARD)
    assert (again.origin, again.path, again.pin) == ("cache", found.path, found.pin)
    assert server.asked[DRIVE] == 1
    assert left_over(fetcher) == []


def test_conversion_gives_the_same_bytes_each_time(server: Host, fetcher: Fetcher, tmp_path: Path) -> None:
    other = replace(fetcher, places=Places(tmp_path / "elsewhere"))
    assert fetcher.checkpoint(CARD).pin.safetensors == other.checkpoint(CARD).pin.safetensors


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("nest", [None, "state_dict", "last", "model"])
def test_the_forms_in_which_checkpoints_are_published_can_be_read(
    server: Host, fetcher: Fetcher, nest: str | None, legacy: bool
) -> None:
    state = weights()
    server.serve(DRIVE, content(saved(state if nest is None else {nest: state}, legacy=legacy)))
    assert load_file(fetcher.checkpoint(CARD).path).keys() == state.keys()


def test_safetensors_from_the_hub_stay_as_they_are(server: Host, fetcher: Fetcher) -> None:
    data = save(weights())
    server.serve("/doe/careful/resolve/v1/model.safetensors", content(data))
    card = CARD.model_copy(update={"google_drive": (), "hugging_face": "doe/careful@v1/model.safetensors"})
    assert fetcher.checkpoint(card).path.read_bytes() == data


@pytest.mark.parametrize("name", ["careful@v1/f", "doe/careful/f", "doe/careful@v1/../../f", "", "doe/careful@v1/a b"])
def test_a_place_on_the_hub_is_written_in_one_way(name: str) -> None:
    with pytest.raises(NotFound, match="owner/repository@revision/path"):
        hub_source(name)


@pytest.mark.slow
def test_members_of_an_ensemble_are_put_together(server: Host, fetcher: Fetcher) -> None:
    card = PublishedCard(
        id="Three",
        dataset="cifar10",
        threat_model="Linf",
        title="Three networks",
        module="resnet",
        network="ResNetEnsemble",
        arguments={"normalization": "imagenet"},
        parameters=1,
        google_drive=("a", "b", "c"),
    )
    state = build_published(card, 3).state_dict()
    members: list[dict[str, Tensor]] = [{}, {}, {}]
    for name, tensor in state.items():
        _, number, key = name.split(".", 2)
        members[int(number)][key] = tensor
    server.serve(DRIVE, in_turn(*(content(saved(member)) for member in members)))
    found = fetcher.checkpoint(card)
    assert len(found.pin.sources) == 3
    assert all(torch.equal(tensor, state[name]) for name, tensor in load_file(found.path).items())


def test_a_file_with_two_state_dicts_gives_both(tmp_path: Path) -> None:
    """As the network that mixes two others was published with its statistics beside it."""
    files = [tmp_path / "a.pt", tmp_path / "b.pt"]
    files[0].write_bytes(saved({"w": torch.zeros(1)}))
    files[1].write_bytes(
        saved({"model": {"w": torch.ones(2)}, "bn": {"running_mean": torch.full((1,), 3.0)}, "epoch": 1})
    )
    found = load_file(convert_published(files, tmp_path, ["model", "bn"]))
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "models.0.w": [0.0],
        "models.1.model.w": [1.0, 1.0],
        "models.1.bn.running_mean": [3.0],
    }
    with pytest.raises(InvalidCheckpoint, match="no dictionary under 'policy'"):
        convert_published(files, tmp_path, ["policy"])


CONFIRM = b"""<!DOCTYPE html><html><body><p>Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="/confirmed" method="get"><input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="abc"><input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="12-34"></form></body></html>"""


def test_a_large_file_is_confirmed_once(server: Host, fetcher: Fetcher) -> None:
    server.serve(DRIVE, page(CONFIRM))
    server.serve("/confirmed", content(PUBLISHED))
    assert fetcher.checkpoint(CARD).origin == "source"
    assert (server.asked[DRIVE], server.asked["/confirmed"]) == (1, 1)


def test_a_confirmation_that_leads_to_another_page_ends(server: Host, fetcher: Fetcher) -> None:
    server.serve(DRIVE, page(CONFIRM))
    server.serve("/confirmed", page(CONFIRM))
    with pytest.raises(HtmlInstead):
        fetcher.checkpoint(CARD)
    assert sum(server.asked.values()) == 2


def test_a_form_that_leads_elsewhere_is_not_followed_without_https(server: Host, fetcher: Fetcher) -> None:
    server.serve(DRIVE, page(CONFIRM.replace(b"/confirmed", b"http://example.org/confirmed")))
    with pytest.raises(InvalidInput, match="https"):
        fetcher.checkpoint(CARD)


@pytest.mark.parametrize("action", [b"https://[x", b"//["])
def test_a_form_without_an_address_is_a_page_like_others(server: Host, fetcher: Fetcher, action: bytes) -> None:
    server.serve(DRIVE, page(CONFIRM.replace(b"/confirmed", action)))
    with pytest.raises(HtmlInstead):
        fetcher.checkpoint(CARD)


def test_other_pages_are_no_weights(server: Host, fetcher: Fetcher) -> None:
    server.serve(DRIVE, page())
    with pytest.raises(HtmlInstead, match="HTML page"):
        fetcher.checkpoint(CARD)
    assert stored(fetcher) == {}


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("evil",))


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights/data.pkl", b"0" * 200_000_000)
    return file.getvalue()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "code": lambda: saved({"state_dict": weights(), "evil": Evil()}),
    "old code": lambda: saved({"state_dict": weights(), "evil": Evil()}, legacy=True),
    "noise": lambda: bytes(range(7, 200)) * 50,
    "a bomb": bomb,
    "half a file": lambda: PUBLISHED[: len(PUBLISHED) // 2],
    "a key too few": lambda: saved(dict(list(weights().items())[1:])),
    "a key too many": lambda: saved(weights() | {"backdoor": torch.ones(3)}),
    "another shape": lambda: saved(weights() | {"conv1.weight": torch.ones(3)}),
    "no number": lambda: saved({name: tensor * torch.nan for name, tensor in weights().items()}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_does_not_fit_is_neither_kept_nor_pinned_nor_run(
    server: Host, fetcher: Fetcher, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.serve(DRIVE, content(HOSTILE[name]()))
    with pytest.raises(InvalidCheckpoint):
        fetcher.checkpoint(CARD)
    assert not (tmp_path / "evil").exists()
    assert (stored(fetcher), left_over(fetcher)) == ({}, [])
    server.serve(DRIVE, content(PUBLISHED))
    assert fetcher.checkpoint(CARD).origin == "source"


def test_another_file_than_was_pinned_is_never_taken(server: Host, fetcher: Fetcher) -> None:
    first = fetcher.checkpoint(CARD)
    first.path.unlink()
    server.serve(DRIVE, content(saved(as_published(seed=2))))
    with pytest.raises(InvalidCheckpoint, match=first.pin.sources[0]) as failed:
        fetcher.checkpoint(CARD)
    assert failed.value.detail is not None
    assert "another file than was verified" in failed.value.detail.remedy
    assert (stored(fetcher), left_over(fetcher)) == ({}, [])
    server.serve(DRIVE, content(PUBLISHED))
    assert fetcher.checkpoint(CARD).pin == first.pin


def test_a_damaged_file_in_the_cache_is_fetched_again(server: Host, fetcher: Fetcher) -> None:
    first = fetcher.checkpoint(CARD)
    first.path.write_bytes(first.path.read_bytes()[:-1] + b"!")
    again = fetcher.checkpoint(CARD)
    assert (again.origin, again.pin) == ("source", first.pin)


def test_pins_that_come_along_go_before_the_users(
    server: Host, fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = fetcher.checkpoint(CARD).pin.model_dump(mode="json")
    packaged = tmp_path / "packaged.json"
    packaged.write_text(json.dumps({NAME: pin | {"sources": ["0" * 64], "safetensors": "1" * 64}}))
    monkeypatch.setattr(locking, "PACKAGED", packaged)
    with pytest.raises(InvalidCheckpoint, match="0" * 64):
        fetcher.checkpoint(CARD)


def test_a_damaged_lock_file_is_told_and_not_taken_for_an_empty_one(server: Host, fetcher: Fetcher) -> None:
    fetcher.checkpoint(CARD)
    (fetcher.places.cache / "zoo" / "zoo.lock.json").write_text('{"x": 1')
    with pytest.raises(InvalidInput, match=r"zoo\.lock\.json"):
        fetcher.checkpoint(CARD)


def test_the_lock_file_that_comes_along_is_sound() -> None:
    names = {f"{card.dataset}/{card.threat_model}/{card.id}" for card in published()}
    assert locking._read(locking.PACKAGED).keys() <= names


def test_without_a_network_only_the_cache_is_asked(server: Host, fetcher: Fetcher) -> None:
    offline = replace(fetcher, places=replace(fetcher.places, offline=True))
    with pytest.raises(NotFound, match="GAUNTLET_OFFLINE"):
        offline.checkpoint(CARD)
    assert server.asked.total() == 0
    fetcher.checkpoint(CARD)
    assert offline.checkpoint(CARD).origin == "cache"


def test_a_mirror_is_asked_first_and_by_hash(server: Host, fetcher: Fetcher) -> None:
    first = fetcher.checkpoint(CARD)
    data = first.path.read_bytes()
    first.path.unlink()
    server.serve(f"/mirror/{first.pin.safetensors}", content(data))
    mirrored = replace(fetcher, places=replace(fetcher.places, mirror=f"{server.url}/mirror"))
    assert mirrored.checkpoint(CARD).origin == "mirror"
    assert server.asked[DRIVE] == 1


MIRRORED_WRONG = {
    "without it": status(404),
    "that fails": status(500),
    "with another file": content(b"another file"),
    "with a page": page(),
    "that leads elsewhere": status(302, Location="http://example.org/f"),
    "without end": endless,
    "that never begins": dripping_head,
}


@pytest.mark.parametrize("wrong", MIRRORED_WRONG.values(), ids=MIRRORED_WRONG)
def test_a_mirror_that_has_it_not_or_lies_is_passed_over(server: Host, fetcher: Fetcher, wrong: object) -> None:
    first = fetcher.checkpoint(CARD)
    first.path.unlink()
    server.serve(f"/mirror/{first.pin.safetensors}", wrong)  # type: ignore[arg-type]
    places = replace(fetcher.places, mirror=f"{server.url}/mirror")
    began = time.monotonic()
    found = replace(fetcher, places=places, patience=replace(QUICK, window_s=0.5)).checkpoint(CARD)
    assert (found.origin, found.pin) == ("source", first.pin)
    assert time.monotonic() - began < 10
    assert left_over(fetcher) == []


def test_threads_that_ask_at_once_fetch_it_once(server: Host, fetcher: Fetcher) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: fetcher.checkpoint(CARD), range(8)))
    assert len({one.pin.safetensors for one in found}) == 1
    assert sorted(one.origin for one in found) == ["cache"] * 7 + ["source"]
    assert server.asked[DRIVE] == 1


PROGRAM = """
import sys
from pathlib import Path
from model_zoo.downloads.fetching import Fetcher
from model_zoo.downloads.places import Places
from model_zoo.downloads.sources import Hosts
from model_zoo.registry import PublishedCard
card = PublishedCard.model_validate_json(sys.argv[3])
found = Fetcher(Places(Path(sys.argv[1])), Hosts(drive=sys.argv[2])).checkpoint(card)
print(found.origin, found.pin.safetensors)
"""


def in_a_process(fetcher: Fetcher) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(fetcher.places.cache), fetcher.hosts.drive, CARD.model_dump_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_that_ask_at_once_fetch_it_once(server: Host, fetcher: Fetcher) -> None:
    asking = [in_a_process(fetcher) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].split() for process in asking]
    assert sorted(origin for origin, _ in said) == ["cache", "source"]
    assert server.asked[DRIVE] == 1


def test_a_process_that_is_killed_leaves_what_the_next_goes_on_from(server: Host, fetcher: Fetcher) -> None:
    begun = threading.Event()

    def slow(handler: object) -> None:
        handler.head(200, Content_Length=len(PUBLISHED), ETag='"one"')  # type: ignore[attr-defined]
        handler.wfile.write(PUBLISHED[:50_000])  # type: ignore[attr-defined]
        handler.wfile.flush()  # type: ignore[attr-defined]
        begun.set()
        time.sleep(5)

    server.serve(DRIVE, in_turn(slow, content(PUBLISHED)))
    process = in_a_process(fetcher)
    assert begun.wait(30)
    part = fetcher.places.cache / "zoo" / "partial" / f"{NAME.replace('/', '+')}-0.part"
    deadline = time.monotonic() + 10
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert fetcher.checkpoint(CARD).origin == "source"
    assert server.ranges[-1] is not None
    assert left_over(fetcher) == []


def test_what_a_killed_process_had_whole_is_not_fetched_again(server: Host, fetcher: Fetcher) -> None:
    zoo = fetcher.places.cache / "zoo"
    whole = zoo / "partial" / f"{NAME.replace('/', '+')}-0"
    half = zoo / "converting" / NAME.replace("/", "+") / "0.safetensors"
    for path, data in ((whole, PUBLISHED), (half, b"half of it")):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    first = fetcher.checkpoint(CARD)
    assert (first.origin, server.asked.total(), left_over(fetcher)) == ("source", 0, [])
    first.path.unlink()
    whole.write_bytes(saved(as_published(seed=2)))  # not what was pinned meanwhile
    assert fetcher.checkpoint(CARD).pin == first.pin
    assert (server.asked[DRIVE], left_over(fetcher)) == (1, [])


FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
"""


@pytest.mark.parametrize("room", [1_000, len(PUBLISHED) - 1, 300_000])
def test_without_room_nothing_is_kept_as_if_it_were_whole(server: Host, fetcher: Fetcher, room: int) -> None:
    """While it is fetched, at its very end, and while what was fetched is converted."""
    if room == 300_000:
        whole = fetcher.places.cache / "zoo" / "partial" / f"{NAME.replace('/', '+')}-0"
        whole.parent.mkdir(parents=True)
        whole.write_bytes(PUBLISHED)
    arguments = [str(fetcher.places.cache), fetcher.hosts.drive, CARD.model_dump_json(), str(room)]
    command = [sys.executable, "-c", FULL_DISK + PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "DownloadFailed" in done.stderr.splitlines()[-1]
    assert "File too large" in done.stderr.splitlines()[-1]
    assert stored(fetcher) == {}
    assert not (fetcher.places.cache / "zoo" / "zoo.lock.json").exists()
    assert fetcher.checkpoint(CARD).origin == "source"
    assert left_over(fetcher) == []


def test_a_cache_that_cannot_be_written_is_told(server: Host, fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadFailed, match=r"cache: .*file") as failed:
        replace(fetcher, places=Places(tmp_path / "file")).checkpoint(CARD)
    assert failed.value.detail is not None
    assert "GAUNTLET_CACHE" in failed.value.detail.remedy


@pytest.mark.parametrize(
    ("environment", "field"),
    [
        ({"GAUNTLET_OFFLINE": "perhaps"}, "GAUNTLET_OFFLINE"),
        ({"GAUNTLET_ZOO_MIRROR": "http://example.org"}, "GAUNTLET_ZOO_MIRROR"),
        ({"GAUNTLET_ZOO_MIRROR": "example.org"}, "GAUNTLET_ZOO_MIRROR"),
    ],
)
def test_variables_that_cannot_be_used_are_named(environment: Mapping[str, str], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        Places.from_environment(environment)


def test_variables_say_where() -> None:
    assert Places.from_environment({"HOME": "/h"}).offline is False
    found = Places.from_environment(
        {"GAUNTLET_CACHE": "/c", "GAUNTLET_OFFLINE": "1", "GAUNTLET_ZOO_MIRROR": "https://example.org/zoo/"}
    )
    assert found == Places(Path("/c"), True, "https://example.org/zoo")
    assert Places.from_environment({"XDG_CACHE_HOME": "/x"}).cache == Path("/x/gauntlet")


def test_a_card_without_a_place_says_so() -> None:
    with pytest.raises(NotFound, match="no place"):
        sources_of(CARD.model_copy(update={"google_drive": ()}))


def test_cards_of_the_model_zoo_have_a_licence_and_most_a_place() -> None:
    unknown = [card.id for card in published() if not (card.licence and card.permission)]
    # Their authors publish them and say nothing; of its weights torchvision says that they may have terms of their own.
    assert unknown == ["Pang2020Bag", "ZhangWang2019Defense", "Standard_R50", "AlexNet", "Standard_R50"]
    placeless = [card.id for card in published() if not (card.google_drive or card.hugging_face or card.url)]
    assert len(placeless) < len(published()) / 10


@pytest.mark.parametrize("licence", ["CC-BY-NC-SA-4.0", None])
def test_a_licence_that_is_not_permissive_is_told_once(licence: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licences, "_told", set())
    card = CARD.model_copy(update={"licence": licence})
    with pytest.warns(LicenceNotice, match=licence or "without a stated licence"):
        tell_licence(card)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_licence(card)
        tell_licence(CARD)


@pytest.mark.parametrize(
    ("beginning", "boards", "licence"),
    [
        ("Hendrycks2019Using", {"cifar10/Linf"}, "Apache-2.0"),
        ("Pang2020Boosting", {"cifar10/Linf"}, "Apache-2.0"),
        ("Gowal2020Uncovering", None, "Apache-2.0"),
        ("Rebuffi2021Fixing", None, "Apache-2.0"),
        ("Gowal2021Improving", None, "Apache-2.0"),
        ("Ding2020MMA", None, "CC-BY-NC-SA-4.0"),
        ("Rony2019Decoupling", None, "BSD-3-Clause"),
    ],
)
def test_licences_are_those_that_robustbench_states(beginning: str, boards: set[str] | None, licence: str) -> None:
    """Its LICENSE lists these; all other weights of its zoo are under the MIT licence."""
    cards = [card for card in published() if card.id.startswith(beginning)]
    cards = [card for card in cards if boards is None or f"{card.dataset}/{card.threat_model}" in boards]
    assert {card.licence for card in cards} == {licence}


def test_a_licence_is_told_where_the_model_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(licences, "_told", set())
    monkeypatch.setenv("GAUNTLET_OFFLINE", "1")
    monkeypatch.setenv("GAUNTLET_CACHE", str(tmp_path))
    with pytest.warns(LicenceNotice) as told, pytest.raises(NotFound):
        load_model("Ding2020MMA", dataset="cifar10", threat_model="Linf")
    assert [one.filename for one in told] == [__file__]


def test_no_network_and_no_server_is_an_error_of_the_family(fetcher: Fetcher) -> None:
    with host() as gone:
        nowhere = gone.url
    with pytest.raises(GauntletError) as failed:
        replace(fetcher, hosts=Hosts(drive=nowhere)).checkpoint(CARD)
    assert isinstance(failed.value, DownloadFailed)
    assert failed.value.code == "download_failed"
