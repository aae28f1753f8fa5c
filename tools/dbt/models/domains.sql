{{ config(materialized='table', indexes=[{'columns': ['domain'], 'unique': true}]) }}
select * from {{ ref('contacts_by_domain') }}
