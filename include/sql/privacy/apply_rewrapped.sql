-- The range again, for the table itself: without it each chunk would be a join with all of the table.
update {table} as stored
set masked_ip = rewrapped.masked_ip, masked_device_id = rewrapped.masked_device_id
from pg_temp.rewrapped
where stored.ctid = rewrapped.row and {rows}
