-- What is inserted between the move and the attachment would make the latter fail.
lock table {default} in share row exclusive mode
