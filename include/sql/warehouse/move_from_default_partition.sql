with moved as (
    delete from {default} where create_date >= {start} and create_date < {stop} returning {columns}
)
insert into {partition} ({columns}) select {columns} from moved
