"""The demo: the whole job on sample data."""

import json
import re

from fix_job import Cli


def test_the_demo_carries_the_sample(cli: Cli) -> None:
    """It ends with 0 when every row of the sample, which it has counted itself, is in the target."""
    ended = cli("demo", "--scale", "0.01", "--format", "json", "--log-level", "error")
    assert ended.code == 0, ended.stderr
    [rows] = re.findall(r"sample: ([\d,]+) rows", ended.stderr)
    told = json.loads(ended.stdout)
    assert told["rows"] == int(rows.replace(",", "")) > 0
    assert all(table["verified"] for table in told["tables"])
