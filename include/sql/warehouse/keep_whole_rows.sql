-- Staging has no key by which a publication could tell its rows apart.
alter table {partition} replica identity full
