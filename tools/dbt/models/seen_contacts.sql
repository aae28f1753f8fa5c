{{ config(materialized='incremental', unique_key='id') }}
select id, email, updated_at from {{ source('kith', 'contacts') }}
{% if is_incremental() %} where updated_at >= (select max(updated_at) from {{ this }}) {% endif %}
