-- Hubs, settings and versions.

-- CurrentTaskHub: the hub of an SQL user. TaskHubMode 1 (default): the name of the login; 0: the
-- application name, which the client sets itself and which therefore is no security boundary. Longer
-- than 50 characters: the first 16, "__" and the MD5 as 32 upper-case hex digits.
create or replace function CurrentTaskHub() returns text language plpgsql stable
set search_path from current as $$
declare
  v_name text;
begin
  if (select s.value from GlobalSettings s where s.name = 'TaskHubMode') = '0' then
    v_name := current_setting('application_name');
  else
    v_name := session_user;
  end if;
  if coalesce(v_name, '') = '' then
    return 'default';
  elsif length(v_name) > 50 then
    return left(v_name, 16) || '__' || upper(md5(v_name));
  end if;
  return v_name;
end $$;
