select * from {name} limit 50
