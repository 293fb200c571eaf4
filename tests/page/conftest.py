"""A real browser in three sizes, axe-core, and the page of a small field of records.

Needs Debian's chromium and chromium-driver: tests/system_packages.sh installs them where it can.
"""

import shutil
import subprocess
import tarfile
import tempfile

import pytest

from mnist_gpu.report.__main__ import main
from tests.packages import why_not
from tests.records import write_records
from tests.summaries import A100, CU, FREE, SU, seeds

SIZES = {"desk": (1280, 900), "tablet": (820, 1180), "phone": (390, 844)}


@pytest.fixture(scope="session")
def chromium():
    """Skip with the reason where there is no browser to be had."""
    pytest.importorskip("selenium", reason="pip install selenium drives the browser")
    if lacking := why_not("browser"):
        pytest.skip(f"no browser: {lacking}")


@pytest.fixture(scope="session")
def axe(request, tmp_path_factory):
    """The source of axe-core, from npm; kept in pytest's cache."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("axe-core") if cache else tmp_path_factory.mktemp("axe-core")
    kept = folder / "axe.min.js"
    if not kept.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no npm to fetch axe-core with")
        command = [npm, "pack", "axe-core@4", "--pack-destination", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no axe-core: {done.stderr.strip()[-200:]}")
        [packed] = folder.glob("axe-core-*.tgz")
        with tarfile.open(packed) as archive:
            source = archive.extractfile("package/axe.min.js")
            assert source is not None
            kept.write_bytes(source.read())
    return kept.read_text(encoding="utf-8")


@pytest.fixture(scope="session", params=sorted(SIZES))
def browser(chromium, request):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    width, height = SIZES[request.param]
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory(prefix="mnist-gpu-browser") as profile:
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--force-prefers-reduced-motion",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ):
            options.add_argument(argument)
        if request.param != "desk":
            metrics = {"width": width, "height": height, "pixelRatio": 2.0}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
        driver.size = request.param
        try:
            yield driver
        finally:
            driver.quit()


@pytest.fixture(scope="session")
def field_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    records = [
        *seeds(),
        *seeds(engine="torch", epoch_s=8.8),
        *seeds(platform="jetstream", kind="hpc", epoch_s=1.9, price=SU, **A100),
        *seeds(platform="colab", kind="cloud", engine="tensorflow", epoch_s=20.0, price=CU),
        *seeds(count=1, platform="kaggle", kind="cloud", epoch_s=7.0, price=FREE),
        *seeds(count=2, epochs=3),
    ]
    write_records(folder / "results", records)
    assert main([str(folder / "results"), "--out", str(folder / "out")]) == 0
    return folder / "out" / "index.html"
