from __future__ import annotations

import os
import sys
import warnings

import pytest

from models.convert.quiet import quiet
from models.convert.source import ConversionError


def talk() -> None:
    print("python speaks")
    print("python complains", file=sys.stderr)
    os.write(1, b"native code speaks\n")
    os.write(2, b"native code complains\n")
    warnings.warn("a warning", UserWarning, stacklevel=1)


def test_nothing_is_heard_and_everything_is_heard_again_afterwards(capfd):
    with quiet("talking"):
        talk()
    assert capfd.readouterr() == ("", "")
    print("after")
    os.write(2, b"native after\n")
    assert capfd.readouterr() == ("after\n", "native after\n")


def test_a_failure_says_what_failed_why_and_the_last_words(capfd):
    with pytest.raises(ConversionError, match="talking failed: no such layer\nthe converter's last words:\n") as caught:
        fail(RuntimeError("no such layer"))
    assert "native code complains" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert capfd.readouterr() == ("", "")


def test_a_failure_without_words_names_its_kind():
    with pytest.raises(ConversionError, match=r"^talking failed: KeyError$"), quiet("talking"):
        raise KeyError


@pytest.mark.parametrize("error", [ConversionError("said already"), KeyboardInterrupt(), OSError(28, "full"), MemoryError()])
def test_what_is_said_already_or_not_the_converters_fault_passes(error):
    with pytest.raises(type(error)) as caught:
        fail(error)
    assert caught.value is error


def fail(error: BaseException) -> None:
    with quiet("talking"):
        talk()
        raise error
