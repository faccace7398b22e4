"""What every model type shares: frozen, closed, and written the same way each time."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value: it never changes, knows no unknown keys, and compares by content."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
