update login_etl.shared_counts set revision = revision + 1
