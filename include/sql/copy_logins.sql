-- Binary, because of a text line that fails Postgres logs the whole, with every value in it.
copy login_etl.staging_logins (
    batch_id, staged_on, message_id, sent_at, user_id, device_type, masked_ip, masked_device_id, locale,
    app_version_text, app_version
) from stdin (format binary)
