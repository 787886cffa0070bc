select
    request_id, case_number, requester, approver, reason, is_access, items, asked_at, valid_until,
    privacy.standing(requests) as standing
from privacy.requests
order by request_id desc
