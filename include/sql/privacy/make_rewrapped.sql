create temporary table if not exists pg_temp.rewrapped (row tid, masked_ip text, masked_device_id text) on commit drop
