-- Locked in order, as a batch's rejects are: else the two could wait for each other. Erased, they do not come back.
with named as materialized (
    select message_id
    from login_etl.rejected_messages
    where message_id = any(%(message_ids)s)
    order by message_id
    for update
)

update login_etl.rejected_messages
set sealed_body = null, erased_at = now()
where message_id in (select message_id from named)
