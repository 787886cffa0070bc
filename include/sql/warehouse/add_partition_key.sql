-- The check spares the table another reading.
alter table {partition} alter column create_date set not null;
alter table {partition} drop constraint {check};
alter table {partition} add constraint {index} primary key using index {index}
