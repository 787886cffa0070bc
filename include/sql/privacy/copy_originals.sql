-- Binary, and sealed: a server's log has nothing of it.
copy privacy.originals (staged_on, batch_id, message_id, sealed_ip, sealed_device_id) from stdin (format binary)
