-- Nothing, where somebody has raised the revision since.
update login_etl.shared_counts set counted_at = now(), revision = revision + 1 where revision = %(revision)s
