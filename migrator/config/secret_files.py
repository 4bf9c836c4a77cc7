"""
Reads settings from files: from ``X_FILE`` variables, and from a folder with one file per secret.

pydantic-settings can read such a folder too. But it strips all blanks, and a password may begin or end with a blank.
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
    """Reads values from files: one file per value, the whole file except one newline at its end."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of a field, or None if no file holds it, in the form that pydantic asks for."""
        path = self.path_of(variables_of(field_name, field))
        # The same key as the environment's source uses: pydantic would treat two keys as two values.
        key = variables_of(field_name, field)[0] if field.validation_alias else field_name
        return (self.content(path) if path is not None else None), key, False

    def __call__(self) -> dict[str, Any]:
        """Return the values of all fields that files hold."""
        read = [
            self.get_field_value(field, name)
            for name, field in self.settings_cls.model_fields.items()
            if option_info(field).in_file
        ]
        return {key: value for value, key, _ in read if value is not None}

    def path_of(self, variables: tuple[str, ...]) -> Path | None:
        """Return the file for a field with these environment variables, or None."""
        raise NotImplementedError

    @staticmethod
    def content(path: Path) -> str:
        """Read a secret. Raises ConfigurationError if the file can't be read; the message holds only the path."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigurationError(
                f"the secret file {path} can't be read: {reason}",
                next_step="Mount it readable for the user that the job runs as, or correct its path.",
            ) from error
        # Removes one line end only (a shell's `$(<file)` removes all): blanks and further lines belong to the secret.
        return text.removesuffix("\n").removesuffix("\r")


class FileVariables(SecretFiles):
    """Reads files that variables name: ``X_FILE`` names the file with the value of ``X``, as in Docker's images."""

    def path_of(self, variables: tuple[str, ...]) -> Path | None:
        """Return the file that the variable names. Raises ConfigurationError if the plain variable is set as well."""
        # Case doesn't matter, as in the environment's source of pydantic-settings.
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
    """Reads a folder with one file per secret, as compose and Kubernetes mount it."""

    def __call__(self) -> dict[str, Any]:
        """Return the values in the chosen folder, or in the default folder if it exists."""
        chosen = self.current_state.get("secrets_dir")
        self.folder = folder_of(Path(chosen) if chosen else None)
        self.files = {path.name.upper(): path for path in files_in(self.folder)} if self.folder else {}
        return super().__call__() if self.folder else {}

    def path_of(self, variables: tuple[str, ...]) -> Path | None:
        """Return the file with the variable's name. Case doesn't matter."""
        assert self.folder is not None  # noqa: S101 - __call__ asks only if there is a folder
        for variable in variables:
            for path in (self.folder / variable, self.folder / variable.lower(), self.files.get(variable)):
                if path is not None and path.is_file():
                    return path
        return None


def files_in(folder: Path) -> list[Path]:
    """Return the files of a folder, or an empty list if the folder may not be listed."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except PermissionError:
        return []


def folder_of(chosen: Path | None) -> Path | None:
    """Return the folder of secrets, or None if it is missing. Raises ConfigurationError if ``chosen`` is missing."""
    folder = chosen or DEFAULT_SECRETS_DIR
    if folder.is_dir():
        return folder
    if chosen is None:
        return None
    raise ConfigurationError(
        f"the folder of secrets {folder} does not exist",
        next_step="Correct MIGRATOR_SECRETS_DIR (--secrets-dir), or unset it.",
    )
