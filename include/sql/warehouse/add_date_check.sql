alter table {partition} add constraint {check} check (create_date is not null) not valid
