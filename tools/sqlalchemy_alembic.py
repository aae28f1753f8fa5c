"""Creates and reflects tables with SQLAlchemy, and migrates with Alembic, in `public` and in a schema of its own."""

import os
import pathlib
import tempfile

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

url = os.environ["KITH_URL"].replace("postgres://", "postgresql+psycopg://")
engine = sa.create_engine(url)


class Base(DeclarativeBase):
    metadata = sa.MetaData(schema="billing")


class Invoice(Base):
    __tablename__ = "invoices"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(sa.Enum("open", "paid", name="invoice_status"))
    lines: Mapped[list["Line"]] = relationship(back_populates="invoice")


class Line(Base):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(sa.ForeignKey("billing.invoices.id", ondelete="CASCADE"), index=True)
    data: Mapped[dict] = mapped_column(sa.JSON)
    invoice: Mapped[Invoice] = relationship(back_populates="lines")


with engine.begin() as conn:
    conn.execute(sa.schema.CreateSchema("public", if_not_exists=True))
    conn.execute(sa.schema.CreateSchema("billing"))
Base.metadata.create_all(engine)
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(Invoice(number="1", status="open", lines=[Line(data={"a": 1}), Line(data={"b": 2})]))
    session.commit()
    assert session.scalar(sa.select(sa.func.count()).select_from(Line).join(Invoice).where(Invoice.status == "open")) == 2

reflected = sa.MetaData()
reflected.reflect(engine)
assert {"contacts", "companies", "deals", "activity"} <= set(reflected.tables), reflected.tables.keys()
assert any(key.column.table.name == "companies" for key in reflected.tables["contacts"].foreign_keys)
inspector = sa.inspect(engine)
assert {"billing", "public"} <= set(inspector.get_schema_names())
for table in inspector.get_table_names():
    for look in (inspector.get_columns, inspector.get_indexes, inspector.get_check_constraints, inspector.get_unique_constraints,
                 inspector.get_table_comment, inspector.get_pk_constraint):
        look(table)
with engine.connect() as conn:
    context = MigrationContext.configure(conn, opts={"include_schemas": True, "include_object": lambda *it: it[4] is not None or it[0].schema == "billing"})
    assert compare_metadata(context, Base.metadata) == []

with tempfile.TemporaryDirectory() as directory:
    config = Config()
    config.set_main_option("script_location", directory)
    (pathlib.Path(directory) / "env.py").write_text("""
from alembic import context
import os, sqlalchemy as sa
engine = sa.create_engine(os.environ["KITH_URL"].replace("postgres://", "postgresql+psycopg://"))
with engine.connect() as connection:
    context.configure(connection=connection, version_table_schema="billing", transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
""")
    for number, (up, down) in enumerate([
        ('op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("body", sa.Text))', 'op.drop_table("notes")'),
        ('op.add_column("contacts", sa.Column("score", sa.Integer)); op.create_index("contacts_score", "contacts", ["score"])',
         'op.drop_index("contacts_score"); op.drop_column("contacts", "score")'),
    ], 1):
        parent = repr(str(number - 1)) if number > 1 else None
        (pathlib.Path(directory) / "versions").mkdir(exist_ok=True)
        (pathlib.Path(directory) / "versions" / f"{number}.py").write_text(
            f"import sqlalchemy as sa\nfrom alembic import op\nrevision = '{number}'\ndown_revision = {parent}\n"
            f"def upgrade():\n    {up}\ndef downgrade():\n    {down}\n")
    command.upgrade(config, "head")
    inspector = sa.inspect(engine)
    assert inspector.has_table("notes") and any(column["name"] == "score" for column in inspector.get_columns("contacts"))
    command.downgrade(config, "base")
    assert not sa.inspect(engine).has_table("notes")
Base.metadata.drop_all(engine)
