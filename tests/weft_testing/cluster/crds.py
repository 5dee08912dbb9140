"""Gateway API's CustomResourceDefinitions, out of its Go module, applied to a cluster when a test asks for them."""

from pathlib import Path
from typing import Final, Literal

from weft_testing.cluster.api import Kubectl
from weft_testing.cluster.binaries import Say, need_files, say_to_stderr
from weft_testing.cluster.programs import FILES

Channel = Literal["standard", "experimental"]

GATEWAY_API_VERSION: Final = FILES["gateway-api"].version
# An admission policy that refuses to go from one channel to the other or back in version: right for a cluster that lives,
# in the way of tests that try both.
_UPGRADE_POLICY: Final = "_vap_"


def gateway_api_files(channel: Channel, *, upgrade_policy: bool = False, say: Say = say_to_stderr) -> list[Path]:
    """Return the manifests of one channel, fetching the module if it is not there yet.

    Args:
        channel: `experimental` has everything of `standard` and more.
        upgrade_policy: whether the policy against changing channels is among them.
        say: takes a line when something is fetched.
    """
    found = sorted(need_files("gateway-api", say=say).joinpath(channel).glob("gateway.*.yaml"))
    return [path for path in found if upgrade_policy or _UPGRADE_POLICY not in path.name]


def apply_gateway_api(kubectl: Kubectl, channel: Channel = "standard", *, upgrade_policy: bool = False) -> None:
    """Install Gateway API and wait until its kinds are served.

    Raises:
        KubectlError: the API server refused, or the kinds were not served within a minute.
    """
    files = [f"--filename={path}" for path in gateway_api_files(channel, upgrade_policy=upgrade_policy)]
    kubectl("apply", "--server-side", "--force-conflicts", *files)
    definitions = [file for file in files if _UPGRADE_POLICY not in file]
    kubectl("wait", "--for=condition=Established", "--timeout=60s", *definitions)


def remove_gateway_api(kubectl: Kubectl) -> None:
    """Remove both channels with every object of their kinds.

    Raises:
        KubectlError: the API server refused.
    """
    files = [f"--filename={path}" for path in gateway_api_files("experimental", upgrade_policy=True)]
    kubectl("delete", "--ignore-not-found", "--wait", *files)
