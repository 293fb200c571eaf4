"""The one self-contained page: data, styles and scripts in a single file."""

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import Any

from mnist_gpu.report.page.payload import payload
from mnist_gpu.report.summary import Summary

SCRIPTS = ("dom", "address", "table", "details", "compare", "svg", "charts", "main")


def page(summary: Summary) -> str:
    """The page as HTML.

    Records are data for scripts, never HTML: they stand in one JSON block in which no `<` occurs,
    and the scripts write them as text. A Content-Security-Policy lets only the script named
    by its hash run, and nothing be fetched.
    """
    application = _closed("\n".join(_asset(f"{name}.js") for name in SCRIPTS))
    values = {
        "policy": _policy(application),
        "style": _asset("page.css"),
        "data": json_block(payload(summary)),
        "application": application,
    }
    # one pass, so that nothing inserted is read for placeholders again
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found.group(1)], _asset("page.html"))


def json_block(data: Any) -> str:
    """JSON that cannot end the script element around it, nor begin markup."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def _closed(script: str) -> str:
    """A script that cannot end its element; newlines as the browser will hash them."""
    return script.replace("</script", "<\\/script").replace("\r\n", "\n").replace("\r", "\n")


def _asset(name: str) -> str:
    return (files("mnist_gpu.report.page") / name).read_text(encoding="utf-8")
