-- The fence: whether a caller still has the lease that it names. Every write by the holder of a
-- lease asks here, in the statement that writes or locks the row, so that the newest row is
-- compared. PostgreSQL puts the bodies in place of the calls when it plans a statement: they cost
-- nothing, and indexes are used.

-- __Holds: whether the lease on a row is the one that the caller names; null = the row is free.
create or replace function __Holds(p_lease bigint, p_token bigint) returns boolean
language sql immutable parallel safe
return p_lease = p_token;

-- __HoldsTurn: the same for who commits a turn, which must be the one after the row's last turn.
create or replace function __HoldsTurn(p_lease bigint, p_last_turn bigint, p_token bigint,
                                       p_turn bigint) returns boolean
language sql immutable parallel safe
return p_lease = p_token and p_last_turn = p_turn - 1;
