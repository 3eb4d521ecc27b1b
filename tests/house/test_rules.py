"""Layout, names, sizes and documents agree with the rules of the house."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import calling
import hitsieve
from hitsieve.pipeline.watch import ScicatSettings, WatchSettings
from hitsieve.settings import LiveSettings, RunSettings, ServeSettings, Settings
from hitsieve.testing import SimulateSettings, StreamSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "src" / "hitsieve"
REFERENCE = PROJECT / "docs" / "reference"
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py."""
    spec = importlib.util.spec_from_file_location("generate", PROJECT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_import_contract(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", "pyproject.toml"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert " 0 broken" in result.stdout


def test_import_contract_leaves_no_room_out() -> None:
    """Who may import a package either does, or is told not to: a room that a list forgets could."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = [each for each in project["tool"]["importlinter"]["contracts"] if each["type"] == "forbidden"]
    imports = {
        path.relative_to(PACKAGE).with_suffix("").parts: set(
            re.findall(r"^ *(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        )
        for path in MODULES
    }
    for contract in contracts:
        packages = set(contract["forbidden_modules"])
        if packages in ({"hitsieve.testing"}, {"pydantic"}):
            continue
        told = {tuple(name.split(".")[1:]) for name in contract["source_modules"]}
        taken_apart = {room for room, *modules in told if modules}
        room_of = {parts: parts[: 2 if parts[0] in taken_apart else 1] for parts in imports if parts[-1] != "__init__"}
        users = {room for parts, room in room_of.items() if packages & imports[parts]}
        rooms = set(room_of.values())
        assert rooms - told - users <= {("testing",)}, contract["name"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_small_and_named_after_its_subject(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert not {"utils", "common", "helpers", "tools", "manager"} & set(path.with_suffix("").parts)


def test_public_names() -> None:
    assert len(hitsieve.__all__) <= 15
    for name in hitsieve.__all__:
        assert getattr(hitsieve, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = hitsieve.no_such_name


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import hitsieve, sys; print({'numpy', 'h5py', 'pyarrow', 'pydantic'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_one_version() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    crate = tomllib.loads((PROJECT / "rust" / "Cargo.toml").read_text(encoding="utf-8"))["package"]
    versions = {hitsieve.__version__, importlib.metadata.version("hitsieve"), project["version"], crate["version"]}
    assert len(versions) == 1
    assert f"## [{hitsieve.__version__}]" in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


def models(model: type[Settings]) -> list[type[Settings]]:
    inner = [field.annotation for field in model.model_fields.values()]
    rooms = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, Settings)]
    return [model, *rooms]


@pytest.mark.parametrize(
    "model",
    [
        *models(RunSettings),
        LiveSettings,
        ScicatSettings,
        ServeSettings,
        SimulateSettings,
        StreamSettings,
        WatchSettings,
    ],
    ids=lambda model: model.__name__,
)
def test_settings_are_frozen_documented_and_strict(model: type[Settings]) -> None:
    assert model.model_config["frozen"]
    assert model.model_config["extra"] == "forbid"
    for name, field in model.model_fields.items():
        is_room = isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
        assert field.description or is_room, f"{model.__name__}.{name} has no docstring"


def test_reference_is_what_the_code_says(generate: ModuleType) -> None:
    again = "run: python docs/generate.py"
    assert (REFERENCE / "cli.md").read_text(encoding="utf-8") == generate.cli_page(), again
    assert (REFERENCE / "settings.md").read_text(encoding="utf-8") == generate.settings_page(), again
    assert (REFERENCE / "record.md").read_text(encoding="utf-8") == generate.record_page(), again
    assert (REFERENCE / "checks.md").read_text(encoding="utf-8") == generate.checks_page(), again


def test_sample_settings_are_the_defaults() -> None:
    page = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    sample = page.split("```toml\n")[1].split("```")[0]
    assert RunSettings.model_validate(tomllib.loads(sample)) == RunSettings()
    unset = re.findall(r"^# (\w+) =$", sample, flags=re.MULTILINE)
    assert sorted(unset) == sorted(unset_settings(RunSettings()))


def unset_settings(room: Settings) -> list[str]:
    """Names of the settings of a room, and of rooms in it, that have no default."""
    inside = [unset_settings(value) for _, value in room if isinstance(value, Settings)]
    return [name for name, value in room if value is None] + [name for names in inside for name in names]


def test_help_says_what_the_reference_says(generate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flag of the reference is in the help of its command, and every flag of the help in the reference."""
    page = generate.cli_page()
    monkeypatch.setenv("COLUMNS", "200")
    for section in page.split("\n## hitsieve ")[1:]:
        name = section.split("\n", maxsplit=1)[0]
        # The first cell of a row holds the flags.
        cells = re.findall(r"^\| (`-[^|]*) \|", section, flags=re.MULTILINE)
        written = set(re.findall(r"`(--?[a-z0-9-]+)`", " ".join(cells)))
        shown = calling.hitsieve(name, "--help").stdout
        said = set(
            re.findall(r"(?:^|(?<= ))--?[a-z][a-z0-9-]*(?= |$)", "\n".join(_flag_columns(shown)), flags=re.MULTILINE)
        )
        assert written == said - {"-h"}, name


def _flag_columns(help_text: str) -> list[str]:
    return [match[1] for match in re.finditer(r"^│ +(?:\* +)?(-.*?)(?:  |│)", help_text, flags=re.MULTILINE)]


def test_exit_codes_are_documented() -> None:
    page = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)}
    from hitsieve import errors
    from hitsieve.cli.commands import HELP
    from hitsieve.cli.main import BROKEN_PIPE, INTERRUPTED, TERMINATED

    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert documented == raised | {0, BROKEN_PIPE, INTERRUPTED, TERMINATED}
    assert documented == {int(code) for code in re.findall(r"\b\d+\b", HELP.split("Exit codes:")[1])}


def documents() -> list[Path]:
    return sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", documents(), ids=name_of)
def test_links_of_documents_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_pages_install_what_can_be_installed() -> None:
    """Each extra that a page names is one, and the README names all but those that others bring."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    named = {
        page: set(",".join(re.findall(r"'\.\[([a-z,-]+)\]'", page.read_text(encoding="utf-8"))).split(",")) - {""}
        for page in documents()
    }
    assert {page: wrong for page, names in named.items() if (wrong := names - extras)} == {}
    assert named[PROJECT / "README.md"] >= extras - {"dev", "live", "scicat-fake"}


@pytest.mark.parametrize("page", sorted((PROJECT / "docs").rglob("*.md")), ids=name_of)
def test_every_page_is_listed(page: Path) -> None:
    """A page is linked from the index, or from the README of its folder, which is."""
    index = PROJECT / "docs" / "index.md"
    lists = index if page in (index, page.with_name("README.md")) else page.with_name("README.md")
    listed = [PROJECT / "README.md"] if page == index else [lists if lists.exists() else index]
    targets = {
        (home.parent / target).resolve()
        for home in listed
        for target in re.findall(r"\]\(([^)#\s]+)", home.read_text(encoding="utf-8"))
    }
    assert page in targets


def test_no_room_reaches_into_another_by_a_side_door() -> None:
    """importlib.import_module and relative imports would pass the import contract by."""
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        relative = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
        assert relative == [], name_of(path)
        if path != PACKAGE / "__init__.py":
            assert "import_module" not in path.read_text(encoding="utf-8"), name_of(path)
