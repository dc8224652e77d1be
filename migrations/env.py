"""How Alembic runs here: on the connection that acistore gives it, or on the URL of alembic.ini."""

from alembic import context
from sqlalchemy import Connection, create_engine

from acistore.store.schema import metadata


def run(connection: Connection) -> None:
    # SQLite alters tables by copying them.
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url") or "").begin() as connection:
        run(connection)
