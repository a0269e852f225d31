"""Artefacts made from their commit, each by a user of its own in a server that is thrown away.

What a recipe runs is somebody else's code: it runs unprivileged, sees nothing of this machine, and
what it made is judged like any archive that is offered. Every word of a recipe is one argument of
one program; the pattern of its schema has seen it before.
"""

from __future__ import annotations

import hashlib
import secrets
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from owc_deploy.catalogue.add import AddRequest, AddResult, add_release
from owc_deploy.catalogue.archive import MAXIMUM_UNPACKED_BYTES
from owc_deploy.catalogue.models import Block, BlockRelease
from owc_deploy.catalogue.source import BlockSource, Place, Recipe
from owc_deploy.errors import LabError, OwcError
from owc_deploy.lab.commands import run_command, tail
from owc_deploy.lab.servers import Lab, Narrate, lab_down, lab_up

_SERVER = "builder"
_PACKAGES = ("git", "composer", "unzip")
_ALWAYS_PRUNED = (".git", "node_modules")
_FETCH_TIMEOUT_SECONDS = 600
_COMMAND_TIMEOUT_SECONDS = 1800
_CHUNK_BYTES = 1 << 20
_LINES_SHOWN = 5

# What these have in common goes over as it is; the rest is said one by one.
_ASKED = frozenset(field.name for field in fields(AddRequest))
_RELEASE_DETAILS = (_ASKED & frozenset(field.name for field in fields(BlockRelease))) - {
    "sha256",
    "commit",
    "folder",
    "main_file",
}
_BLOCK_DETAILS = (_ASKED & frozenset(field.name for field in fields(Block))) - {
    "folder",
    "main_file",
}


class RecipeError(LabError):
    """A recipe could not be followed to its end; nothing was added to the catalogue."""

    reference = "recipe"


@dataclass(frozen=True, slots=True)
class Job:
    """One release to build."""

    source: BlockSource
    release: BlockRelease


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: what was recorded, or why nothing was."""

    job: Job
    result: AddResult | None
    error: OwcError | None = None


def build_jobs(jobs: Sequence[Job], folder: Path, narrate: Narrate) -> Iterator[Outcome]:
    """Build releases one by one and add them to the catalogue in `folder`.

    One that fails leaves the others alone. The server is gone at the end, however it ends.

    Raises LabError when there can be no server on this machine.
    """
    packages = [*_PACKAGES, *sorted({p for job in jobs for p in _recipe(job).packages})]
    with _workshop(packages, narrate) as lab:
        for number, job in enumerate(jobs, start=1):
            try:
                yield Outcome(job, _build(lab, f"builder{number}", job, folder, narrate))
            except OwcError as error:
                yield Outcome(job, None, error)


def request_of(job: Job, archive: Path, commit: str) -> AddRequest:
    """Return what the catalogue is asked to record of a folder that was built."""
    block, release = job.source.block, job.release
    block_folder, main_file = block.place_of(release)
    return AddRequest(
        archive=archive,
        folder=block_folder or None,
        main_file=main_file or None,
        commit=commit,
        **{name: getattr(block, name) for name in _BLOCK_DETAILS},
        **{name: getattr(release, name) for name in _RELEASE_DETAILS},
    )


def _recipe(job: Job) -> Recipe:
    if job.source.recipe is None:
        raise RecipeError(
            f"{job.source.block.name} has no recipe: bring its artefact",
            hint=f"owc-deploy catalogue add ZIP --name {job.source.block.name}",
        )
    return job.source.recipe


@contextmanager
def _workshop(packages: Sequence[str], narrate: Narrate) -> Iterator[Lab]:
    name = f"build-{secrets.token_hex(4)}"
    try:
        lab = lab_up(name, (_SERVER,), narrate=narrate)
        narrate(f"installing {', '.join(packages)}")
        install = ("apt-get", "install", "--yes", "--no-install-recommends", *packages)
        _run(
            lab,
            ("env", "DEBIAN_FRONTEND=noninteractive", *install),
            "the tools of the recipes cannot be installed",
        )
        yield lab
    finally:
        lab_down(name)


def _build(lab: Lab, user: str, job: Job, folder: Path, narrate: Narrate) -> AddResult:
    recipe, block = _recipe(job), job.source.block
    place = job.source.places[job.release.version]
    if not (place.tag or place.commit):
        raise RecipeError(
            f"neither a tag nor a commit of {block.name} {job.release.version} is known",
            hint=f"find it, and write it in {job.source.document.file}",
        )
    narrate(f"{block.name} {job.release.version}: fetching {job.source.repository}")
    _run(
        lab,
        ("useradd", "--create-home", "--key", "HOME_MODE=0700", user),
        "no user can be made to build as",
    )
    builder = _Builder(lab, user)
    commit = _fetch(builder, job.source.repository, place)
    top = f"source/{recipe.subfolder}" if recipe.subfolder else "source"
    if recipe.composer:
        narrate(f"{block.name} {job.release.version}: composer install")
        _composer(builder, f"{block.name} {commit}", top)
    for words in recipe.commands:
        narrate(f"{block.name} {job.release.version}: {' '.join(words)}")
        builder.run(words, f"`{words[0]}` of its recipe failed", "source")
    _prune(builder, recipe, top)
    with tempfile.TemporaryDirectory(prefix="owc-build-") as temporary:
        tree = Path(temporary) / "block"
        builder.bring(top, Path(temporary) / "block.tar", tree)
        return add_release(folder, request_of(job, tree, commit))


@dataclass(frozen=True, slots=True)
class _Builder:
    """Runs programs in a user's home on the server."""

    lab: Lab
    user: str

    @property
    def home(self) -> str:
        return f"/home/{self.user}"

    def words(self, command: Sequence[str], folder: str = "") -> tuple[str, ...]:
        return (
            "runuser",
            "--user",
            self.user,
            "--",
            "env",
            "--ignore-environment",
            f"--chdir={self.home}/{folder}",
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "LANG=C.UTF-8",
            "TZ=UTC",
            f"HOME={self.home}",
            "GIT_TERMINAL_PROMPT=0",
            "COMPOSER_NO_INTERACTION=1",
            *command,
        )

    def run(self, command: Sequence[str], problem: str, folder: str = "") -> str:
        return _run(self.lab, self.words(command, folder), problem)

    def send(self, file: Path, name: str) -> None:
        arguments = self.lab.ssh_arguments(
            _SERVER, ("sudo", "--non-interactive", *self.words(("tee", name)))
        )
        try:
            with file.open("rb") as stream:
                subprocess.run(
                    arguments,
                    stdin=stream,
                    stdout=subprocess.DEVNULL,
                    check=True,
                    timeout=_FETCH_TIMEOUT_SECONDS,
                )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise RecipeError("the repository cannot be copied to the server") from error

    def bring(self, folder: str, archive: Path, tree: Path) -> None:
        """Copy a folder from the server to `tree`; links and devices are refused."""
        words = self.words(("tar", "--create", "--file=-", "."), folder)
        arguments = self.lab.ssh_arguments(_SERVER, ("sudo", "--non-interactive", *words))
        with (
            archive.open("wb") as target,
            subprocess.Popen(arguments, stdout=subprocess.PIPE) as process,
        ):
            stream = process.stdout
            size_bytes = 0
            while stream is not None and (chunk := stream.read(_CHUNK_BYTES)):
                size_bytes += len(chunk)
                if size_bytes > MAXIMUM_UNPACKED_BYTES:
                    process.kill()
                    raise RecipeError(f"it is more than {MAXIMUM_UNPACKED_BYTES >> 20} MB")
                target.write(chunk)
        if process.returncode != 0:
            raise RecipeError("what was built cannot be copied from the server")
        try:
            with tarfile.open(archive) as members:
                members.extractall(tree, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise RecipeError(f"what was built cannot be unpacked: {error}") from error


def _fetch(builder: _Builder, repository: str, place: Place) -> str:
    """Check the commit out in the folder `source`; return it in full."""
    address = repository
    if repository.startswith("/"):
        # A repository of this machine, which the server does not see.
        with tempfile.NamedTemporaryFile(suffix=".bundle") as bundle:
            arguments = ["git", "-C", repository, "bundle", "create", bundle.name, "--all"]
            run_command(arguments, context=f"reading {repository}")
            builder.send(Path(bundle.name), "source.bundle")
        address = f"{builder.home}/source.bundle"
    builder.run(
        ("git", "clone", "--quiet", "--no-checkout", "--", address, "source"),
        f"its source cannot be reached ({repository})",
    )
    found = [
        _commit(builder, reference, words)
        for reference, words in (
            (f"refs/tags/{place.tag}" if place.tag else "", f"tag {place.tag}"),
            (place.commit, f"commit {place.commit}"),
        )
        if reference
    ]
    if len(set(found)) != 1:
        raise RecipeError(
            f"tag {place.tag} is {found[0]}, not {place.commit}: it was moved, or one of the two "
            "is wrong"
        )
    builder.run(
        ("git", "checkout", "--quiet", "--detach", found[0]), "it cannot be checked out", "source"
    )
    return found[0]


def _commit(builder: _Builder, reference: str, words: str) -> str:
    return builder.run(
        ("git", "rev-parse", "--verify", "--end-of-options", f"{reference}^{{commit}}"),
        f"the repository has no {words}",
        "source",
    ).strip()


def _composer(builder: _Builder, identity: str, top: str) -> None:
    # Left to itself composer names its classes at random, and no two builds are the same; two
    # blocks of a site may not have the same names either.
    suffix = hashlib.sha256(identity.encode()).hexdigest()[:32]
    options = ("--no-dev", "--no-interaction", "--no-progress", "--optimize-autoloader")
    for words in (
        ("config", "--global", "autoloader-suffix", suffix),
        ("install", *options),
    ):
        builder.run(("composer", *words), "composer could not finish", top)


def _prune(builder: _Builder, recipe: Recipe, top: str) -> None:
    problem = "what is not needed cannot be taken out"
    names = [word for name in _ALWAYS_PRUNED for word in ("-o", "-name", name)][1:]
    tests = ("(", *names, ")", "-prune", "-exec", "rm", "-rf", "--", "{}", "+")
    builder.run(("find", ".", *tests), problem, top)
    if recipe.prune:
        builder.run(("rm", "-rf", "--", *recipe.prune), problem, top)


def _run(lab: Lab, command: Sequence[str], problem: str) -> str:
    """Run a program as root; `words` of a builder bring it to its user first."""
    try:
        result = lab.run(
            _SERVER, command, become=True, timeout_seconds=_COMMAND_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RecipeError(
            f"{problem}: it lasted more than {_COMMAND_TIMEOUT_SECONDS} seconds"
        ) from error
    if result.returncode != 0:
        said = tail(result.stdout + result.stderr, _LINES_SHOWN)
        raise RecipeError(problem, context=said or None)
    return result.stdout
