truncate pg_temp.rewrapped
