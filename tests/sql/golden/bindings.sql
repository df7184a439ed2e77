-- Three logins of one hub, three of another, each with one role.
select dt.BindTaskHub(login, 'shop') from unnest('{app, viewer, manager}'::text[]) login;
select dt.BindTaskHub(login, 'bank')
from unnest('{bank_app, bank_viewer, bank_manager}'::text[]) login;
