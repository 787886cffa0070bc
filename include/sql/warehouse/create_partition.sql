create table {partition} (like {parent} including all)
