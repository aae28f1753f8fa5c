{{ config(materialized='view') }}
select split_part(email::text, '@', 2) as domain, count(*) as contacts
from {{ source('kith', 'contacts') }} where email is not null group by 1
