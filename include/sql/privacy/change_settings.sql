select privacy.change_settings(%(keep_originals_days)s, %(grant_hours)s)
