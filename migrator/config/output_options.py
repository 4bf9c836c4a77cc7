"""Defines the options about what a command tells, and how every option is read. ``options.py`` defines all others."""

from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict

from migrator.config.fields import PREFIX, Group, OptionInfo, option
from migrator.config.values import Files


class OutputOptions(BaseSettings):
    """The options about log, report and files, in the order of the manual."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        defer_build=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    report: Files = option(
        (),
        "File to write a full report to, whatever the outcome is; may be given several times. The suffix decides the "
        "form: .json for programs, .html for people, .xml (JUnit) for CI. It is made anew, readable by its owner "
        "alone, and never through a link.",
        OptionInfo(Group.OUTPUT),
    )
    termination_message: Path | None = option(
        None,
        "File to write the outcome to in one short line of JSON, whatever it is; in Kubernetes /dev/termination-log.",
        OptionInfo(Group.OUTPUT),
    )
    left_behind: Path | None = option(
        None,
        "File to write the keys of orphans to, which the rule orphans leaves behind or carries with NULL, one JSON "
        "object a line; run and check make it anew, readable by its owner alone.",
        OptionInfo(Group.OUTPUT),
    )
    differences: Path | None = option(
        None,
        "File to write every difference that verification finds to, one JSON object a line.",
        OptionInfo(Group.OUTPUT),
    )
    examples: int = option(
        5,
        "Keys named for each problem, so that it can be found.",
        OptionInfo(Group.OUTPUT),
        ge=0,
        le=1000,
    )
    mask_values: bool = option(
        False,  # noqa: FBT003 - the default
        "Name keys but show no values of rows in messages and reports.",
        OptionInfo(Group.OUTPUT),
    )
    log_level: Literal["debug", "info", "warning", "error"] = option(
        "info",
        "The least important events to log; debug also shows tracebacks.",
        OptionInfo(Group.OUTPUT),
    )
    quiet: bool = option(
        False,  # noqa: FBT003 - the default
        "Tell errors only, and the last line of the report: no other events, no progress.",
        OptionInfo(Group.OUTPUT, flags=("-q",)),
    )
    log_format: Literal["auto", "json", "console"] = option(
        "auto",
        "How events are written to stderr; auto is console on a terminal and json elsewhere.",
        OptionInfo(Group.OUTPUT),
    )
    progress: Literal["auto", "on", "off"] = option(
        "auto",
        "Whether to draw what is being done; auto means where events go to a terminal.",
        OptionInfo(Group.OUTPUT),
    )
    metrics_file: Path | None = option(
        None,
        "File to write numbers about the command to, in the text format of OpenMetrics, every --progress-interval "
        "seconds and at the end.",
        OptionInfo(Group.OUTPUT),
    )
    progress_interval: float = option(
        10.0,
        "Seconds between events that tell how far the command is, where nothing is drawn, and between writes of the "
        "metrics file; 0 means never.",
        OptionInfo(Group.OUTPUT),
        ge=0,
    )
