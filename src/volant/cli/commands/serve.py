"""`volant serve`: an app that is loaded anew each time that one of its files is saved."""

from __future__ import annotations

import click

from volant import config
from volant.cli import failures
from volant.cli.live.reloading import Plan, preload
from volant.cli.live.serving import Serving
from volant.cli.shared.environments import environment_option
from volant.cli.shared.filtering import Stamped
from volant.errors import InvalidError
from volant.sdk.naming import check_name


@click.command("serve", epilog="\b\nExamples:\n  volant serve api.py\n  volant serve -m shop.web")
@click.argument("reference", metavar="REF")
@click.option("-m", "--module", "as_module", is_flag=True, help="REF is a module, not a file.")
@click.option("-n", "--name", help="Name of the app, instead of its own.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), metavar="SECONDS",
    help="End after so long; the setting `serve_timeout` by default, 0: never.",
)  # fmt: skip
@click.option("--timestamps", is_flag=True, help="Put the time in front of each line.")
@environment_option
def group(
    reference: str, as_module: bool, name: str | None, timeout_s: float | None, timestamps: bool
) -> int:
    """Run the app of REF until Ctrl-C, and load it anew whenever one of its files is saved.

    REF is a file, or `file.py::app` where it has several apps. What cannot be loaded is shown, and
    the last version that could goes on.
    """
    if name is not None:
        try:
            check_name("an app", name)
        except InvalidError as error:
            raise failures.Refused(error.message, hint=error.hint or "") from None
    plan = Plan(reference, as_module=as_module, name=name)
    plan.check()
    if timeout_s is None:
        timeout_s = config.load().number("serve_timeout")
    preload(Stamped() if timestamps else None)
    serving = Serving(plan, timeout_s or float("inf"))
    try:
        serving.run()
    finally:
        serving.close()
    return 0
