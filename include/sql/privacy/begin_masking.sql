-- Whoever is second finds the row there.
insert into login_etl.masking (kid) values (%(kid)s) on conflict do nothing
