"""What analysts touch: the report page, its plots and tables. Reads files, and runs no Beam."""
