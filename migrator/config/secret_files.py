"""
Reads settings from files: ``X_FILE`` variables, and a folder with one file a secret.

pydantic-settings has a source for such a folder, but it strips all blanks, and a password may begin or end in one.
"""

import os
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from migrator.config.fields import option_info, variables_of
from migrator.errors import ConfigurationError

DEFAULT_SECRETS_DIR: Final = Path("/run/secrets")


class SecretFiles(PydanticBaseSettingsSource):
    """A source of values in files: one file a value, read whole, without one newline at the end."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return a field's value, None where no file has it; the rest is pydantic's protocol."""
        path = self.path_of(variables_of(field_name, field))
        # Under the name by which the environment's source gives it: values under two names would be two values.
        key = variables_of(field_name, field)[0] if field.validation_alias else field_name
        return (self.content(path) if path is not None else None), key, False

    def __call__(self) -> dict[str, Any]:
        """Return the values of all fields that files may hold."""
        found = [
            self.get_field_value(field, name)
            for name, field in self.settings_cls.model_fields.items()
            if option_info(field).in_file
        ]
        return {key: value for value, key, _ in found if value is not None}

    def path_of(self, variables: tuple[str, ...]) -> Path | None:
        """Find the file for a field that has these environment variables."""
        raise NotImplementedError

    @staticmethod
    def content(path: Path) -> str:
        """Read a secret. Raises ConfigurationError if the file can't be read; the message names the path only."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigurationError(
                f"the secret file {path} can't be read: {reason}",
                next_step="Mount it readable for the user that the job runs as, or correct its path.",
            ) from error
        # As `$(<file)` does it, but for one line end only: blanks, and further lines, belong to the secret.
        return text.removesuffix("\n").removesuffix("\r")


class FileVariables(SecretFiles):
    """``X_FILE`` names the file that holds the value of ``X``, as in the images of Docker."""

    def path_of(self, variables: tuple[str, ...]) -> Path | None:
        """Follow the variable. Raises ConfigurationError if the plain variable is set as well."""
        # In capitals or not, as the environment's own source of pydantic-settings reads them.
        environment = {name.upper(): value for name, value in os.environ.items() if value}
        for variable in variables:
            path = environment.get(f"{variable}_FILE")
            if not path:
                continue
            if environment.get(variable):
                raise ConfigurationError(f"both {variable} and {variable}_FILE are set", next_step="Unset one of them.")
            return Path(path)
        return None


class SecretsFolder(SecretFiles):
    """A folder with one file a secret, as compose and Kubernetes mount them."""

    def __call__(self) -> dict[str, Any]:
        """Look into the folder that was chosen, or into the usual one if it exists."""
        chosen = self.current_state.get("secrets_dir")
        self.folder = folder_of(Path(chosen) if chosen else None)
        self.files = {path.name.upper(): path for path in files_in(self.folder)} if self.folder else {}
        return super().__call__() if self.folder else {}

    def path_of(self, variables: tuple[str, ...]) -> Path | None:
        """Find the file by the variable's name, in capitals or not."""
        assert self.folder is not None  # noqa: S101 - or nobody would ask
        for variable in variables:
            for path in (self.folder / variable, self.folder / variable.lower(), self.files.get(variable)):
                if path is not None and path.is_file():
                    return path
        return None


def files_in(folder: Path) -> list[Path]:
    """Return the files of a folder; none where it may be entered and not listed."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except PermissionError:
        return []


def folder_of(chosen: Path | None) -> Path | None:
    """Return the folder of secrets, or None where there is none. Raises ConfigurationError if one was chosen."""
    folder = chosen or DEFAULT_SECRETS_DIR
    if folder.is_dir():
        return folder
    if chosen is None:
        return None
    raise ConfigurationError(
        f"the folder of secrets {folder} does not exist",
        next_step="Correct MIGRATOR_SECRETS_DIR (--secrets-dir), or unset it.",
    )
