module taskscope.test/sql

go 1.21

require github.com/lib/pq v0.0.0

replace github.com/lib/pq => ./pq
