"""`wheresight serve`: the page of a study, live while it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from wheresight.cli.options import (
    Replicates,
)


def serve(
    folders: Annotated[
        list[str],
        typer.Argument(
            help="Folders that wheresight writes into, or folders that hold some.",
            metavar="DIR...",
        ),
    ],
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes any that is free.")] = 8642,
    open_: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser of this machine.")
    ] = False,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen at. Others than this machine's own let everyone read the page "
            "who can reach it."
        ),
    ] = "127.0.0.1",
    replicates: Replicates = 2000,
) -> None:
    """Watch a study and show its page in a browser of this machine, made anew as records appear.

    The same page as `wheresight report` makes; nothing in the folders is changed. Ctrl-C ends it.
    """
    import signal
    import threading

    from rich.console import Console

    from wheresight.runs.serve import is_loopback, serving
    from wheresight.runs.watch import Watch

    console = Console()
    watch = Watch(folders, replicates)
    with serving(watch, host, port) as address:
        console.print(f"Serving {', '.join(folders)} at {address}", highlight=False, soft_wrap=True)
        if not is_loopback(host):
            console.print(f"Everyone who can reach {host} can read it.", style="yellow")
        console.print("Ctrl-C ends it; the study goes on.", highlight=False)
        if open_:
            import webbrowser

            webbrowser.open(address)
        end = threading.Event()
        for sent in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sent, lambda *_: end.set())
        end.wait()
    console.print("\nNo longer served.")
