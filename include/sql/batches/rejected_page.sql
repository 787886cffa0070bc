-- The next page, in order of rejection: at most so many messages and so many bytes, but at least one message.
with page as (
    select message_id, sent_at, receive_count, reason, kid, sealed_body, rejected_at
    from login_etl.rejected_messages
    where
        sealed_body is not null
        and (rejected_at, message_id) > (%(after)s, %(after_id)s)
        and rejected_at >= %(start)s
        and rejected_at < %(stop)s
        and (%(rules)s::text[] is null or string_to_array(reason, '; ') && %(rules)s::text[])
    order by rejected_at, message_id
    limit %(messages)s
),

sized as (
    select
        *,
        sum(octet_length(sealed_body)) over (order by rejected_at, message_id) - octet_length(sealed_body) as before_it
    from page
)

select message_id, sent_at, receive_count, reason, kid, sealed_body, rejected_at
from sized
where before_it < %(bytes)s
order by rejected_at, message_id
