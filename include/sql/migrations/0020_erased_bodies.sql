-- A rejected message whose body was forgotten because it names somebody who was erased: no redelivery brings it back.
alter table login_etl.rejected_messages add column erased_at timestamptz;

comment on column login_etl.rejected_messages.erased_at is 'When its body was forgotten because it names an erased user';
