module taskscope.test/http-both

go 1.21
