"""Stage ``upgrade`` upgrades the filled and verified target to the newest revision of the application's schema."""

from typing import TYPE_CHECKING

from migrator.target.database import Target

if TYPE_CHECKING:
    from migrator.schema.alembic import AlembicProject


async def upgrade(target: Target, project: "AlembicProject") -> str | None:
    """Upgrade the target to the project's head and return the head. Data migrations then process the real rows."""
    head = project.head()
    if head is not None:
        await project.upgrade(target, [head])
    return head
