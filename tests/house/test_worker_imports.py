"""A worker's imports stay small: nothing of the control plane, of netlink or of a second HTTP stack reaches it."""

import subprocess
import sys

import pytest

FORBIDDEN = {"kopf", "pyroute2", "aiohttp", "asyncio", "structlog", "prometheus_client", "yaml", "click", "h2", "h11"}


@pytest.mark.parametrize("module", ["weft_agent.worker.__main__", "weft_agent.proxy.dataplane"])
def test_a_worker_process_imports_nothing_it_does_not_need(module: str) -> None:
    code = f"import sys, importlib; importlib.import_module({module!r}); print('\\n'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.partition(".")[0] for name in out.split()}
    assert "trio" in loaded
    assert not loaded & FORBIDDEN
