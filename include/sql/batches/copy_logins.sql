-- Binary: of a line of text at which a COPY fails, for whatever reason, Postgres logs every value.
copy login_etl.staging_logins (
    batch_id, staged_on, message_id, sent_at, user_id, device_type, masked_ip, masked_device_id, locale,
    app_version_text, app_version
) from stdin (format binary)
