-- Nobody writes to a day that is over, but somebody may have begun before its end; readers are let be until the drop.
lock table {partition} in share row exclusive mode
