-- Not its identity columns: a partition takes those over from its parent when it is attached, and may have none before.
create table {partition} (like {parent} including all excluding identity)
