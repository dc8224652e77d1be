"""`import acistore`: every public name is there, and costs nothing until it is used."""

import subprocess
import sys

import pytest

import acistore


def test_importing_the_package_loads_no_library() -> None:
    program = (
        "import sys, acistore, acistore.errors, acistore.naming, acistore.config, acistore.cli;"
        "acistore.Config, acistore.ImageName, acistore.ImageID, acistore.AcistoreError, acistore.errors;"
        "print(*{'sqlalchemy', 'httpx', 'lxml', 'gnupg', 'rich', 'click'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize("name", acistore.__all__)
def test_public_name(name: str) -> None:
    value = getattr(acistore, name)
    assert getattr(acistore, name) is value
    assert name in dir(acistore)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Registry'"):
        acistore.__getattr__("Registry")
