-- The masks of a field that most users share, as they were counted last. A table that was adopted may hold anything in
-- the place of masks, and an address is not to be shown; they are looked at in the order of the index, until enough are
-- found.
select mask, users, logins
from (
    select * from login_etl.shared_masks where field = %(field)s order by users desc, logins desc, mask offset 0
) as in_order
where octet_length(mask) = 73 and mask ~ '^[0-9a-f]{8}:[0-9a-f]+$'
limit %(rows)s
