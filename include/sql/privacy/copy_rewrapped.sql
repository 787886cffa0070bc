copy pg_temp.rewrapped (row, masked_ip, masked_device_id) from stdin
