"""Optional libraries: the error names the extra; one that is loaded, or stands in for one, is taken as it is."""

import sys
import types

import pytest

from streamlearn._optional import require


def test_a_library_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "not_there", None)
    with pytest.raises(ImportError, match=r"reading needs 'not_there', .* pip install 'streamlearn\[parquet\]'"):
        require("not_there", extra="parquet", purpose="reading")


@pytest.mark.parametrize("stand_in", [types.SimpleNamespace(), types.ModuleType("there")])
def test_what_is_loaded(monkeypatch, stand_in):
    monkeypatch.setitem(sys.modules, "there", stand_in)
    assert require("there", extra="parquet", purpose="reading") is stand_in


def test_a_module_is_waited_for_while_another_thread_loads_it(monkeypatch, tmp_path):
    module = types.ModuleType("half_there")
    module.__spec__ = types.SimpleNamespace(name="half_there", _initializing=True)
    monkeypatch.setitem(sys.modules, "half_there", module)
    waited = []
    monkeypatch.setattr("importlib.import_module", lambda name: waited.append(name) or module)
    assert require("half_there", extra="parquet", purpose="reading") is module
    assert waited == ["half_there"]
