select privacy.end_requests()
