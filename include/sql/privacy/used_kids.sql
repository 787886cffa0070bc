-- A skip scan over the index: as many steps as there are key ids, however many batches.
with recursive used as (
    (select kid from login_etl.batches order by kid limit 1)
    union all
    select (select kid from login_etl.batches where kid > used.kid order by kid limit 1)
    from used
    where used.kid is not null
)
select kid from used where kid is not null
