-- vWorkers: which daemons have workers for the caller's hub.
\set SHOW_CONTEXT never
\pset null '(null)'
insert into dt.TaskHubs (name) values ('shop'), ('bank');
\set load '\'{"residents": 12, "in_flight": 3, "leases": 15, "per_second": 7.5}\''
select worker_id from dt._RegisterWorker('host a', 'a', '1.0', '1 h', false,
  '[{"hub": 1, "kind": 1, "streams": 2, "credits": 400, "names": ["pack", "ship"]},
    {"hub": 1, "kind": 0, "streams": 2, "credits": 200},
    {"hub": 2, "kind": 2, "streams": 1, "credits": 9}]', :load);
select worker_id from dt._RegisterWorker('host b', 'b', '1.0', '1 h', true,
  '[{"hub": 1, "kind": 2, "streams": 1, "credits": 100}]', :load);
-- Without a report; one that is behind; one that has been taken for dead.
select worker_id from dt._RegisterWorker('host c', 'c', '1.0', '1 h');
select worker_id from dt._RegisterWorker('host d', 'd', '1.0', '-1 h', false,
  '[{"hub": 1, "kind": 0, "streams": 1, "credits": 1}]', :load);
select worker_id from dt._RegisterWorker('host e', 'e', '1.0', '1 h', false,
  '[{"hub": 1, "kind": 0, "streams": 1, "credits": 2}]', :load);
update dt.Workers set silent_since = now() where host = 'host e';

\c - viewer
select TaskHub, Host, Version, Since <= now() as since, LastSeenTime <= now() as seen, State, Work,
       Streams, Credits, Names, Residents, InFlight, FinishedPerSecond, Leases
from dt.vWorkers order by Host, Work collate "C";

-- A renewal keeps the report, unless it brings another one.
\c - postgres
select renewed from dt._RenewWorker(1, '1 h');
select renewed from dt._RenewWorker(2, '1 h', true, '[]', :load);
select dt._SweepExpired('{}', '0');
\c - viewer
select Host, State, Work, Streams, Leases from dt.vWorkers order by Host, Work collate "C";
