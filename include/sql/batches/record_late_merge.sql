insert into login_etl.late_merges (batch_id, merged_by, inserted, already_there)
values (%(batch_id)s, %(merged_by)s, %(inserted)s, %(already_there)s)
