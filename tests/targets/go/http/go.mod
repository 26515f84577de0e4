module taskscope.test/http

go 1.24
