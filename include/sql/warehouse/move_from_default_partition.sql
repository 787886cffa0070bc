with moved as (
    delete from {default} where create_date >= {start} and create_date < {stop} returning *
)
insert into {partition} select * from moved
