-- Locked in order, as a batch's rejects are: else the two could wait for each other. What is locked stays where it is.
update login_etl.rejected_messages
set sealed_body = null
where ctid = any(array(
    select ctid
    from login_etl.rejected_messages
    where sealed_body is not null and rejected_at < now() - make_interval(days => %(days)s)
    order by message_id
    for update
))
