"""How alembic gets at the store: over the connection that ``pachon.store.database.migrate`` hands it."""

from alembic import context

from pachon.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
