-- The masks of a field that most users share, as they were counted last.
select mask, users, logins
from login_etl.shared_masks
where field = %(field)s
order by users desc, logins desc, mask
limit %(rows)s
