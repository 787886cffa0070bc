select privacy.make_days(%(ahead)s)
