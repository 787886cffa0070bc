select counted_at from login_etl.shared_counts
