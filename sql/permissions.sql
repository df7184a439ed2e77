-- Rights, applied after the logic at every upgrade (a function that was dropped and made again is
-- executable by PUBLIC until this runs).
do $$
begin
  execute format('revoke all on schema %I from public', current_schema());
  execute format('revoke all on all tables in schema %I from public', current_schema());
  execute format('revoke all on all functions in schema %I from public', current_schema());
end $$;
