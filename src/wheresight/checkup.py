"""What is installed and what this machine has; a self-check on the pocket model."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from wheresight import __version__
from wheresight.errors import WheresightError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# What each extra is for; packages come from what is installed. `dev` is for developers alone.
EXTRAS = {
    "train": "wheresight train: adapters that are trained under an intervention",
    "ray": "--executor ray: many workers on one or several machines",
    "inspect": "wheresight's tasks inside Inspect",
    "lmms-eval": "wheresight's models inside lmms-eval",
    "docs": "make docs: these pages as a site",
}
HUB = "https://huggingface.co"


class Model(BaseModel):
    """Base: fields are fixed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Package(Model):
    """A package that wheresight needs."""

    name: str
    version: str | None = Field(description="Null if it is not installed.")
    problem: str = Field(default="", description="Why it cannot be used; empty if it can.")


class Extra(Model):
    """Packages that only some verbs need."""

    name: str
    what: str = Field(description="What it is for.")
    missing: list[str] = Field(description="Its packages that are not installed or too old.")
    install: str = Field(description="How to get it; empty if it is there.")


class Device(Model):
    """Where a model can run."""

    name: str
    memory_bytes: int
    can: str = Field(description="Cores, or what its arithmetic can do.")


class FamilyCheck(Model):
    """A family of models, with the installed transformers."""

    name: str
    problem: str = Field(default="", description="Why it does not work; empty if it does.")


class Check(Model):
    """One thing that was tried."""

    name: str
    ok: bool
    said: str
    needed: bool = Field(description="Can wheresight not be used without it?")


class Checkup(Model):
    """All of it."""

    wheresight: str
    python: str
    system: str
    packages: list[Package]
    extras: list[Extra]
    devices: list[Device]
    families: list[FamilyCheck]
    checks: list[Check]
    usable: bool = Field(description="All packages are there and every needed check went well.")

    def version_of(self, package: str) -> str:
        """A package's version, or that it is missing."""
        return next((p.version for p in self.packages if p.name == package), None) or "missing"


def check_up(*, online: bool = False) -> Checkup:
    """Look at everything; nothing is changed, and without `online` nothing leaves the machine."""
    checks = [_cache(), _torchvision()]
    try:
        needed, extras = _requirements()
    except importlib.metadata.PackageNotFoundError:
        needed, extras = [], {}
        said = "It is imported from a folder, so what it needs is not known: pip install it."
        checks.append(Check(name="installation", ok=False, said=said, needed=False))
    packages = [_package(one) for one in needed]
    devices: list[Device] = []
    families: list[FamilyCheck] = []
    broken = [one.name for one in packages if one.problem]
    if broken:
        checks.append(
            Check(
                name="self-check",
                ok=False,
                said=f"It was left out: {', '.join(broken)} cannot be used.",
                needed=True,
            )
        )
    else:
        devices, families = _devices(), _families()
        checks.append(_self_check())
    if online:
        checks.append(_hub())
    return Checkup(
        wheresight=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages=packages,
        extras=[_extra(name, extras[name]) for name in EXTRAS if name in extras],
        devices=devices,
        families=families,
        checks=checks,
        usable=not broken and all(one.ok for one in checks if one.needed),
    )


def _requirements() -> tuple[list[Requirement], dict[str, list[Requirement]]]:
    """What the installed wheresight says that it needs here, and what each extra does."""
    from packaging.requirements import Requirement

    told = importlib.metadata.metadata("wheresight")
    lines = [Requirement(line) for line in told.get_all("Requires-Dist") or ()]

    def wanted(extra: str) -> list[Requirement]:
        return [one for one in lines if one.marker is None or one.marker.evaluate({"extra": extra})]

    needed = wanted("")
    plain = {one.name for one in needed}
    extras = {
        str(name): [one for one in wanted(str(name)) if one.name not in plain]
        for name in told.get_all("Provides-Extra") or ()
    }
    return needed, extras


def _package(wanted: Requirement) -> Package:
    get = f"pip install '{wanted.name}{wanted.specifier}'"
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return Package(name=wanted.name, version=None, problem=get)
    fits = wanted.specifier.contains(version, prereleases=True)
    problem = "" if fits else f"{wanted.specifier} is needed: {get}"
    return Package(name=wanted.name, version=version, problem=problem)


def _extra(name: str, packages: list[Requirement]) -> Extra:
    missing = [one.name for one in map(_package, packages) if one.problem]
    install = f"pip install 'wheresight[{name}]'" if missing else ""
    return Extra(name=name, what=EXTRAS[name], missing=missing, install=install)


def _devices() -> list[Device]:
    import torch

    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, ValueError, OSError):  # not every system has these
        memory, cores = 0, os.cpu_count() or 1
    found = [Device(name="cpu", memory_bytes=memory, can=f"{cores} cores")]
    if torch.cuda.is_available():
        flash = importlib.util.find_spec("flash_attn") is not None
        for number in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(number)
            can = [facts.name]
            can.append("bfloat16" if facts.major >= 8 else "no bfloat16: use --dtype float16")
            if facts.major < 8:
                can.append("too old for flash_attention_2")
            else:
                can.append(
                    "flash_attention_2"
                    if flash
                    else "flash_attention_2: flash-attn is not installed"
                )
            found.append(
                Device(name=f"cuda:{number}", memory_bytes=facts.total_memory, can=", ".join(can))
            )
    elif torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        found.append(Device(name=str(kind), memory_bytes=0, can="an accelerator that torch sees"))
    return found


def _families() -> list[FamilyCheck]:
    import transformers

    from wheresight.lvlm.families import all_families

    found = []
    for name, family in all_families().items():
        problem = ""
        if not hasattr(transformers, family.model_class):
            problem = f"transformers {transformers.__version__} has no {family.model_class}"
        else:
            try:
                getattr(transformers, family.model_class)
            except Exception as error:  # its module is imported now, and may raise anything
                problem = f"{family.model_class} cannot be imported: {_first(error)}"
        found.append(FamilyCheck(name=name, problem=problem))
    return found


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _torchvision() -> Check:
    there = importlib.util.find_spec("torchvision") is not None
    said = (
        "Models with a video processor load with all of it."
        if there
        else "Models with a video processor are shown still pictures only, which is all that is "
        "needed here."
    )
    return Check(name="torchvision", ok=there, said=said, needed=False)


def _cache() -> Check:
    """The folder that models are downloaded into, by huggingface_hub's rules."""
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE)
    here = next(folder for folder in (place, *place.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=here):
            pass
    except OSError as error:
        said = f"{place} cannot be written ({_first(error)}); set HF_HOME to another folder."
        return Check(name="model cache", ok=False, said=said, needed=False)
    return Check(name="model cache", ok=True, said=f"{place} can be written.", needed=False)


def _hub() -> Check:
    import urllib.error
    import urllib.request

    address = os.environ.get("HF_ENDPOINT", HUB)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        said = "HF_HUB_OFFLINE is set, so nothing is downloaded."
        return Check(name="model hub", ok=False, said=said, needed=False)
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=5):
            pass
    except urllib.error.HTTPError as error:  # it answers, if not as hoped
        ok = error.code < 500
        return Check(name="model hub", ok=ok, said=f"{address} answers {error.code}.", needed=False)
    except (OSError, ValueError) as error:
        said = (
            f"{address} cannot be reached ({_first(error)}). The pocket model, skeletons and "
            "folders need no network."
        )
        return Check(name="model hub", ok=False, said=said, needed=False)
    return Check(name="model hub", ok=True, said=f"{address} answers.", needed=False)


def _self_check() -> Check:
    """Is the pocket model under `none` the stock model bit for bit, and after an intervention?"""
    begin = time.perf_counter()
    try:
        same, changed = _compare()
    except (WheresightError, OSError, RuntimeError) as error:
        return Check(name="self-check", ok=False, said=_first(error), needed=True)
    ok = same and changed
    said = (
        f"The pocket model answers; under none, and after bapa, bit for bit as stock transformers "
        f"({time.perf_counter() - begin:.1f} s)."
        if ok
        else "The pocket model under none differs from stock transformers."
        if not same
        else "An intervention on the pocket model changed nothing."
    )
    return Check(name="self-check", ok=ok, said=said, needed=True)


def _compare() -> tuple[bool, bool]:
    """Logits under none, and after an intervention, are stock's; under one they are not."""
    import torch
    from PIL import Image, ImageDraw
    from transformers.utils import logging

    import wheresight
    from wheresight.lvlm.encoding import Encoder
    from wheresight.lvlm.preprocessing import Query

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        loaded = wheresight.load("pocket", device="cpu")
    finally:
        if bars:
            logging.enable_progress_bar()
    picture = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(picture).ellipse((8, 8, 40, 40), fill="red")
    encoder = Encoder(loaded)
    asked = encoder.encode([Query(picture, ("Is there a red circle?",))])
    inputs = encoder.inputs(asked, asked.rows)
    with torch.inference_mode():
        stock = loaded.model(**inputs).logits
        with wheresight.intervene(loaded, "none"):
            none = loaded.model(**inputs).logits
        with wheresight.intervene(loaded, "bapa"):
            moved = loaded.model(**inputs).logits
        after = loaded.model(**inputs).logits
    return torch.equal(stock, none) and torch.equal(stock, after), not torch.equal(stock, moved)
