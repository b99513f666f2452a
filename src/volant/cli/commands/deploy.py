"""`volant deploy`: an app that goes on when the command has ended."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from volant.cli import failures
from volant.cli.shared import show
from volant.cli.shared.environments import environment_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.sdk.deploying.deployment import Deployment

STRATEGIES = click.Choice(["rolling", "recreate"])

EXAMPLES = """\b
Examples:
  volant deploy app.py
  volant deploy app.py::app --name shop-staging --tag v1.4
  volant deploy -m shop.app --strategy recreate
"""


def strategy_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--strategy`, of every command that puts a version in another's place."""
    option = click.option(
        "--strategy", type=STRATEGIES, default="rolling", show_default=True,
        help="rolling: old containers finish what they run. recreate: they are stopped, and what "
        "they ran is run again.",
    )  # fmt: skip
    return option(command)


@click.command("deploy", epilog=EXAMPLES)
@click.argument("app_ref")
@click.option("--name", help="Deploy under this name instead of the app's own.")
@click.option("--tag", default="", help="A label of this version.")
@strategy_option
@click.option("-m", "--module", is_flag=True, help="APP_REF is the name of a module.")
@click.option("--timestamps", is_flag=True, help="Put the time in front of lines of logs.")
@click.option("--stream-logs", is_flag=True, help="Show what its containers print, until Ctrl-C.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--verbose", is_flag=True, help="Show all that steps of images print.")
@show.json_option
@environment_option
def group(
    app_ref: str, name: str | None, tag: str, strategy: str, module: bool, stream_logs: bool,
    quiet: bool, verbose: bool, as_json: bool, timestamps: bool,
) -> int:  # fmt: skip
    """Deploy the app of APP_REF: a file, `file.py::app`, or a module with -m.

    Its functions can be called from any program by their names, its schedules and web functions
    are served, until `volant app stop`. The version before is served until the new one is ready;
    when something fails, it goes on being served.
    """
    try:
        deployment, took_s = _deploy(
            app_ref, name, tag, strategy, module, quiet=quiet or as_json, verbose=verbose
        )
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  # what user code raises is shown here
        return failures.report(error)
    if as_json:
        show.print_json(_facts(deployment))
    elif not quiet:
        _tell(deployment, took_s)
    if stream_logs:
        from volant.cli.commands.app import follow_logs

        follow_logs(str(deployment.app.app_id), timestamps=timestamps)
    return 0


def _deploy(
    app_ref: str,
    name: str | None,
    tag: str,
    strategy: str,
    module: bool,
    *,
    quiet: bool,
    verbose: bool,
) -> tuple[Deployment, float]:
    from volant.cli import target
    from volant.cli.run import begin_output
    from volant.errors import InvalidError

    app = target.find_app(app_ref, as_module=module)
    try:
        deployment = app.deploy.start(name, None, tag, None, strategy)
    except InvalidError as error:
        raise failures.Refused(error.message, hint=error.hint or "") from None
    progress = begin_output(deployment.name or app_ref, quiet=quiet, verbose=verbose)
    begun = monotonic()
    try:
        deployment.open()
    finally:
        if progress is not None:
            progress.stop()
    return deployment, monotonic() - begun


def _facts(deployment: Deployment) -> dict[str, Any]:
    return {
        "app_id": deployment.app.app_id, "name": deployment.name, "version": deployment.version,
        "changed": deployment.changed, "settled": deployment.settled,
        "functions": deployment.function_ids, "urls": deployment.urls,
    }  # fmt: skip


def _tell(deployment: Deployment, took_s: float) -> None:
    name, version = deployment.name, deployment.version
    if not deployment.changed:
        print(f"{name} is at version {version} already: nothing has changed", file=sys.stderr)
    else:
        print(f"deployed {name}, version {version}, in {took_s:.2f} s", file=sys.stderr)
    if deployment.changed and not deployment.settled:
        print("  its first containers are still starting: the version before is served until "
              "they are there", file=sys.stderr)  # fmt: skip
    for function in deployment.function_ids:
        if function not in deployment.urls:
            print(f"  {function}", file=sys.stderr)
    for name, url in deployment.urls.items():  # last, where they are looked for
        print(f"  {name}  {url}", file=sys.stderr)
