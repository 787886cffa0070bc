alter table {partition} validate constraint {check}
