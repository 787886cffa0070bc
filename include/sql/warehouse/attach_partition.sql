alter table {parent} attach partition {partition} for values from ({start}) to ({stop})
