"""Tables: the declared tables, their columns, and the entity types that rows name."""

from tocsin.tables.catalogue import (
    INGESTION_TIME,
    STANDARD_COLUMNS,
    Catalogue,
    TableInfo,
    catalogue,
    custom_schema,
)
from tocsin.tables.entities import Entity

__all__ = ["INGESTION_TIME", "STANDARD_COLUMNS", "Catalogue", "Entity", "TableInfo", "catalogue", "custom_schema"]
