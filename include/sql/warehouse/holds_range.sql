select exists (select from {default} where create_date >= {start} and create_date < {stop})
