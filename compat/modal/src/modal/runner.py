"""Running and deploying apps from a program."""

from __future__ import annotations

from modal._standins import standins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from volant import App

__getattr__ = standins(
    __name__, "DeployResult", "impl_class_for_create_args", "interactive_shell", "serve_update"
)


def run_app(app: App, **options: object) -> AbstractContextManager[App]:
    """`app.run(...)`."""
    context: AbstractContextManager[App] = app.run(**options)  # type: ignore[arg-type]  # as given
    return context


def deploy_app(app: App, **options: object) -> App:
    """`app.deploy(...)`."""
    return app.deploy(**options)  # type: ignore[arg-type]  # as given
