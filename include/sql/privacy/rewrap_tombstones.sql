update login_etl.erased_users
set user_mask = rewrapped.new
from unnest(%(old)s::text[], %(new)s::text[]) as rewrapped (old, new)
where user_mask = rewrapped.old and rewrapped.old <> rewrapped.new
